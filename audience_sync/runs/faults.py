"""Mistakes of a plugin become errors of ours, which show no value of anybody."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from audience_sync.errors import AudienceSyncError, PartnerError, RefusedError, places

_log = logging.getLogger(__name__)


@contextmanager
def faults_of(connector: str, kind: type[PartnerError] = RefusedError) -> Iterator[None]:
    """Raise errors of ours as they are, and any other as one that names its class alone.

    The log tells the lines that led to it; its own words could hold an identifier.
    """
    try:
        yield
    except AudienceSyncError:
        raise
    except Exception as error:  # noqa: BLE001 - a plugin may raise anything
        found = type(error).__name__
        _log.error("The connector %s stopped with %s in %s", connector, found, places(error))
        raise kind(
            f"the connector {connector} stopped with a {found}; report this to its author"
        ) from None
