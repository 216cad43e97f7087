"""What a sandbox holds, compared with what our membership says: by identifier, shown as counts."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from audience_sync.cli import simulated
from audience_sync.cli.simulated import DEVICE, Values
from audience_sync.cli.whole import plain_table
from audience_sync.cli.written import console, number
from audience_sync.membership.held import Manifest, Membership
from audience_sync.project import ORDERS

if TYPE_CHECKING:
    from audience_sync.app import App
    from audience_sync.ledger.records.runs import RemoteList

_COLUMNS = {"email": "e-mails", "phone": "phones", DEVICE: "devices", "external_id": "own ids"}
_MIXED = ("pinterest",)  # shows all records of a list under one kind
_EVERY = "record"


@dataclass(frozen=True)
class Compared:
    """One list at one account of a partner: what we believe by kind, and how far it is true."""

    audience: str
    place: str
    believed: Mapping[str, int]
    more: int  # that the partner holds and we do not believe
    fewer: int  # that we believe and the partner does not hold
    unit: str = "identifiers"
    count: Callable[[int], int | str] = int  # as it may be told

    @property
    def same(self) -> bool:
        """Whether the partner holds exactly what we believe."""
        return not (self.more or self.fewer)

    @property
    def verdict(self) -> str:
        """What the partner holds, in a few words."""
        if self.same:
            return "[green]exactly these[/]"
        more, fewer = (number(self.count(count)) for count in (self.more, self.fewer))
        return f"[red]{more} more, {fewer} fewer {self.unit}[/]"


def print_comparison(project: Path, sandbox: str) -> bool:
    """A line for each list, by audience; whether every partner holds what we believe."""
    found = list(compared(project, sandbox))
    kinds = [kind for kind in _COLUMNS if any(kind in one.believed for one in found)]
    names = [_COLUMNS[kind] for kind in kinds]
    table = plain_table("", *names, "the partner holds", right=names)
    last = None
    for one in found:
        if one.audience != last:
            table.add_row(f"[bold]{one.audience}[/]")
            last = one.audience
        held = one.believed
        counts = (number(one.count(held[kind])) if kind in held else "-" for kind in kinds)
        table.add_row(f"  {one.place}", *counts, one.verdict)
    console().print(table)
    return all(one.same for one in found)


def compared(project: Path, sandbox: str) -> Iterator[Compared]:
    """Every list, and the orders, of a project whose destinations are all in a sandbox."""
    from audience_sync.app import App  # noqa: PLC0415 - keeps --help light

    with App.open(project) as app:
        order = list(app.project.audiences)
        lists = [remote for remote in app.ledger.remote_lists() if remote.remote_id is not None]
        for remote in sorted(lists, key=lambda one: order.index(one.audience)):
            yield from _lists(app, sandbox, remote)
        if app.project.orders is not None:
            for destination in app.project.orders.destinations:
                yield _orders(app, sandbox, destination)


def _lists(app: App, sandbox: str, remote: RemoteList) -> Iterator[Compared]:
    destination = app.project.destinations[remote.destination]
    partner = destination.connector
    ours = _believed(app, remote)
    there = simulated.places(partner, destination.settings.base_url, str(remote.remote_id))
    for place in there:
        theirs = simulated.held(sandbox, partner, place.lists)
        more, fewer = _difference(*(_as_shown(partner, each) for each in (ours, theirs)))
        yield Compared(
            remote.audience,
            " ".join(filter(None, (remote.destination, place.account))),
            {kind: len(values) for kind, values in ours.items()},
            more,
            fewer,
            count=app.discretion.count,
        )


def _orders(app: App, sandbox: str, destination: str) -> Compared:
    from audience_sync.runs.orders.counted import unlike  # noqa: PLC0415 - keeps --help light
    from audience_sync.runs.orders.keys import OrderKeys  # noqa: PLC0415 - the same

    settings: Any = app.project.destinations[destination].settings
    shown = simulated.order_lines(sandbox, settings.merchant_id)
    keys = OrderKeys.derive(app.order_key, destination)
    more, fewer = unlike(app.ledger, keys, destination, shown)
    count = app.discretion.count
    reported = number(count(app.ledger.reported_orders(destination)))
    return Compared(ORDERS, f"{destination}: {reported} orders", {}, more, fewer, "lines", count)


def _believed(app: App, remote: RemoteList) -> dict[str, Values]:
    """The identifiers of our membership by kind, sorted, each once."""
    membership = Membership(
        app.location, app.keyring_and_fingerprint_key[0], Manifest.of(remote.manifest)
    )
    partitions = membership.manifest.partitions
    found: dict[str, list[Values]] = {}
    for partition in range(partitions):
        lines = membership.read(partition, partitions)
        for kind, values in lines.columns.items():
            alive = values[lines.alive & values.any(axis=1)]
            found.setdefault(simulated.kind_of(kind.value), []).append(simulated.comparable(alive))
    return simulated.united(found)


def _as_shown(partner: str, found: Mapping[str, Values]) -> Mapping[str, Values]:
    """As the simulated partner tells kinds apart."""
    if partner not in _MIXED:
        return found
    return simulated.united({_EVERY: list(found.values())} if found else {})


def _difference(ours: Mapping[str, Values], theirs: Mapping[str, Values]) -> tuple[int, int]:
    """How many identifiers only the partner holds, and how many only we believe in."""
    more = fewer = 0
    for kind in ours.keys() | theirs.keys():
        sides = [side[kind] for side in (ours, theirs) if kind in side]
        either = len(np.unique(np.concatenate(sides)))
        more += either - len(ours.get(kind, ()))
        fewer += either - len(theirs.get(kind, ()))
    return more, fewer
