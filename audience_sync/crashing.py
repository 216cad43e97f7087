"""What a crash leaves behind: nothing of what a process held in memory."""

from __future__ import annotations

import contextlib


def leave_no_core() -> None:
    """Let a crash of this process, and of those that it starts, write no core to disk.

    Its memory holds customers as they are, and keys.
    """
    with contextlib.suppress(ImportError):  # where there are no such limits
        import resource  # noqa: PLC0415 - not on every system

        _, most = resource.getrlimit(resource.RLIMIT_CORE)
        resource.setrlimit(resource.RLIMIT_CORE, (0, most))
