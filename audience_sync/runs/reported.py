"""Read what a partner tells of a list (size range, match range, state) and remember it."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import asdict, replace
from datetime import datetime

from audience_sync.errors import AudienceSyncError
from audience_sync.ledger.ledger import Ledger
from audience_sync.ledger.records.runs import RemoteList
from audience_sync.runs.link import Link

_log = logging.getLogger(__name__)


def read_statistics(
    ledger: Ledger, link: Callable[[str], Link], remote: RemoteList, now: datetime
) -> RemoteList:
    """The list with what its partner tells now; as it was when the partner cannot tell.

    Nothing here can fail a run: what goes wrong is logged.
    """
    if remote.remote_id is None:
        return remote
    where = f"{remote.audience} at {remote.destination}"
    try:
        told = link(remote.destination).connector.statistics(remote.remote_id)
        found = {key: value for key, value in asdict(told).items() if value is not None}
        if not found:
            return remote
        # A match range told once stays until the partner tells another.
        known = {
            key: remote.statistics[key] for key in ("match_range",) if key in remote.statistics
        }
        return ledger.save_remote_list(
            replace(remote, statistics=known | found | {"read_at": now.isoformat()}),
            expect_generation=remote.generation,
        )
    except AudienceSyncError as error:
        _log.warning("The statistics of %s could not be read: %s", where, error)
    except Exception as error:  # noqa: BLE001 - a plugin may raise anything; the run is done
        _log.warning("The statistics of %s could not be read: %s", where, type(error).__name__)
    return remote
