"""A proof that one line stands in the transfer log, which tells nothing of the others."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from itertools import islice
from typing import Any

from audience_sync.errors import ConfigurationError
from audience_sync.ledger.bundle import columns_of
from audience_sync.ledger.chain import seal
from audience_sync.ledger.ledger import Ledger
from audience_sync.ledger.merkle import leaf, leaf_salt, path, root_by
from audience_sync.ledger.records.log import Checkpoint, Verification
from audience_sync.ledger.statements import ABOUT, STATED, is_sound, statement
from audience_sync.ledger.trail import FOREIGN
from audience_sync.signing import Signer

FORMAT = "audience-sync transfer log, proof of one line, version 1"
# Nothing signs these words, so a reader trusts them only where they are exactly ours: whoever
# changes them gives the format another version, and keeps these for files of this one.
HOW = (
    "This file proves that one line stands in a transfer log; it tells nothing of the others.",
    "`audience-sync log verify FILE` checks it on any machine, without the project.",
    "The line's hash is the SHA-256 of its JSON without `hash`: keys sorted, no spaces, UTF-8.",
    "Its leaf is the SHA-256 of a zero byte, `salt` and the hash.",
    "`path` leads from the leaf, from the bottom up, to the Merkle root (RFC 9162)",
    "that the checkpoint's signature (Ed25519) is under.",
    "Compare the public key with the one that the sender told you in another way.",
)
_KEYS = {"about", "line", "salt", "path", "checkpoint", "signature"}


def prove(ledger: Ledger, sequence: int, signer: Signer) -> dict[str, Any]:
    """The proof of a line; what is not signed yet is signed first.

    A ConfigurationError where there is no such line, or none any more.
    """
    ledger.make_checkpoints(signer)
    known = ledger.checkpoints()
    purged = known[-1].purged_through if known else 0
    found = [one for one in known if one.first <= sequence <= one.sequence]
    if not found or sequence <= purged:
        gone = f"; the lines up to {purged:,} were purged" if 0 < sequence <= purged else ""
        raise ConfigurationError(
            f"the transfer log has no line {sequence}{gone}; `audience-sync log` lists them"
        )
    return {"proof": _proof(ledger, sequence, found[0]), "how_to_verify": list(HOW)}


def _proof(ledger: Ledger, sequence: int, checkpoint: Checkpoint) -> dict[str, Any]:
    first = checkpoint.first
    [line] = islice(ledger.log_lines(after=sequence - 1, limit=1), 1)
    leaves = [
        leaf(leaf_salt(checkpoint.salt, logged.sequence), logged.hash)
        for logged in ledger.log_lines(after=first - 1, limit=checkpoint.sequence - first + 1)
    ]
    return {
        "about": FORMAT,
        "line": columns_of(line),
        "salt": leaf_salt(checkpoint.salt, sequence),
        "path": path(leaves, sequence - first),
        "checkpoint": statement(checkpoint),
        "signature": checkpoint.signature,
    }


def tells_our_words(whole: Mapping[str, Any]) -> bool:
    """Whether the file says how to verify it as we do, and nothing else beside the proof."""
    return whole.keys() == {"proof", "how_to_verify"} and whole["how_to_verify"] == list(HOW)


def verify_proof(proof: object, trusted: Collection[str] | None = None) -> Verification:
    """Whether a proof, as read from JSON, proves its line; else what is wrong with it."""
    if not isinstance(proof, dict) or proof.keys() != _KEYS or proof["about"] != FORMAT:
        return _wrong("it is not a proof of this format: something was added or taken away")
    try:
        json.dumps(proof, ensure_ascii=False).encode()  # what is no text is hashed as `?`
        finding = _finding(proof, trusted)
    except (AttributeError, KeyError, TypeError, ValueError):
        finding = "a part of it is not what we write: it was changed"
    if finding is not None:
        return _wrong(finding)
    return Verification(lines=1, signed=1, checkpoints=1, head=proof["line"]["hash"])


def _finding(proof: Mapping[str, Any], trusted: Collection[str] | None) -> str | None:
    stated = proof["checkpoint"]
    if stated.keys() != set(STATED) or stated["about"] != ABOUT:
        return "its checkpoint is not one of this format"
    if not is_sound(stated, proof["signature"]):
        return f"checkpoint {stated['number']}: its signature does not fit: it was changed"
    if trusted is not None and stated["public_key"] not in trusted:
        return f"checkpoint {stated['number']}: {FOREIGN}"
    return _astray(proof["line"], proof, stated)


def _astray(
    line: Mapping[str, Any], proof: Mapping[str, Any], stated: Mapping[str, Any]
) -> str | None:
    """Where the way from the line to its checkpoint breaks off."""
    told = f"line {line['sequence']}"
    if line["hash"] != seal(line):
        return f"{told} was changed"
    place, size = line["sequence"] - stated["first"], stated["sequence"] - stated["first"] + 1
    if not 0 <= place < size:
        return f"{told} is not among those of checkpoint {stated['number']}"
    root = root_by(leaf(proof["salt"], line["hash"]), place, size, proof["path"])
    if root != stated["merkle_root"]:
        return f"{told} does not lead to checkpoint {stated['number']}"
    return None


def _wrong(finding: str) -> Verification:
    return Verification(lines=0, finding=finding)
