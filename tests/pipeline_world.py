"""A small world for tests of the pipeline: customers in files, a partner in memory, a clock."""

from __future__ import annotations

import atexit
import dataclasses
import hashlib
import os
import shutil
import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any, ClassVar

import polars as pl

from audience_sync.connector import (
    AudienceRequest,
    Connector,
    ConnectorSettings,
    Kind,
    Limits,
    Members,
    Receipt,
    Recipient,
    Rejection,
    Upload,
)
from audience_sync.customers.description import (
    DecisionsDescription,
    PolicyRules,
    SourceDescription,
)
from audience_sync.delivery.exchange import Exchange
from audience_sync.ledger.database import Clock
from audience_sync.ledger.ledger import Ledger
from audience_sync.ledger.records.log import TransferLine
from audience_sync.ledger.records.runs import Run
from audience_sync.membership.guard import GuardLimits
from audience_sync.membership.held import Manifest, Membership
from audience_sync.membership.lines import HELD
from audience_sync.membership.location import open_location
from audience_sync.membership.sealed import Keyring
from audience_sync.runs import plan
from audience_sync.runs.confirm import Confirmer
from audience_sync.runs.deliver import Deliverer
from audience_sync.runs.escalation import Escalation, OnRefusedRemoval
from audience_sync.runs.link import Link
from audience_sync.runs.outcome import Outcome
from audience_sync.runs.progress import Silent
from audience_sync.runs.settle import Settlement
from audience_sync.runs.suppression import Suppression
from audience_sync.runs.sweep import sweep
from audience_sync.runs.sync import Pipeline
from audience_sync.runs.targets import Selection, Target

COLUMNS = (
    "customer_id",
    "email",
    "phone",
    "idfa",
    "consent",
    "consent_at",
    "account_status",
    "market",
)
FORMS = {Kind.EMAIL: "email/plain", Kind.PHONE: "phone/digits"}
NO_GUARDS = GuardLimits(
    minimum_members=None,
    maximum_removals=None,
    maximum_growth=None,
    maximum_source_drop=None,
    maximum_unusable=None,
    maximum_consent_drop=None,
)
START = datetime(2026, 11, 21, 12, tzinfo=UTC)


def digest(text: str) -> str:
    """What a partner receives for a written identifier."""
    return hashlib.sha256(text.encode()).hexdigest()


def granted(customer_id: str, **values: str | None) -> dict[str, str | None]:
    """A customer of the audience who may be sent."""
    usual = {
        "customer_id": customer_id,
        "consent": "granted",
        "consent_at": "2026-01-01T00:00:00Z",
        "account_status": "active",
        "market": "SE",
    }
    return usual | values


def fast_folder() -> Path:
    """A new folder, in memory where the machine has such a place; for tests with many worlds."""
    memory = Path("/dev/shm")  # noqa: S108 - a fresh folder is made in it
    folder = Path(tempfile.mkdtemp(dir=memory if memory.is_dir() else None))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


@cache
def _made_ledger() -> Path:
    path = fast_folder() / "ledger.sqlite"
    Ledger.open(f"sqlite:///{path}").close()
    return path


def new_ledger(path: Path, clock: Clock | None = None) -> Ledger:
    """A ledger in a file, copied where there is none: making one takes longer than many a test."""
    if not path.exists():
        shutil.copy(_made_ledger(), path)
    return Ledger.open(f"sqlite:///{path}", clock=clock)


