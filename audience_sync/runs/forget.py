"""Take a list that was deleted at its partner for gone."""

from __future__ import annotations

from audience_sync.errors import ConfigurationError, RefusedError
from audience_sync.ledger.ledger import Ledger
from audience_sync.ledger.records import Lease, RemoteList, RunState
from audience_sync.runs.link import Link

_UNDER_WAY = [RunState.DELIVERING, RunState.DELIVERED]


def forget_list(ledger: Ledger, link: Link, audience: str, lease: Lease) -> None:
    """Begin anew with a list: it holds nobody, and the next sync makes another.

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
    try:
        link.connector.statistics(remote.remote_id)
    except RefusedError:
        begun = RemoteList(
            audience=audience, destination=link.destination, generation=remote.generation + 1
        )
        ledger.save_remote_list(begun, expect_generation=remote.generation, lease=lease)
        return
    raise ConfigurationError(
        f"the partner still has the list of {where}; only a list that was deleted is forgotten"
    )
