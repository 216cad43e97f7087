"""Tells of whole lists that withdrawals emptied or deleted, where a partner refused less."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from audience_sync.app import App


def lists_taken_away(app: App, since: int) -> list[dict[str, Any]]:
    """Those since a line of the transfer log, for --json."""
    from audience_sync.runs.taken_away import taken_away  # noqa: PLC0415 - keeps --help light

    found = map(asdict, taken_away(app.ledger, since))
    return [app.discretion.counts(one, "members") for one in found]


def tell_taken_away(found: Iterable[Mapping[str, Any]]) -> None:
    """The same, for people."""
    from audience_sync.cli.written import tell  # noqa: PLC0415 - keeps --help light

    tell(map(_told, found))


def _told(one: Mapping[str, Any]) -> str:
    from audience_sync.cli.written import number  # noqa: PLC0415 - the same

    where = f"{one['audience']} at {one['destination']}"
    done, then = "everybody was taken off the list", "builds it anew"
    if one["deleted"]:
        done, then = "the list was deleted", "makes another"
    elif one["asked"]:
        done = "it was asked to take everybody off the list"
    done = f"{done} ({number(one['members'])} members), as on_refused_removal says"
    return f"{where}: the partner takes nobody off alone, so {done}; the next sync {then}."
