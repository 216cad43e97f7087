"""The membership that a run leads to, kept beside its outbox until the run ends."""

from __future__ import annotations

import orjson

from audience_sync.ledger.records import Run
from audience_sync.membership.held import Manifest
from audience_sync.membership.location import StateLocation


def write_following(location: StateLocation, run: str, manifest: Manifest) -> None:
    """Note which files hold the membership once everything is delivered; names, no people."""
    with location.create(_path(run)) as file:
        file.write(orjson.dumps(manifest.as_json()))


def read_following(location: StateLocation, run: str) -> Manifest:
    """The manifest that the plan foresaw."""
    path = _path(run)
    return Manifest.of(orjson.loads(location.read(path, 0, location.size(path))))


def following_folder(run: Run) -> str:
    """Where the membership that a run leads to is kept."""
    return f"lists/{run.destination}/{run.audience}/{run.id}"


def _path(run: str) -> str:
    return f"outbox/{run}/following.json"
