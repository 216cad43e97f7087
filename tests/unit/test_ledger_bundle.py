"""A bundle and a proof prove themselves on any machine; whatever is changed in them is found."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from contextlib import suppress
from copy import deepcopy
from datetime import timedelta
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from ledger_contract.builders import NOON, Clock, full_line, line

from audience_sync.errors import ConfigurationError
from audience_sync.ledger.bundle import end_message, write_bundle
from audience_sync.ledger.chain import canonical
from audience_sync.ledger.inclusion import FORMAT, HOW, prove
from audience_sync.ledger.ledger import Ledger
from audience_sync.ledger.offline import Evidence, verify_file
from audience_sync.signing import Signer

OURS = Signer(b"\x01" * 32)
THEIRS = Signer(b"\x02" * 32)
FACTS = {"project": "corner-shop", "controller": "Corner Shop AB"}
SIGNED = (2, 3, 4)  # lines under each checkpoint, a minute between them
LINES = sum(SIGNED)

Records = list[dict[str, Any]]


@pytest.fixture(scope="module")
def _filled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("log") / "ledger.db"
    clock = Clock()
    with Ledger.open(f"sqlite:///{path}", clock=clock) as ledger:
        for lines in SIGNED:
            ledger.record([full_line(batch=number) for number in range(lines)])
            ledger.make_checkpoints(OURS)
            clock.move(60)
    return path


@pytest.fixture
def ledger(_filled: Path, tmp_path: Path) -> Iterator[Ledger]:
    path = shutil.copy(_filled, tmp_path / "ledger.db")
    with Ledger.open(f"sqlite:///{path}") as ledger:
        yield ledger


@pytest.fixture
def bundle(ledger: Ledger, tmp_path: Path) -> Path:
    path = tmp_path / "bundle.jsonl"
    with path.open("wb") as file:
        assert write_bundle(ledger, file, OURS, FACTS) == (LINES, len(SIGNED))
    return path


def records(path: Path) -> Records:
    return [json.loads(written) for written in path.read_text().splitlines()]


def rewrite(path: Path, changed: Records, signer: Signer | None = None) -> Evidence:
    """Write the records, with an end that is right again where somebody signs it."""
    body = b"".join(canonical(record) + b"\n" for record in changed)
    if signer is not None:
        import hashlib  # noqa: PLC0415 - only here

        digest = hashlib.sha256(body).hexdigest()
        signature = signer.sign(end_message(digest))
        end = {"bundle_sha256": digest, "public_key": signer.public_key, "signature": signature}
        body += canonical({"end": end}) + b"\n"
    path.write_bytes(body)
    return verify_file(path, OURS.trusted)


def other(value: Any) -> Any:
    """Another value of the same kind."""
    if isinstance(value, bool):
        return not value
    if isinstance(value, int):
        return value + 1
    if isinstance(value, list):
        return [*value, "more"]
    if value is None:
        return "something"
    return ("b" if value[:1] == "a" else "a") + value[1:]


def test_a_bundle_is_sound_without_any_project(bundle: Path) -> None:
    """It tells how to verify it, whose it is, and which key signed."""
    evidence = verify_file(bundle)
    assert evidence.found.sound, evidence
    assert (evidence.found.lines, evidence.found.checkpoints) == (LINES, len(SIGNED))
    assert evidence.public_key == OURS.public_key
    assert evidence.facts["controller"] == "Corner Shop AB"
    assert "how_to_verify" in records(bundle)[0]["bundle"]


def test_a_bundle_of_a_time_holds_whole_checkpoints(ledger: Ledger, tmp_path: Path) -> None:
    """From the checkpoint of the first line of that time to the one of the last."""
    path = tmp_path / "part.jsonl"
    since, until = NOON + timedelta(seconds=30), NOON + timedelta(seconds=90)
    with path.open("wb") as file:
        assert write_bundle(ledger, file, OURS, FACTS, since, until) == (3, 1)
    found = verify_file(path, OURS.trusted).found
    assert (found.sound, found.lines) == (True, 3)
    assert [r["line"]["sequence"] for r in records(path) if "line" in r] == [3, 4, 5]
    with path.open("wb") as file, pytest.raises(ConfigurationError, match="no lines of that time"):
        write_bundle(ledger, file, OURS, FACTS, NOON + timedelta(days=1), None)


def test_what_was_purged_is_no_longer_exported(ledger: Ledger, tmp_path: Path) -> None:
    """The rest is, and is sound."""
    ledger.purge_log(OURS, 2)
    path = tmp_path / "rest.jsonl"
    with path.open("wb") as file:
        write_bundle(ledger, file, OURS, FACTS)
    found = verify_file(path, OURS.trusted).found
    assert (found.sound, found.lines) == (True, LINES - 2)


def test_every_changed_field_is_found(bundle: Path) -> None:
    """Each field of each record, whoever changed it and did not have the key."""
    whole = records(bundle)
    checked = 0
    for place, record in enumerate(whole):
        [(kind, content)] = record.items()
        for name, value in content.items():
            changed = deepcopy(whole)
            changed[place][kind][name] = other(value)
            evidence = rewrite(bundle, changed)
            assert not evidence.found.sound, (kind, name)
            without = deepcopy(whole)
            del without[place][kind][name]
            assert not rewrite(bundle, without).found.sound, (kind, name)
            checked += 1
    assert checked > LINES * 20


def test_a_changed_line_or_checkpoint_is_named(bundle: Path) -> None:
    """Even where the end was signed again with our own key."""
    whole = records(bundle)[:-1]
    for place, record in enumerate(whole[1:], start=1):
        [(kind, content)] = record.items()
        changed = deepcopy(whole)
        if kind == "line":
            changed[place][kind]["accepted"] += 1
            finding = f"line {content['sequence']} was changed"
        else:
            changed[place][kind]["merkle_root"] = "ab" * 32
            finding = f"checkpoint {content['number']}: "
        assert finding in str(rewrite(bundle, changed, OURS).found.finding)


@pytest.mark.parametrize("signed", [False, True])
def test_every_deletion_insertion_and_exchange_is_found(bundle: Path, signed: bool) -> None:
    """Of lines and of checkpoints, even where the end was signed again with our own key."""
    whole = records(bundle)
    kept = whole[:-1] if signed else whole
    signer = OURS if signed else None
    for place in range(1, len(whole) - 1):
        less = kept[:place] + kept[place + 1 :]
        more = [*kept[:place], kept[place], *kept[place:]]
        assert not rewrite(bundle, less, signer).found.sound, ("deleted", place)
        assert not rewrite(bundle, more, signer).found.sound, ("doubled", place)
        if place + 1 < len(whole) - 1 and {*kept[place]} == {*kept[place + 1]} == {"line"}:
            swapped = [*kept[:place], kept[place + 1], kept[place], *kept[place + 2 :]]
            assert not rewrite(bundle, swapped, signer).found.sound, ("exchanged", place)


def test_every_truncation_is_found(bundle: Path) -> None:
    """Anywhere: between records, and within the last of them."""
    whole = bundle.read_bytes()
    ends = [at for at in range(1, len(whole)) if whole[at - 1 : at] == b"\n"]
    last = range(ends[-1] + 1, len(whole))
    for at in (*ends, *last):
        bundle.write_bytes(whole[:at])
        assert not verify_file(bundle, OURS.trusted).found.sound, at


def test_added_spaces_and_twice_written_keys_are_found(bundle: Path) -> None:
    """Every byte is under the signature of the end."""
    whole = bundle.read_text()
    for old, new in (('{"line":', '{"line": '), ('"sent":', '"sent":1,"sent":'), ("\n", "\n\n")):
        bundle.write_text(whole.replace(old, new, 1))
        assert not verify_file(bundle, OURS.trusted).found.sound, new


def test_exchanged_signatures_are_found(bundle: Path) -> None:
    """A signature is under one checkpoint only."""
    whole = records(bundle)[:-1]
    first, second = [r["checkpoint"] for r in whole if "checkpoint" in r][:2]
    first["signature"], second["signature"] = second["signature"], first["signature"]
    assert "checkpoint 1: " in str(rewrite(bundle, whole, OURS).found.finding)


def test_a_bundle_signed_with_a_foreign_key_is_found(ledger: Ledger, bundle: Path) -> None:
    """The end with another key; or all of it, which only who knows our public key can tell."""
    whole = records(bundle)[:-1]
    assert "not this project's" in str(rewrite(bundle, whole, THEIRS).found.finding)
    whole[0]["bundle"]["public_keys"].append(THEIRS.public_key)
    assert "not this project's" in str(rewrite(bundle, whole, THEIRS).found.finding)


def test_a_key_that_was_changed_still_proves_its_own_time(ledger: Ledger, tmp_path: Path) -> None:
    """Who knows the new public key may trust the earlier ones that it vouches for."""
    newer = Signer(b"\x03" * 32, (b"\x01" * 32,))
    ledger.record([line()])
    path = tmp_path / "newer.jsonl"
    with path.open("wb") as file:
        write_bundle(ledger, file, newer, FACTS)
    assert verify_file(path, {newer.public_key}).found.sound
    assert ledger.verify_log(newer.trusted).sound


@pytest.mark.parametrize("sequence", range(1, LINES + 1))
def test_a_proof_is_sound_and_tells_nothing_of_other_lines(
    ledger: Ledger, tmp_path: Path, sequence: int
) -> None:
    """No hash, no salt of another line is in it, but of the one before, which is no secret."""
    proof = prove(ledger, sequence, OURS)
    path = tmp_path / "proof.json"
    path.write_text(json.dumps(proof, default=str))
    written = canonical(proof).decode()
    path.write_text(written)
    evidence = verify_file(path, OURS.trusted)
    assert evidence.found.sound, evidence
    assert evidence.facts["line"]["sequence"] == sequence
    others = [logged for logged in ledger.log_lines() if logged.sequence != sequence]
    for logged in others:
        assert logged.hash not in written or logged.sequence == sequence - 1
    assert all(checkpoint.salt not in written for checkpoint in ledger.checkpoints())


def _leaves(value: Any, way: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    if isinstance(value, dict):
        for name, inner in value.items():
            yield from _leaves(inner, (*way, name))
    elif isinstance(value, list):
        for number, inner in enumerate(value):
            yield from _leaves(inner, (*way, number))
    else:
        yield way


def _changed(whole: Any, way: tuple[Any, ...], change: Callable[[Any], Any]) -> Any:
    copy = deepcopy(whole)
    at = copy
    for step in way[:-1]:
        at = at[step]
    at[way[-1]] = change(at[way[-1]])
    return copy


def test_every_change_to_a_proof_is_found(ledger: Ledger, tmp_path: Path) -> None:
    """Each field of line, path, salt, checkpoint and signature, and the words beside them."""
    whole = json.loads(canonical(prove(ledger, 7, OURS)))
    path = tmp_path / "proof.json"

    def sound(document: Any) -> bool:
        path.write_text(json.dumps(document))
        return verify_file(path, OURS.trusted).found.sound

    assert sound(whole)
    ways = list(_leaves(whole))
    assert len(ways) > 40
    for way in ways:
        assert not sound(_changed(whole, way, other)), way
    for name in whole["proof"]:
        assert not sound({**whole, "proof": {k: v for k, v in whole["proof"].items() if k != name}})
    words = whole["how_to_verify"]
    for changed in (
        [*words, "Send money first."],
        words[:-1],
        words[::-1],
        [],
        None,
        "".join(words),
    ):
        assert not sound({**whole, "how_to_verify": changed})
    assert not sound({**whole, "more": 1})
    assert not sound({**whole, "proof": {**whole["proof"], "more": 1}})


def test_the_words_of_a_proof_belong_to_the_version_of_its_format() -> None:
    """Whoever changes them gives the format a new version, or files written before would fail."""
    words = sha256("\n".join(HOW).encode()).hexdigest()[:8]
    assert {words: FORMAT} == {
        "8b91180d": "audience-sync transfer log, proof of one line, version 1"
    }


@pytest.mark.parametrize("instead", [[], {}, None, "text", 7, -1, 0.5, [1], [None] * 4])
def test_a_part_of_another_kind_is_found(ledger: Ledger, tmp_path: Path, instead: Any) -> None:
    """A sentence, whatever stands in the place of a part."""
    whole = json.loads(canonical(prove(ledger, 7, OURS)))
    path = tmp_path / "proof.json"
    for name in whole["proof"]:
        path.write_text(json.dumps({**whole, "proof": {**whole["proof"], name: instead}}))
        found = verify_file(path, OURS.trusted).found
        assert not found.sound, name
        assert found.finding


def test_a_proof_that_shows_one_thing_and_proves_another_is_found(
    ledger: Ledger, tmp_path: Path
) -> None:
    """A key that is written twice, and a sign that no file of ours holds."""
    ledger.record([line(note="why?")])
    written = canonical(prove(ledger, LINES + 1, OURS)).decode()
    path = tmp_path / "proof.json"
    path.write_text(written)
    assert verify_file(path, OURS.trusted).found.sound
    for changed in (
        written.replace('"note":', '"note":"what nobody signed","note":', 1),
        written.replace("why?", "why\\ud800"),
    ):
        assert changed != written
        path.write_text(changed)
        with suppress(ConfigurationError):
            assert not verify_file(path, OURS.trusted).found.sound


def test_a_proof_by_a_foreign_key_is_found(ledger: Ledger, tmp_path: Path) -> None:
    """A line that they made up and signed themselves is none of ours."""
    ledger.record([line()])
    path = tmp_path / "proof.json"
    path.write_bytes(canonical(prove(ledger, LINES + 1, THEIRS)))
    assert verify_file(path).found.sound
    assert "not this project's" in str(verify_file(path, OURS.trusted).found.finding)


def test_what_is_not_there_is_not_proved(ledger: Ledger) -> None:
    """Never written, or purged; each is told apart."""
    with pytest.raises(ConfigurationError, match="no line 99;"):
        prove(ledger, 99, OURS)
    ledger.purge_log(OURS, 2)
    with pytest.raises(ConfigurationError, match="lines up to 2 were purged"):
        prove(ledger, 1, OURS)


@pytest.mark.parametrize("text", ["", "[]", "{}", "nonsense", '{"proof": 7}', "[" * 5_000])
def test_another_file_is_refused_or_not_sound(tmp_path: Path, text: str) -> None:
    """A sentence, whatever the file holds."""
    path = tmp_path / "file"
    path.write_text(text)
    try:
        assert not verify_file(path).found.sound
    except ConfigurationError as error:
        assert "neither what" in str(error)  # noqa: PT017 - both ends are right
