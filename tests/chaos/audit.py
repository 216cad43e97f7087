"""Compares what the partners hold with what is wanted, and the log with what they were asked."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from chaos.cluster import Cluster
from chaos.shop import LISTS

from audience_sync.app import App
from audience_sync.ledger.records.log import Event, TransferLine
from audience_sync.ledger.records.runs import RunState
from audience_sync.membership.held import Manifest, Membership

_CHANGES = ("add", "remove")
_SLACK = 0.1  # seconds between two clocks of one machine


@dataclass
class Findings:
    """What is wrong; all of it must be nothing, but for batches that were sent again."""

    lost: int = 0  # members wanted that a partner does not hold
    kept: int = 0  # members that a partner holds and that nobody wants
    strangers: int = 0  # identifiers held that we do not know of, so that we could not remove them
    unlogged: int = 0  # changes at a partner that the log does not tell
    untrue: int = 0  # changes that the log tells and no partner made
    twins: int = 0  # lists that were made twice
    broken: int = 0  # audits that found the log's chain broken
    failed: int = 0  # runs that ended before their end
    surprised: int = 0  # times that a log asks for a report
    restless: int = 0  # rounds that did not come to rest
    repeated: int = 0  # batches that were sent again, since nobody saw their answer
    notes: list[str] = field(default_factory=list)

    @property
    def sound(self) -> bool:
        """Whether nothing was lost, kept or untold."""
        told = vars(self).items()
        return not any(number for name, number in told if name not in ("repeated", "notes"))

    def __add__(self, other: Findings) -> Findings:
        told = vars(other).items()
        return Findings(**{name: getattr(self, name) + number for name, number in told})


def compare_known(cluster: Cluster, app: App, lists: Sequence[tuple[str, str]] = LISTS) -> Findings:
    """Whether we know of everybody whom a partner holds."""
    found = Findings()
    for audience, partner in lists:
        unknown = held(cluster, app, audience, partner) - known(app, audience, partner)
        found.strangers += len(unknown)
        if unknown:
            found.notes.append(f"{audience} at {partner}: {len(unknown)} unknown to us")
    return found


def compare_wanted(
    cluster: Cluster, app: App, lists: Sequence[tuple[str, str]] = LISTS
) -> Findings:
    """Whether each list holds exactly whom the reference wants there."""
    found = Findings()
    for audience, partner in lists:
        there, wanted = (
            held(cluster, app, audience, partner),
            cluster.shop.wanted(audience, partner),
        )
        found.lost += len(wanted - there)
        found.kept += len(there - wanted)
        if wanted != there:
            words = len(wanted - there), len(there - wanted)
            found.notes.append(f"{audience} at {partner}: %d lost, %d kept" % words)
    state = cluster.control("state")
    for _, partner in lists:
        names = Counter(one["description"] or one["name"] for one in state[partner]["lists"])
        found.twins += sum(number - 1 for number in names.values())
    return found


def held(cluster: Cluster, app: App, audience: str, partner: str) -> set[str]:
    """The identifiers that a partner holds for an audience, in hex."""
    remote = app.ledger.remote_list(audience, partner).remote_id
    if remote is None:
        return set()
    listed = f"shop/{remote}" if partner == "webhook" else remote.rpartition(":")[2]
    found = cluster.control(f"members?partner={partner}&list={listed}")["identifiers"]
    return {value for values in found.values() for value in values}


def known(app: App, audience: str, partner: str) -> set[str]:
    """The identifiers that our membership counts as held, in hex."""
    keyring, _, _ = app.keyring_and_fingerprint_key
    manifest = Manifest.of(app.ledger.remote_list(audience, partner).manifest)
    lines = Membership(app.location, keyring, manifest).read(0, 1)
    alive = lines.take(lines.alive)
    return {
        value.tobytes().hex()
        for column in alive.columns.values()
        for value in column
        if value.any()
    }


def compare_log(cluster: Cluster, app: App) -> Findings:
    """Whether the transfer log and the partners' own journal tell the same."""
    lines = [logged.line for logged in app.ledger.log_lines()]
    journal = cluster.control("journal")["requests"]
    made = [one for one in journal if one["operation"] in _CHANGES and one["outcome"] == "ok"]
    found = Findings(
        unlogged=_unlogged(made, lines),
        untrue=_untrue(journal, lines),
        broken=0 if app.ledger.verify_log().sound else 1,
        repeated=_repeated(lines),
    )
    logs = [
        line for one in [*cluster.workers, cluster.beat] if one for line in one.log.splitlines()
    ]
    surprising = [line for line in logs if "please report" in line]
    found.surprised = len(surprising)
    found.notes += surprising
    runs = app.ledger.runs(states=[RunState.FAILED, RunState.HELD])
    found.failed = len(runs)
    found.notes += [
        f"{run.audience} at {run.destination} is {run.state}: {run.reason}" for run in runs
    ]
    return found


def _unlogged(made: Iterable[Mapping[str, Any]], lines: Sequence[TransferLine]) -> int:
    """Changes without an intent from before them: by their body, else by what nobody saw answered.

    The log has no body of a request that nobody saw answered, but that there was one, and its size.
    """
    first: dict[tuple[str, int | None, str | None], datetime] = {}
    for line in lines:
        if line.event is Event.INTENT and line.started_at is not None:
            first.setdefault((line.run, line.batch, line.operation), line.started_at)
    bodies = {line.body_sha256: line for line in lines if line.body_sha256}
    unseen = Counter(
        (line.destination, line.operation, line.sent)
        for line in lines
        if line.event is Event.UNKNOWN
    )
    missing, explained = 0, set[str]()
    for entry in made:
        line = bodies.get(entry["body_sha256"])
        if line is not None:
            begun = first.get((line.run, line.batch, line.operation))
            at = datetime.fromisoformat(entry["time"]).timestamp() + _SLACK
            missing += begun is None or begun.timestamp() > at
        elif entry["body_sha256"] not in explained:
            explained.add(entry["body_sha256"])
            key = entry["partner"], entry["operation"], entry["rows"]
            unseen[key] -= 1
            missing += unseen[key] < 0
    return missing


def _untrue(journal: Iterable[Mapping[str, Any]], lines: Iterable[TransferLine]) -> int:
    """Answers in the log that no partner gave."""
    asked = {entry["body_sha256"] for entry in journal}
    told = [
        line
        for line in lines
        if line.event is Event.OUTCOME and line.operation in _CHANGES and line.accepted
    ]
    return sum(line.body_sha256 not in asked for line in told)


def _repeated(lines: Iterable[TransferLine]) -> int:
    sent = Counter(
        (line.run, line.operation, line.batch) for line in lines if line.event is Event.INTENT
    )
    return sum(number - 1 for number in sent.values())
