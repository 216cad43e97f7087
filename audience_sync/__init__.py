"""Consenting customers to ad partners, hashed; withdrawals taken back; every transfer logged."""

from __future__ import annotations

import ctypes
import os

_M_ARENA_MAX = -8  # of glibc's mallopt


def _share_memory_between_threads() -> None:
    """Let threads use each other's free memory, which by default each keeps to itself.

    A tenth less memory and time where columns pass from thread to thread. It must be said before
    Polars is loaded, whose allocator looks once; other systems' allocators are left alone.
    """
    os.environ.setdefault("_RJEM_MALLOC_CONF", "narenas:2")
    try:
        ctypes.CDLL(None).mallopt(_M_ARENA_MAX, 1)
    except (AttributeError, OSError, TypeError):
        return


_share_memory_between_threads()
