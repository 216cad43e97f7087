"""A part of the transfer log in one file that proves itself: lines, checkpoints, public key.

JSON lines: a head that tells how to verify, each checkpoint before its lines, and a signed end.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from datetime import datetime
from typing import Any, BinaryIO

from audience_sync.errors import ConfigurationError
from audience_sync.ledger.chain import canonical
from audience_sync.ledger.ledger import Ledger
from audience_sync.ledger.records.log import Checkpoint, LoggedLine
from audience_sync.signing import Signer

FORMAT = "audience-sync transfer log, bundle, version 1"
HOW = (
    "This file holds lines of a transfer log: counts of what was sent to whom, and no person.",
    "`audience-sync log verify FILE` checks it on any machine, without the project.",
    "A line's hash is the SHA-256 of its JSON without `hash`: keys sorted, no spaces, UTF-8.",
    "Each line names the hash of the line before it.",
    "A checkpoint's Merkle root is as in RFC 9162 over the leaves of its lines.",
    "A leaf is the SHA-256 of a zero byte, the line's salt and its hash.",
    "A line's salt is HMAC-SHA-256(the checkpoint's salt, the sequence number in decimal).",
    "A checkpoint's signature (Ed25519) is under the JSON of its other fields but `salt`,",
    "written like a line's, with `about` added and `head` as HMAC-SHA-256(salt, head).",
    "The signature of the end is under `about`, a line break, and `bundle_sha256`,",
    "which is the SHA-256, in hex, of all bytes before the end's line.",
    "Compare the public key with the one that the sender told you in another way.",
)


def write_bundle(
    ledger: Ledger,
    file: BinaryIO,
    signer: Signer,
    facts: Mapping[str, str],
    since: datetime | None = None,
    until: datetime | None = None,
) -> tuple[int, int]:
    """Write the lines of a time, in whole checkpoints, and say how many lines and checkpoints.

    What is not signed yet is signed first. `facts` are told in the head, such as the controller.
    """
    ledger.make_checkpoints(signer)
    chosen = _chosen(ledger, since, until)
    digest, lines = hashlib.sha256(), 0
    for record in _records(ledger, signer, chosen, dict(facts)):
        written = canonical(record) + b"\n"
        digest.update(written)
        file.write(written)
        lines += "line" in record
    end = {"bundle_sha256": digest.hexdigest(), "public_key": signer.public_key}
    signature = signer.sign(end_message(end["bundle_sha256"]))
    file.write(canonical({"end": end | {"signature": signature}}) + b"\n")
    return lines, len(chosen)


def end_message(digest: str) -> bytes:
    """What the signature of the end is under."""
    return f"{FORMAT}\n{digest}".encode()


def columns_of(logged: LoggedLine) -> dict[str, Any]:
    """A line's columns by name, as they are hashed."""
    columns = asdict(logged)
    return {**columns.pop("line"), **columns}


def _chosen(ledger: Ledger, since: datetime | None, until: datetime | None) -> Sequence[Checkpoint]:
    known = ledger.checkpoints()
    purged = known[-1].purged_through if known else 0
    first, last = ledger.log_between(since, until)
    chosen = [
        one
        for one in known
        if one.first > purged and one.first <= one.sequence and first <= one.sequence
        if one.first <= last
    ]
    if first > last or not chosen:
        raise ConfigurationError("the transfer log has no lines of that time; nothing was written")
    return known[known.index(chosen[0]) : known.index(chosen[-1]) + 1]


def _records(
    ledger: Ledger, signer: Signer, chosen: Sequence[Checkpoint], facts: dict[str, str]
) -> Iterator[dict[str, Any]]:
    about = {"about": FORMAT, "how_to_verify": list(HOW), "public_key": signer.public_key}
    keys = sorted(signer.trusted)
    span = {"first": chosen[0].first, "last": chosen[-1].sequence, "public_keys": keys}
    yield {"bundle": {**facts, **about, **span}}
    for one in chosen:
        yield {"checkpoint": asdict(one)}
        wanted = one.sequence - one.first + 1
        for logged in ledger.log_lines(after=one.first - 1, limit=wanted):
            yield {"line": columns_of(logged)}
