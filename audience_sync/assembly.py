"""Puts the pipeline together; imported where customers are read or lists delivered.

It brings the libraries of the data path, without which the ledger is looked at in half the time.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime
from functools import cache
from typing import Any

from audience_sync.checking import know_fingerprint_key, know_state_keys, order_key
from audience_sync.connector import Connector
from audience_sync.holder import alive, this_process
from audience_sync.identifiers.forms import IDENTITY_FORMS
from audience_sync.identifiers.kinds import Kind
from audience_sync.identifiers.selftest import self_test
from audience_sync.ledger.ledger import Ledger
from audience_sync.membership.location import StateLocation
from audience_sync.membership.sealed import Keyring
from audience_sync.ordering import reporting_of
from audience_sync.project import Project
from audience_sync.runs.confirm import Confirmer
from audience_sync.runs.deliver import Deliverer
from audience_sync.runs.link import Link
from audience_sync.runs.orders.deliver import OrderDeliverer
from audience_sync.runs.orders.plan import OrderPlanner
from audience_sync.runs.plan import Planner
from audience_sync.runs.progress import Progress
from audience_sync.runs.settle import Settlement
from audience_sync.runs.suppression import Suppression
from audience_sync.runs.sync import Pipeline
from audience_sync.runs.traces import Leavers


def assembled(
    project: Project,
    *,
    ledger: Ledger,
    location: StateLocation,
    keyring: Keyring,
    fingerprint_key: bytes,
    progress: Progress,
    link: Callable[[str], Link],
    now: Callable[[], datetime],
    older_keys: tuple[bytes, ...] = (),
    planned_by: str | None = None,
    least: Callable[[str, str], int] = lambda _audience, _destination: 0,
) -> Pipeline:
    """What plans and delivers a project; its forms have been tested on their vectors (L14)."""
    _tested(forms_in_use(project))
    know_state_keys(ledger, location, keyring, keep=True)
    know_fingerprint_key(location, (fingerprint_key, *older_keys), keep=True)
    suppression = Suppression(ledger, fingerprint_key, now)
    common: dict[str, Any] = {
        "ledger": ledger,
        "location": location,
        "keyring": keyring,
        "now": now,
    }
    settlement = Settlement(
        ledger=ledger,
        location=location,
        keyring=keyring,
        suppression=suppression,
        leavers=Leavers(ledger, fingerprint_key, now, project.retention.traces),
    )
    return Pipeline(
        ledger=ledger,
        planner=Planner(
            fingerprint_key=fingerprint_key,
            holder=this_process(),
            progress=progress,
            planned_by=planned_by,
            **common,
        ),
        deliverer=Deliverer(settlement=settlement, progress=progress, **common),
        confirmer=Confirmer(settlement=settlement, **common),
        link=link,
        adopted=project.adopted,
        named=project.names,
        least=least,
        two_people=project.approval.two_people,
        holder=this_process(),
        alive=alive,
        now=now,
    )


def assembled_orders(
    project: Project,
    connectors: Mapping[str, type[Connector[Any]]],
    *,
    ledger: Ledger,
    location: StateLocation,
    keyring: Keyring,
    fingerprint_key: bytes,
    progress: Progress,
    link: Callable[[str], Link],
    now: Callable[[], datetime],
    older_keys: tuple[bytes, ...] = (),
    planned_by: str | None = None,
) -> Pipeline:
    """What plans and delivers the project's reports of orders, under the same leases and states."""
    lists = assembled(
        project,
        ledger=ledger,
        location=location,
        keyring=keyring,
        fingerprint_key=fingerprint_key,
        progress=progress,
        link=link,
        now=now,
        older_keys=older_keys,
    )
    common: dict[str, Any] = {
        "ledger": ledger,
        "location": location,
        "keyring": keyring,
        "now": now,
        "progress": progress,
    }
    keys = fingerprint_key, *older_keys
    return replace(
        lists,
        planner=OrderPlanner(
            fingerprint_key=order_key(ledger, location, keys, keep=True),
            reporting=reporting_of(project, connectors),
            holder=this_process(),
            planned_by=planned_by,
            **common,
        ),
        deliverer=OrderDeliverer(**common),
    )


@cache
def _tested(names: frozenset[str]) -> None:
    """Once in a process: its forms do not change while it runs."""
    self_test(names)


def forms_in_use(project: Project) -> frozenset[str]:
    """The forms that this project's customers are written in, for partners and for identity.

    Kinds that the source holds as hashes are not written.
    """
    written = set(project.source.columns.kinds).difference(map(Kind, project.source.hashed))
    wanted = (
        form
        for destination in project.destinations.values()
        for kind, form in destination.forms.items()
        if kind in written
    )
    identities = (IDENTITY_FORMS[kind] for kind in {*written, Kind.EXTERNAL_ID})
    return frozenset((*wanted, *identities))