class MemoryPartner(Connector[ConnectorSettings]):
    """Holds identifiers in a set; `fault` is asked before and after each change."""

    name = "memory"
    title = "Memory"
    settings_class = ConnectorSettings
    forms: ClassVar[Mapping[Kind, str]] = FORMS
    limits = Limits(members_per_request=3, parallel_uploads=2, batches_per_session=2)
    recipient = Recipient(name="Memory Ltd", country="IE")

    def __init__(self) -> None:
        super().__init__(ConnectorSettings(base_url="http://localhost"), None)  # type: ignore[arg-type]
        self.holds: set[str] = set()
        self.calls: list[tuple[str, int]] = []
        self.lists: list[AudienceRequest] = []
        self.fault: Callable[[str, str], None] = lambda _when, _operation: None
        self.rejects: set[str] = set()
        self.pending = False
        self.uploads: list[tuple[str, Upload, list[list[str]]]] = []
        self.answers: dict[str, Receipt] = {}
        self.removals: list[str] = []  # references of removals that are answered later
        self.questions: list[str] = []  # the references that were asked about

    def check(self) -> None:
        """All is well."""

    def ensure_audience(self, audience: AudienceRequest) -> str:
        self.lists.append(audience)
        return "1"

    def add(self, upload: Upload, members: Members) -> Receipt:
        assert upload.consent is not None
        assert upload.consent.ad_user_data
        self.uploads.append(("add", upload, members.rows(members.kinds)))
        self.fault("before", "add")
        bad = members.find(sorted(self.rejects))
        good = [i for i in range(len(members)) if i not in bad]
        self.holds |= _identifiers(members.take(good)) if good else set()
        self.calls.append(("add", len(members)))
        self.fault("after", "add")
        reference = f"add-{len(self.calls)}" if self.pending else None
        return Receipt(
            accepted=len(good),
            rejected=tuple(Rejection(position=i, reason="unusable") for i in bad),
            reference=reference,
            pending=self.pending,
        )

    def remove(self, upload: Upload, members: Members) -> Receipt:
        assert upload.consent is None
        self.uploads.append(("remove", upload, members.rows(members.kinds)))
        self.fault("before", "remove")
        self.holds -= _identifiers(members)
        self.calls.append(("remove", len(members)))
        self.fault("after", "remove")
        reference = f"remove-{len(self.calls)}" if self.pending else None
        self.removals += [reference] if reference else []
        return Receipt(accepted=len(members), reference=reference, pending=self.pending)

    def digests(self) -> list[set[str]]:
        """What each upload so far brought, in their order."""
        return [{cell for row in rows for cell in row if cell} for _, _, rows in self.uploads]

    def poll(self, reference: str) -> Receipt:
        self.questions.append(reference)
        return self.answers.get(reference, Receipt(accepted=0, pending=True))


def _identifiers(members: Members) -> set[str]:
    return {cell for row in members.rows(members.kinds) for cell in row if cell}


