"""What `check` looks at beyond the project file: sources, state, keys and lists at partners."""

from __future__ import annotations

import hmac
from collections.abc import Collection, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice

from audience_sync.customers.decisions import read_decisions
from audience_sync.customers.ids import FEW, doubt_of_ids
from audience_sync.customers.policy import check_rules
from audience_sync.customers.source import open_source
from audience_sync.errors import ConfigurationError, RefusedError
from audience_sync.identifiers.kinds import Kind
from audience_sync.identifiers.phones import default_region
from audience_sync.identifiers.profile import profile, refuse_mismatch
from audience_sync.keys import FINGERPRINT_KEY, STATE_MARKS
from audience_sync.ledger.ledger import Ledger
from audience_sync.membership.held import Manifest
from audience_sync.membership.location import StateLocation
from audience_sync.membership.sealed import Keyring, SealedReader
from audience_sync.project import Project
from audience_sync.runs.forget import cure
from audience_sync.runs.link import Link
from audience_sync.runs.outcome import NO_ROWS
from audience_sync.signing import Signer
from audience_sync.targeting import selection_of

_MARKS = "keys"  # the folder in the state location
_ORDER_MARKS = "order-key"  # the same, of the one that reported orders are known by
_STATE_MARK = b"audience-sync: which state key this is"
_MARK = b"audience-sync: which fingerprint key this state belongs to"


@dataclass(frozen=True, slots=True)
class Doubt:
    """What works, but looks wrong."""

    detail: str


def look_at_signatures(ledger: Ledger, signer: Signer) -> str | Doubt:
    """By which key the log is signed; `log verify` refuses what other keys signed before it."""
    known = signer.trusted
    others = {one.public_key for one in ledger.checkpoints()} - known
    if not others:
        return f"key {signer.public_key}"
    return Doubt(
        f"key {signer.public_key}, but the transfer log was signed with another key "
        f"({', '.join(sorted(others))}), so that `log verify` refuses it; put that one back below "
        "this one in signing.key, or behind it in AUDIENCE_SYNC_SIGNING_KEY"
    )


def look_at_source(project: Project) -> str | Doubt:
    """Every column and condition can be read, and no column is hashed that should not be."""
    selection = selection_of(project)
    source = open_source(selection.source)
    check_rules(
        selection.rules, selection.source.columns, decisions=selection.decisions is not None
    )
    if selection.rules.default_country is not None:
        default_region(selection.rules.default_country)
    predicates = {a.name: a.where for a in project.audiences.values() if a.where}
    doubt: str | None = NO_ROWS
    with closing(source.batches(predicates, FEW)) as frames:
        for frame in islice(frames, 1):
            for kind in Kind:
                if kind.value in frame.columns:
                    seen = profile(frame[kind.value])
                    refuse_mismatch(kind, seen, selection.hashed.get(kind))
            doubt = doubt_of_ids(frame["customer_id"]) if len(frame) else NO_ROWS
    if doubt is not None:
        return Doubt(doubt)
    rows = source.count()
    return "readable" if rows is None else f"about {rows:,} rows"


def doubt_of_source(project: Project) -> str | None:
    """What a look at the first ids says, whatever else is wrong; None where nothing is."""
    source = open_source(selection_of(project).source)
    others = [name for name in source.mapped if name != "customer_id"]
    with closing(source.batches({}, FEW, without=others)) as frames:
        return next((doubt_of_ids(frame["customer_id"]) for frame in frames), None)


def look_at_decisions(project: Project, connectors: Collection[str]) -> str:
    """The consent log can be read, where there is one, and names partners that there are.

    A refusal towards an unknown partner counts for all, a grant for none.
    """
    description = selection_of(project).decisions
    if description is None:
        return "in the source's own rows"
    with closing(read_decisions(description, FEW)) as frames:
        for frame in islice(frames, 1):
            words = frame["partner"].str.strip_chars().str.to_lowercase().drop_nulls()
            unknown = int((~words.is_in(["", *(name.lower() for name in connectors)])).sum())
            if unknown:
                return (
                    f"readable; {unknown:,} of the first {frame.height:,} rows are limited to a "
                    f"partner that no connector is named by: write {', '.join(sorted(connectors))}"
                )
    return "readable"


def look_at_ledger(ledger: Ledger, location: StateLocation) -> str | Doubt:
    """How many lists it knows; it is doubtful where others than it know of the state's files."""
    known = len(ledger.remote_lists())
    strange = [folder for folder in ("lists", "withdrawals") if location.holds(folder)]
    if not strange or known or ledger.newest_withdrawal() or ledger.runs(limit=1):
        return f"{known} lists known"
    return Doubt(
        f"nothing is known, but the state holds files under {' and '.join(strange)}: the ledger "
        "was lost, or is another one; put ledger and state back from one backup before anything is "
        "synced, as docs/operations.md says under Keys and backups"
    )


def look_at_state(ledger: Ledger, location: StateLocation, keyring: Keyring) -> str:
    """A file of each membership can be opened with the keys at hand."""
    found = 0
    for remote in ledger.remote_lists():
        for path in islice(Manifest.of(remote.manifest).files.values(), 1):
            SealedReader(location, path, keyring)
            found += 1
    return f"{found} memberships readable"


