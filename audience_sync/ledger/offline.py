"""Verifying a bundle or a proof with nothing but the file; no project and no database."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from audience_sync.errors import ConfigurationError
from audience_sync.ledger.bundle import FORMAT, end_message
from audience_sync.ledger.chain import canonical
from audience_sync.ledger.inclusion import tells_our_words, verify_proof
from audience_sync.ledger.records.log import Checkpoint, Verification
from audience_sync.ledger.statements import read_checkpoint
from audience_sync.ledger.trail import FOREIGN, Trail
from audience_sync.signing import is_signed

_LONGEST = 1_000_000  # bytes of one record; ours have some hundred


class _DamagedError(Exception):
    """The file is not as it was written."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """What a file proves, and the public key that it does so with; compare that yourself."""

    kind: str  # "bundle" or "proof"
    found: Verification
    public_key: str | None
    facts: Mapping[str, Any]


def verify_file(path: Path, trusted: Collection[str] | None = None) -> Evidence:
    """Look at a file that `log export` or `log prove` wrote.

    `trusted` are the public keys whose signatures count; without them, the one that the file
    names, which proves only that nobody changed it since.
    """
    try:
        with path.open("rb") as file:
            head = _parsed(file.readline(_LONGEST))
        if isinstance(head, dict) and head.keys() == {"bundle"}:
            return _bundle(path, head["bundle"], trusted)
        written = path.read_bytes() if path.stat().st_size <= _LONGEST else b""
    except OSError as error:
        raise ConfigurationError(f"{path} cannot be read: {error.strerror}") from None
    whole = _parsed(written)
    if not isinstance(whole, dict) or "proof" not in whole:
        raise ConfigurationError(
            f"{path} is neither what `log export` nor what `log prove` wrote; or it was damaged"
        )
    return _proof(whole, trusted)


def _proof(whole: dict[str, Any], trusted: Collection[str] | None) -> Evidence:
    found = verify_proof(whole["proof"], trusted)
    if found.sound and not tells_our_words(whole):
        finding = "what it says beside the proof is not what we write: it was changed"
        found = Verification(lines=0, finding=finding)
    if not found.sound:
        return Evidence(kind="proof", found=found, public_key=None, facts={})
    stated, line = whole["proof"]["checkpoint"], whole["proof"]["line"]
    facts = {"line": line, "at": stated["at"], "checkpoint": stated["number"]}
    return Evidence(kind="proof", found=found, public_key=stated["public_key"], facts=facts)


def _bundle(path: Path, head: Any, trusted: Collection[str] | None) -> Evidence:
    try:
        found = _verified(path, head, trusted)
    except _DamagedError as error:
        found = Verification(lines=0, finding=str(error))
    told = {} if not isinstance(head, dict) else head
    facts = {name: value for name, value in told.items() if name != "how_to_verify"}
    return Evidence(kind="bundle", found=found, public_key=facts.get("public_key"), facts=facts)


def _verified(path: Path, head: Any, trusted: Collection[str] | None) -> Verification:
    """First the checkpoints, then line for line, and last whether the end is the signed one."""
    if not isinstance(head, dict) or head.get("about") != FORMAT:
        raise _DamagedError("its head is not one of this format")
    checkpoints = [found for kind, found in _records(path) if kind == "checkpoint"]
    if not checkpoints:
        raise _DamagedError("it holds no checkpoint")
    known = head.get("public_keys")
    if not isinstance(known, list):
        raise _DamagedError("its head names no public key")
    trail = Trail(checkpoints, known, part=True)
    found = trail.fault() or _lines(path, trail)
    # The head, and with it earlier keys, is under the signature of the end.
    ended = _end(path, known if trusted is None else trusted) if found.sound else None
    return found if ended is None else replace(found, finding=ended, head=None)


def _lines(path: Path, trail: Trail) -> Verification:
    chain = trail.chain()
    for kind, record in _records(path):
        if kind != "line":
            continue
        found = chain.take(record)
        if found is not None:
            return found
        finding = trail.see(chain.last, str(chain.hash))
        if finding is not None:
            return chain.broken(chain.last, finding)
    finding = trail.end(chain.last)
    if chain.last > trail.signed:
        finding = f"line {trail.signed + 1} was inserted after the last checkpoint"
    if finding is not None:
        return chain.broken(chain.last + 1, finding)
    sound = Verification(lines=chain.lines, head=chain.hash)
    return replace(trail.told(sound), purged=0)


def _records(path: Path) -> Iterator[tuple[str, Any]]:
    """Kind and content of each record between the head and the end."""
    with path.open("rb") as file:
        for number, written in enumerate(iter(lambda: file.readline(_LONGEST), b""), start=1):
            record = _parsed(written)
            if not isinstance(record, dict) or len(record) != 1:
                raise _DamagedError(f"its line {number} is not what we write")
            [(kind, content)] = record.items()
            if kind in ("bundle", "end"):
                continue
            yield kind, _content(kind, content, number)


def _content(kind: str, content: object, number: int) -> dict[str, Any] | Checkpoint:
    if kind == "line" and isinstance(content, dict):
        return content
    checkpoint = read_checkpoint(content) if kind == "checkpoint" else None
    if checkpoint is None:
        raise _DamagedError(f"its line {number} is not what we write")
    return checkpoint


def _end(path: Path, known: Collection[str]) -> str | None:
    """What is wrong with the end: each byte before it is under its signature."""
    digest, last = hashlib.sha256(), b""
    with path.open("rb") as file:
        for written in iter(lambda: file.readline(_LONGEST), b""):
            digest.update(last)
            last = written
    end = _parsed(last)
    signed = end.get("end") if isinstance(end, dict) else None
    if not isinstance(signed, dict) or canonical({"end": signed}) + b"\n" != last:
        return "its end is missing: cut off"
    if signed.get("bundle_sha256") != digest.hexdigest():
        return "its bytes are not those that were signed at its end"
    key, signature = str(signed.get("public_key")), str(signed.get("signature"))
    if not is_signed(end_message(digest.hexdigest()), signature, key):
        return "the signature of its end does not fit: it was changed"
    if key not in known or signed.keys() != {"bundle_sha256", "public_key", "signature"}:
        return f"its end: {FOREIGN}"
    return None


def _parsed(written: bytes) -> Any:
    try:
        return json.loads(written, object_pairs_hook=_once)
    except (ValueError, RecursionError):
        return None


def _once(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    """Of a key that is written twice, one value would be shown and the other one proved."""
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key is written twice")
    return found
