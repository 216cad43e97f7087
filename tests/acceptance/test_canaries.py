"""Values that occur nowhere else, put into every raw field and secret, are searched everywhere."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from shop import Ended, Shop, sha256

EMAIL = "canary-zq81x@example.com"
PHONE = "070 918 27 36"
CUSTOMER = "canary-customer-7731"
TOKEN = "canary-token-5512"
RAW = (
    EMAIL, "canary-zq81x", "0709182736", PHONE, "+46709182736", "46709182736", CUSTOMER, TOKEN,
)  # fmt: skip
HASHES = tuple(sha256(text) for text in (EMAIL, "46709182736", "+46709182736", CUSTOMER))


def _everything(shop: Shop, ended: list[Ended]) -> Iterator[tuple[str, bytes]]:
    """What the product wrote anywhere, by place; the source and the secrets are the user's."""
    for number, one in enumerate(ended):
        yield f"stdout {number}", one.out.encode()
        yield f"stderr {number}", one.err.encode()
    for path in (shop.folder / ".audience-sync").rglob("*"):
        if path.is_file():
            yield str(path.relative_to(shop.folder)), path.read_bytes()


def _canaries() -> Iterator[bytes]:
    for text in (*RAW, *HASHES):
        yield text.encode()
        yield text.encode("utf-16-le")
    for text in HASHES:
        yield bytes.fromhex(text)


def test_no_canary_is_found_anywhere(
    open_shop: Callable[..., Shop], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not in output, debug logs, database, state; hashes only in the partner's own request."""
    rows = [
        (CUSTOMER, EMAIL, PHONE, "granted", "SE"),
        *((f"c{n}", f"other.{n}@example.com", None, "granted", "SE") for n in range(30)),
    ]
    shop = open_shop(rows)
    (shop.folder / "secrets/meta-token").write_text(TOKEN)
    loud = {"AUDIENCE_SYNC_LOG_LEVEL": "debug", "AUDIENCE_SYNC_LOG_FORMAT": "json"}
    for name, value in loud.items():
        monkeypatch.setenv(name, value)
    ended = [shop.run("plan", "everyone", "--debug"), shop.in_process("sync", "--debug")]
    assert [one.code for one in ended] == [0, 0], ended
    assert sha256(EMAIL) in shop.held()["email"]  # the canary did travel

    shop.fault("5xx", operation="*", times=None)
    shop.fault("html", operation="*", partner="google", times=None)
    shop.sql("UPDATE customers SET consent = 'withdrawn' WHERE id LIKE 'canary%'")
    ended += [shop.run("sync", "--debug"), shop.run("check"), shop.run("status", "--poll")]
    assert ended[2].code == 1
    shop.clear_faults()
    ended += [
        shop.must("sync", "--debug"),
        shop.must("status", "--poll", "--json"),
        shop.must("log", "--json"),
        shop.must("runs", "--json"),
        shop.must("run", shop.must("runs", "--json").json["runs"][0]["id"]),
    ]
    assert sha256(EMAIL) not in shop.held()["email"]

    found = [
        (place, canary)
        for place, content in _everything(shop, ended)
        for canary in _canaries()
        if canary in content
    ]
    assert found == []
