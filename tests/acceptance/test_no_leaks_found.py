"""The search of the red team finds what leaks, however it is written and wherever it stands."""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
import logging
from collections.abc import Callable
from pathlib import Path
from urllib.parse import quote

import pytest
from redteam.ears import listening
from redteam.search import Needles
from redteam.target import KEYS, STATE_KEY, customer, values

EMAIL = "zqvx003.postlada+shop@brev-003.example"
DIGEST = hashlib.sha256(EMAIL.encode()).digest()
PHONE = customer(3)["phone"]
LEAKS: dict[str, bytes] = {
    "as it was typed": customer(3)["email"].encode(),
    "normalised": EMAIL.encode(),
    "folded as Gmail does": b"zqvx003postlada@gmail.com",
    "without its tag": b"zqvx003.postlada@brev-003.example",
    "in a URL": quote(EMAIL).encode(),
    "in JSON": json.dumps({"x": f'"{EMAIL}"'}).encode(),
    "in UTF-16": EMAIL.encode("utf-16-le"),
    "in hex": EMAIL.encode().hex().encode(),
    "within base64": base64.b64encode(f"a customer {EMAIL} was here".encode()),
    "as SHA-256": DIGEST,
    "as SHA-256 in hex": DIGEST.hex().encode(),
    "as SHA-256 in capitals": DIGEST.hex().upper().encode(),
    "as SHA-256 in base64": base64.b64encode(DIGEST),
    "as SHA-256 in base64 for URLs": base64.urlsafe_b64encode(DIGEST),
    "as SHA-256, cut": DIGEST.hex()[:16].encode(),
    "as SHA-256 that was printed": repr(DIGEST).encode(),
    "as MD5": hashlib.md5(EMAIL.encode(), usedforsecurity=False).hexdigest().encode(),
    "as a number in E.164": b"+46" + PHONE.replace(" ", "").replace("-", "")[1:].encode(),
    "as the digest of its digits": hashlib.sha256(
        b"46" + PHONE.replace(" ", "").replace("-", "")[1:].encode()
    ).digest(),
    "as the bytes of a device": bytes.fromhex(customer(3)["gaid"].replace("-", "")),
    "as a key in base64": base64.b64encode(b"key=" + STATE_KEY),
}


@pytest.fixture(scope="module")
def needles() -> Needles:
    """What the attacks look for."""
    return Needles(values(), KEYS)


@pytest.mark.parametrize("how", LEAKS)
@pytest.mark.parametrize("before", range(3))
def test_a_leak_is_found(needles: Needles, how: str, before: int) -> None:
    """In the middle of anything, wherever it begins."""
    text = b"." * (1000 + before) + LEAKS[how] + b"." * 1000
    [hit] = needles.hits("a place", text)
    assert hit.place == "a place"
    assert hit.value.endswith(" of customer 3") or hit.value == "the state key"


def test_what_is_nobodys_is_not_found(needles: Needles) -> None:
    """Random bytes, and sources of text that is ours."""
    noise = hashlib.shake_256(b"noise").digest(2_000_000)
    assert needles.hits("noise", noise) == []
    for page in (Path(__file__).parents[2] / "docs").glob("*.md"):
        assert needles.hits(page.name, page.read_bytes()) == []


def _a_log_line(_folder: Path) -> None:
    logging.getLogger("some.library").debug("sending %s", EMAIL)


def _an_exception(_folder: Path) -> None:
    try:
        try:
            {}[EMAIL]
        except KeyError:
            raise RuntimeError("nothing to see") from None
    except RuntimeError:
        logging.getLogger("audience_sync").exception("it failed")


def _an_extra(_folder: Path) -> None:
    logging.getLogger("audience_sync").info("told", extra={"digest": DIGEST.hex()})


def _a_file(folder: Path) -> None:
    (folder / "state").write_bytes(b"\0" * 77 + DIGEST)


def _the_name_of_a_file(folder: Path) -> None:
    (folder / DIGEST.hex()).touch()


def _a_file_that_goes_again(folder: Path) -> None:
    part = folder / "outbox.part"
    part.write_text(EMAIL)
    part.unlink()


def _a_file_that_is_written_anew(folder: Path) -> None:
    part = folder / "outbox.part"
    part.write_text(EMAIL)
    part.rename(folder / "outbox")
    (folder / "outbox").write_bytes(gzip.compress(b"innocent"))


@pytest.mark.parametrize(
    "leak",
    [
        _a_log_line,
        _an_exception,
        _an_extra,
        _a_file,
        _the_name_of_a_file,
        _a_file_that_goes_again,
        _a_file_that_is_written_anew,
    ],
)
def test_a_leak_is_heard(needles: Needles, tmp_path: Path, leak: Callable[[Path], None]) -> None:
    """Whatever the level, the logger and the moment; files even when they are gone at the end."""
    with listening(tmp_path) as ears:
        leak(tmp_path)
    found = needles.hits("the logs", ears.said) + needles.in_files(tmp_path)
    for name, content in ears.gone.items():
        found += needles.hits(name, content)
    assert {hit.value for hit in found} == {"email of customer 3"}
