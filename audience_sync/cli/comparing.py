"""What a sandbox holds, compared with what our membership says: by identifier, shown as counts."""

from __future__ import annotations

import http.client
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import numpy as np
import orjson

from audience_sync.cli.lists import plain_table
from audience_sync.cli.written import console, number
from audience_sync.membership.held import Manifest, Membership

if TYPE_CHECKING:
    from audience_sync.app import App
    from audience_sync.ledger.records import RemoteList

_PATIENCE = 60.0  # seconds
_NONE = np.zeros(0, dtype="V32")


def print_comparison(project: Path, sandbox: str) -> None:
    """A line for each list: what we believe, what the simulated partner holds, whether equal."""
    from audience_sync.app import App  # noqa: PLC0415 - keeps --help light

    table = plain_table("list", "we believe", "partner holds", "", right=["we believe"])
    table.columns[2].justify = "right"
    with App.open(project) as app:
        for remote in app.ledger.remote_lists():
            ours = _believed(app, remote)
            theirs = _held(sandbox, app.project.destinations[remote.destination].connector, remote)
            same = all(np.array_equal(ours[kind], theirs.get(kind, _NONE)) for kind in ours)
            table.add_row(
                f"{remote.audience}, {remote.destination}",
                _counts(ours),
                _counts(theirs),
                "[green]the same[/]" if same else "[red]different[/]",
            )
    console().print(table)


def _counts(found: Mapping[str, Any]) -> str:
    return f"{number(sum(len(values) for values in found.values()))} identifiers"


def _believed(app: App, remote: RemoteList) -> dict[str, Any]:
    """The identifiers of our membership by kind, sorted, each once."""
    membership = Membership(
        app.location, app.keyring_and_fingerprint_key[0], Manifest.of(remote.manifest)
    )
    partitions = membership.manifest.partitions
    found: dict[str, list[Any]] = {}
    for partition in range(partitions):
        lines = membership.read(partition, partitions)
        for kind, values in lines.columns.items():
            alive = values[lines.alive & values.any(axis=1)]
            found.setdefault(kind.value, []).append(_sortable(alive))
    merged = {kind: np.unique(np.concatenate(parts)) for kind, parts in found.items()}
    return {kind: values for kind, values in merged.items() if len(values)}


def _held(sandbox: str, partner: str, remote: RemoteList) -> dict[str, Any]:
    """The identifiers that the simulated partner holds, in the same order."""
    connection = http.client.HTTPConnection(urlsplit(sandbox).netloc, timeout=_PATIENCE)
    number_of_list = str(remote.remote_id).rpartition(":")[2]
    connection.request("GET", f"/_control/members?partner={partner}&list={number_of_list}")
    found = orjson.loads(connection.getresponse().read()).get("identifiers", {})
    connection.close()
    return {
        kind: np.unique(
            _sortable(np.frombuffer(bytes.fromhex("".join(values)), np.uint8).reshape(-1, 32))
        )
        for kind, values in found.items()
        if values and kind in ("email", "phone")
    }


def _sortable(digests: Any) -> Any:
    """Values as one opaque column, raw device IDs filled up with zeros."""
    digests = np.pad(digests, ((0, 0), (0, 32 - digests.shape[1])))
    return np.ascontiguousarray(digests).view("V32").reshape(-1)