class World:
    """One project with one list by default, whose customers are given row by row."""

    def __init__(
        self, folder: Path, *, partitions: int = 4, forms: Mapping[Kind, str] = FORMS
    ) -> None:
        self.folder = folder
        self.time = START
        self.ledger = new_ledger(folder / "ledger.sqlite")
        self.location = open_location(str(folder / "state"))
        self.keyring = Keyring("k1", {"k1": bytes(range(32))})
        self.partner = MemoryPartner()
        self.rules = PolicyRules(default_country="SE")
        self.decisions: list[dict[str, Any]] | None = None
        self.partners: frozenset[str] = frozenset()
        self.partitions = partitions
        self.target = Target(
            audience="vip",
            destination="memory-1",
            partner="memory",
            where="market = 'SE'",
            forms=FORMS,
            batch_size=3,
            most_identifiers=25,
            guards=NO_GUARDS,
        )
        self.hashed: Mapping[Kind, str] = {}
        self.policy = OnRefusedRemoval.ALERT
        self.holder = f"test:{os.getpid()}"
        self.alive: Callable[[str], bool] = lambda _holder: True

    def now(self) -> datetime:
        self.time += timedelta(seconds=1)
        return self.time

    def write(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """The customers as they are from now on."""
        schema = dict.fromkeys(COLUMNS, pl.String)
        full = [{name: row.get(name) for name in COLUMNS} for row in rows]
        pl.DataFrame(full, schema=schema).write_parquet(self.folder / "customers.parquet")
        if self.decisions is not None:
            names = ("customer_id", "decision", "decided_at", "partner")
            full = [{name: row.get(name) for name in names} for row in self.decisions]
            frame = pl.DataFrame(full, schema=dict.fromkeys(names, pl.String))
            frame.write_parquet(self.folder / "decisions.parquet")

    def selection(self) -> Selection:
        mapped = {name: name for name in COLUMNS if name != "market"}
        decisions = None
        if self.decisions is not None:
            decisions = DecisionsDescription(url="decisions.parquet", base=self.folder)
        return Selection(
            source=SourceDescription(url="customers.parquet", columns=mapped, base=self.folder),
            rules=self.rules,
            decisions=decisions,
            hashed=self.hashed,
            partners=self.partners,
        )

    def pipeline(self) -> Pipeline:
        common: dict[str, Any] = {
            "ledger": self.ledger,
            "location": self.location,
            "keyring": self.keyring,
            "now": self.now,
        }
        suppression = Suppression(self.ledger, b"f" * 32, self.now)
        settlement = Settlement(
            ledger=self.ledger,
            location=self.location,
            keyring=self.keyring,
            suppression=suppression,
        )
        return Pipeline(
            ledger=self.ledger,
            planner=plan.Planner(
                fingerprint_key=b"f" * 32, holder=self.holder, progress=Silent(), **common
            ),
            deliverer=Deliverer(
                settlement=settlement,
                escalation=Escalation(
                    ledger=self.ledger, policy=lambda _name: self.policy, now=self.now
                ),
                progress=Silent(),
                **common,
            ),
            confirmer=Confirmer(settlement=settlement, **common),
            link=self.link,
            adopted=lambda _audience, _destination: None,
            holder=self.holder,
            alive=self.alive,
            now=self.now,
        )

    def link(self, destination: str) -> Link:
        return Link(
            destination=destination,
            connector=self.partner,
            recording=lambda: nullcontext(Exchange()),
            project="test",
            purpose="advertising",
        )

    def sync(self, **options: Any) -> Outcome:
        """Sync the one list."""
        return self.sync_all([self.target], **options)[0]

    def sync_all(self, targets: Sequence[Target], **options: Any) -> list[Outcome]:
        """Sync several lists."""
        before = plan.partitions_for
        plan.partitions_for = lambda _rows: self.partitions  # type: ignore[assignment]
        try:
            return self.pipeline().sync(self.selection(), targets, **options)
        finally:
            plan.partitions_for = before

    def ran(self, **options: Any) -> Run:
        """Sync the one list and see that no error stopped it; its run."""
        outcome = self.sync(**options)
        assert outcome.error is None
        assert outcome.run is not None
        return outcome.run

    def log(self) -> list[TransferLine]:
        """The transfer log so far."""
        return [logged.line for logged in self.ledger.log_lines()]

    def held(self, *, surely: bool = False) -> set[str]:
        """The identifiers that the membership counts as held, in hex.

        Those in doubt, too, unless they are to be `surely` held.
        """
        remote = self.ledger.remote_list(self.target.audience, self.target.destination)
        membership = Membership(self.location, self.keyring, Manifest.of(remote.manifest))
        lines = membership.read(0, 1)
        alive = lines.take((lines.state == HELD) if surely else lines.alive)
        return {v.tobytes().hex() for c in alive.columns.values() for v in c if v.any()}

    def sweep(self) -> None:
        """Delete what dead processes left behind."""
        sweep(self.ledger, self.location, self.alive, self.now())

    def aim(self, **changes: Any) -> None:
        """Change the target."""
        self.target = dataclasses.replace(self.target, **changes)

    def files(self) -> list[Path]:
        """Every file that rests in the state location."""
        return sorted(path for path in (self.folder / "state").rglob("*") if path.is_file())
