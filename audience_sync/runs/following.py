"""The membership that a run leads to, kept beside its outbox until the run ends."""

from __future__ import annotations

import numpy as np
import orjson

from audience_sync.errors import StateError
from audience_sync.ledger.records.runs import Run
from audience_sync.membership.held import Manifest
from audience_sync.membership.location import StateLocation
from audience_sync.membership.sealed import Keyring, SealedReader, SealedWriter

_COLUMN = "manifest"


def write_following(
    location: StateLocation, keyring: Keyring, run: Run, manifest: Manifest
) -> None:
    """Note which files hold the membership once everything is delivered; names, no people."""
    path = _path(run)
    with location.create(path) as file:
        writer = SealedWriter(file, path, keyring)
        writer.write(0, _COLUMN, np.frombuffer(orjson.dumps(manifest.as_json()), dtype=np.uint8))
        writer.close()


def read_following(location: StateLocation, keyring: Keyring, run: Run) -> Manifest:
    """The manifest that the plan foresaw."""
    written = SealedReader(location, _path(run), keyring).read(0, _COLUMN)
    if written is None:
        raise StateError(f"the plan of run {run.id} is damaged; cancel the run and plan it again")
    return Manifest.of(orjson.loads(written.tobytes()))


def following_folder(run: Run) -> str:
    """Where the membership that a run leads to is kept."""
    return f"lists/{run.destination}/{run.audience}/{run.id}"


def _path(run: Run) -> str:
    """Of several who planned the same run each has another outbox, and another name here."""
    return f"outbox/{run.id}/following-{(run.outbox or '')[:16]}.sealed"
