"""Take a list that was deleted at its partner for gone."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

from audience_sync.errors import ConfigurationError, RefusedError
from audience_sync.ledger.ledger import Ledger
from audience_sync.ledger.records.log import Event, TransferLine
from audience_sync.ledger.records.runs import RemoteList, RunState
from audience_sync.ledger.records.work import Lease
from audience_sync.runs.link import Link

_UNDER_WAY = [RunState.DELIVERING, RunState.DELIVERED]


def cure(audience: str, destination: str) -> str:
    """What to do about a list that its partner does not know any more."""
    return (
        f"where it was deleted, `audience-sync forget {audience} {destination}` "
        "lets the next sync make a new one"
    )


def forget_list(
    ledger: Ledger, link: Link, audience: str, lease: Lease, *, actor: str, now: datetime
) -> None:
    """Begin anew with a list: it holds nobody, and the next sync makes another.

    The transfer log tells first who said so: whoever was on the list is never removed from it.

    Refused while the partner still has the list, since whoever is on it could not be removed
    any more, and while a delivery to it is under way.
    """
    where = f"{audience} at {link.destination}"
    remote = ledger.remote_list(audience, link.destination)
    if remote.remote_id is None:
        raise ConfigurationError(f"no list of {where} is known; there is nothing to forget")
    for run in ledger.runs(audience=audience, destination=link.destination, states=_UNDER_WAY):
        raise ConfigurationError(
            f"run {run.id} to this list has not ended; "
            + (
                f"end it with `audience-sync cancel {run.id}`"
                if run.state is RunState.DELIVERING
                else "ask for its end with `audience-sync status --poll`"
            )
        )
    link.connector.check()  # with a wrong address or API version every list would pass for gone
    try:
        link.connector.statistics(remote.remote_id)
    except RefusedError:
        ledger.record([_line(ledger, link, remote, actor, now)], (), lease)
        _begin_anew(ledger, remote, lease)
        return
    raise ConfigurationError(
        f"the partner still has the list of {where}; only a list that was deleted is forgotten"
    )


def _begin_anew(ledger: Ledger, remote: RemoteList, lease: Lease) -> None:
    name, generation = (remote.audience, remote.destination), remote.generation
    begun = RemoteList(audience=name[0], destination=name[1], generation=generation + 1)
    ledger.save_remote_list(begun, expect_generation=generation, lease=lease)
    removal = ledger.list_removal(*name)
    if removal is not None:  # nobody answers what was asked of the list
        ended = replace(removal, unanswered=(), refused=0, reason=None)
        ledger.save_list_removal(ended, lease)


def _line(
    ledger: Ledger, link: Link, remote: RemoteList, actor: str, now: datetime
) -> TransferLine:
    last = ledger.last_run(remote.audience, remote.destination)
    recipient = link.connector.recipient
    return TransferLine(
        event=Event.FORGOTTEN,
        run="" if last is None else last.id,
        audience=remote.audience,
        destination=remote.destination,
        recipient=recipient.name,
        recipient_country=recipient.country,
        purpose=link.purpose,
        reference=remote.remote_id,
        finished_at=now,
        actor=actor,
        note=f"the partner no longer has the list, which held {remote.members:,} members",
    )
