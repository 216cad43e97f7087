"""Puts the pipeline together; imported where customers are read or lists delivered.

It brings the libraries of the data path, without which the ledger is looked at in half the time.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
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
from audience_sync.runs.escalation import escalation_of
from audience_sync.runs.link import Link
from audience_sync.runs.orders.deliver import OrderDeliverer
from audience_sync.runs.orders.plan import OrderPlanner
from audience_sync.runs.plan import Planner
from audience_sync.runs.progress import Progress
from audience_sync.runs.settle import Settlement
from audience_sync.runs.suppression import Suppression
from audience_sync.runs.sync import Pipeline
from audience_sync.runs.traces import Leavers


@dataclass(frozen=True, kw_only=True)
class Assembly:
    """What pipelines are put together from.

    The first of the fingerprint keys makes fingerprints, the others recognise their own.
    """

    project: Project
    ledger: Ledger
    location: StateLocation
    keyring: Keyring
    fingerprint_keys: tuple[bytes, ...] = field(repr=False)
    fingerprints_from: str  # the variable or the file, for errors
    progress: Progress
    link: Callable[[str], Link]
    now: Callable[[], datetime] = field(repr=False)
    planned_by: str | None = None
    least: Callable[[str, str], int]

    def lists(self) -> Pipeline:
        """What plans and delivers lists; the project's forms pass their vectors first (L14)."""
        _tested(forms_in_use(self.project))
        know_state_keys(self.ledger, self.location, self.keyring, keep=True)
        keys, origin = self.fingerprint_keys, self.fingerprints_from
        know_fingerprint_key(self.location, keys, keep=True, origin=origin)
        settlement = self._settlement()
        return Pipeline(
            ledger=self.ledger,
            planner=self._planner(),
            deliverer=Deliverer(
                settlement=settlement,
                escalation=escalation_of(self.project, self.ledger, self.now),
                progress=self.progress,
                **self._common,
            ),
            confirmer=Confirmer(settlement=settlement, **self._common),
            link=self.link,
            adopted=self.project.adopted,
            named=self.project.names,
            least=self.least,
            two_people=self.project.approval.two_people,
            holder=this_process(),
            alive=alive,
            now=self.now,
        )

    def orders(self, connectors: Mapping[str, type[Connector[Any]]]) -> Pipeline:
        """What plans and delivers reports of orders, under the same leases and states as lists."""
        keys, origin = self.fingerprint_keys, self.fingerprints_from
        key = order_key(self.ledger, self.location, keys, keep=True, origin=origin)
        return replace(
            self.lists(),
            planner=OrderPlanner(
                fingerprint_key=key,
                reporting=reporting_of(self.project, connectors),
                holder=this_process(),
                planned_by=self.planned_by,
                progress=self.progress,
                **self._common,
            ),
            deliverer=OrderDeliverer(progress=self.progress, **self._common),
            least=_as_few_as_there_are,
        )

    @property
    def _common(self) -> dict[str, Any]:
        return {
            "ledger": self.ledger,
            "location": self.location,
            "keyring": self.keyring,
            "now": self.now,
        }

    def _planner(self) -> Planner:
        return Planner(
            fingerprint_key=self.fingerprint_keys[0],
            holder=this_process(),
            progress=self.progress,
            planned_by=self.planned_by,
            **self._common,
        )

    def _settlement(self) -> Settlement:
        key, kept = self.fingerprint_keys[0], self.project.retention.traces
        return Settlement(
            ledger=self.ledger,
            location=self.location,
            keyring=self.keyring,
            suppression=Suppression(self.ledger, key, self.now),
            leavers=Leavers(self.ledger, key, self.now, kept),
        )


def _as_few_as_there_are(_audience: str, _destination: str) -> int:
    return 0


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