def know_fingerprint_key(
    location: StateLocation,
    keys: Sequence[bytes],
    *,
    keep: bool,
    origin: str = FINGERPRINT_KEY,
) -> None:
    """A ConfigurationError when none of the fingerprint keys is one that this state knows.

    With that, partners' rejections would be forgotten. `keep` notes the first one, which is new
    after a rotation and in a state that has no key yet. `origin` is where the keys came from.
    """
    marks = [fingerprint_mark(key) for key in keys]
    known = _noted(location, _MARKS)
    if known and known.isdisjoint(marks):
        raise ConfigurationError(
            f"{origin}: the fingerprint key is not the one that this state began with; "
            "put that one back"
        )
    if keep and marks[0] not in known:
        _note(location, f"{_MARKS}/{marks[0]}")


def fingerprint_mark(key: bytes) -> str:
    """By what a fingerprint key is told from others."""
    return hmac.digest(key, _MARK, "sha256").hex()[:16]


def state_mark(name: str, key: bytes) -> str:
    """By what a state key is told from others, of the same name too."""
    return f"{name}.{hmac.digest(key, _STATE_MARK, 'sha256').hex()[:16]}"


def key_known_since(location: StateLocation, mark: str) -> datetime | None:
    """When the state met a key by its mark; None where that was not noted."""
    for folder in (_MARKS, STATE_MARKS):
        if mark in location.names(folder):
            path = f"{folder}/{mark}"
            written = location.read(path, 0, location.size(path)).decode().strip()
            return datetime.fromisoformat(written) if written else None
    return None


def order_key(
    ledger: Ledger,
    location: StateLocation,
    keys: Sequence[bytes],
    *,
    keep: bool,
    origin: str = FINGERPRINT_KEY,
) -> bytes:
    """The fingerprint key that reported orders are known by.

    It stays the same as long as any order is remembered, whichever key is current: orders that
    nobody recognises would be reported, and counted, twice. So a ConfigurationError without it.
    """
    by_mark = {fingerprint_mark(key): key for key in keys}
    known = _noted(location, _ORDER_MARKS)
    chosen = next((key for mark, key in by_mark.items() if mark in known), None)
    if ledger.any_reported():
        if known and chosen is None:
            raise ConfigurationError(
                f"{origin}: the fingerprint key that reported orders are known by is gone; "
                "put it back behind the current one, or every order would be counted twice"
            )
        chosen = chosen or keys[-1]  # a state from before this was noted has one key only
    elif chosen is not keys[0]:
        chosen = keys[0]
    if keep and fingerprint_mark(chosen) not in known:
        location.delete(_ORDER_MARKS)
        _note(location, f"{_ORDER_MARKS}/{fingerprint_mark(chosen)}")
    return chosen


def _noted(location: StateLocation, folder: str) -> set[str]:
    """Marks that stand there whole: another process may be writing one, or have died over it."""
    return {name for name in location.names(folder) if not name.startswith(".")}


def _note(location: StateLocation, path: str) -> None:
    with location.create(path) as file:
        file.write(datetime.now(UTC).isoformat().encode())


def know_state_keys(
    ledger: Ledger, location: StateLocation, keyring: Keyring, *, keep: bool
) -> None:
    """A ConfigurationError when the state was begun with other keys: it is not lost, only locked.

    A key may be added, which is noted when `keep` is set, and one that no file names be taken out.
    """
    marks = {name: state_mark(name, key) for name, key in keyring.keys.items()}
    known = _noted(location, STATE_MARKS)
    if not known:
        look_at_state(ledger, location, keyring)  # one that began before keys were marked
    wrong = [
        name
        for name, mark in marks.items()
        if mark not in known and any(other.rpartition(".")[0] == name for other in known)
    ]
    if wrong or (known and known.isdisjoint(marks.values())):
        which = f"the key {wrong[0]} is not the one" if wrong else "there is none of the keys"
        raise ConfigurationError(
            f"{keyring.origin}: {which} that this state was written with; "
            "put that one back, nothing is lost"
        )
    if keep and marks[keyring.current] not in known:
        _note(location, f"{STATE_MARKS}/{marks[keyring.current]}")


def look_at_lists(project: Project, ledger: Ledger, link: Link) -> str:
    """Every list of a destination that we hold or adopt is there."""
    found = 0
    for audience, remote_id, adopted in _lists(project, ledger, link.destination):
        try:
            link.connector.statistics(remote_id)
        except RefusedError as error:
            remedy = (
                "correct its remote_id in the project file"
                if adopted
                else cure(audience, link.destination)
            )
            raise RefusedError(
                f"the list {remote_id} of {audience} cannot be read: {error}; {remedy}",
                error.status,
                error.code,
            ) from None
        found += 1
    return {0: "no list yet", 1: "1 list there"}.get(found, f"{found} lists there")


def _lists(project: Project, ledger: Ledger, destination: str) -> Iterator[tuple[str, str, bool]]:
    """Audience, remote id, and whether the project adopts it and nothing was sent there yet."""
    held = {
        remote.audience: remote
        for remote in ledger.remote_lists()
        if remote.destination == destination and remote.remote_id is not None
    }
    for audience in project.audiences.values():
        use = audience.destinations.get(destination)
        if use is not None and use.remote_id is not None:
            known = held.pop(audience.name, None)
            yield audience.name, use.remote_id, known is None or not known.manifest
    for name, remote in held.items():
        yield name, str(remote.remote_id), False
