"""The shop with one destination at a partner of one's choice, and what that partner holds."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import requests
from shop import PATIENCE, Shop, new_shop, people, sha256

# What makes a list from files at TikTok: no person's hash.
NOBODY = hashlib.sha256(b"audience-sync").hexdigest()
SECRETS = {
    "partner-token": "sandbox-token",
    "client-secret": "sandbox-secret",
    "refresh-token": "sandbox-refresh-token",
}


def open_abroad(folder: Path, url: str, name: str, lines: Sequence[str]) -> Shop:
    """A shop whose one audience goes to one partner only; `lines` are its settings."""
    shop = new_shop(folder / "shop", url, people(30))
    for secret, text in SECRETS.items():
        path = shop.folder / "secrets" / secret
        path.write_text(text)
        path.chmod(0o600)

    def change(text: str) -> str:
        head, _, _ = text.partition("destinations:\n")
        settings = "".join(f"    {line}\n" for line in (f"connector: {name}", *lines))
        return (
            f"{head}destinations:\n  abroad:\n{settings}"
            "audiences:\n  everyone: {destinations: [abroad]}\n"
        )

    shop.write(change=change)
    return shop


def held(shop: Shop, partner: str) -> dict[str, set[str]]:
    """What a partner holds for us, all parts of the list together; no list has a twin.

    Read as identifiers and, more strictly, as people of whom any identifier takes all away.
    """
    state = requests.get(f"{shop.url}/_control/state", timeout=PATIENCE).json()
    lists = state[partner]["lists"]
    assert len({one["name"] for one in lists}) == len(lists), "a twin of a list was made"
    found: dict[str, set[str]] = {}
    for one in lists:
        asked = {"partner": partner, "list": one["id"]}
        address = f"{shop.url}/_control/members"
        told = requests.get(address, params=asked, timeout=PATIENCE).json()
        strictly = requests.get(
            address, params=asked | {"reading": "people"}, timeout=PATIENCE
        ).json()
        assert strictly["identifiers"] == told["identifiers"]
        for kind, values in told["identifiers"].items():
            found.setdefault(kind, set()).update(values)
    return {kind: values - {NOBODY} for kind, values in found.items() if values - {NOBODY}}


def wanted(rows: Sequence[Sequence[Any]], plus: str | None) -> dict[str, set[str]]:
    """What a partner must hold for these customers, computed by hand; `plus` begins a phone.

    None where the partner takes no phones.
    """
    granted = [row for row in rows if row[3] == "granted"]
    if plus is None:
        return {"email": {sha256(row[1].strip().lower()) for row in granted}}
    phones = {
        sha256(f"{plus}46" + row[2].replace(" ", "").lstrip("0")) for row in granted if row[2]
    }
    return {"email": {sha256(row[1].strip().lower()) for row in granted}, "phone": phones}


def tell_the_story(shop: Shop, partner: str, plus: str | None, asks: Callable[[], int]) -> None:
    """First load, silence, a change, a withdrawal and a removal; each time exactly those."""
    rows: list[Any] = people(30)
    rows[4] = (5, "person.5@example.com", None, None, "SE")
    shop.customers(rows)
    shop.must("check")
    shop.must("sync")
    assert held(shop, partner) == wanted(rows, plus)

    shop.must("status", "--poll")  # what a partner answers later is asked for here, not below
    before = asks()
    silent = shop.must("sync", "--json").json
    assert [outcome["reached"] for outcome in silent["outcomes"]] == ["unchanged"]
    assert asks() == before

    rows[1] = (2, "new.address@example.com", rows[1][2], "granted", "SE")
    rows.append((99, "newcomer@example.com", "070 555 55 55", "granted", "SE"))
    shop.customers(rows)
    shop.must("sync")
    assert held(shop, partner) == wanted(rows, plus)

    rows[0] = (*rows[0][:3], "withdrawn", "SE")
    shop.customers(rows)
    ended = shop.must("sync", "--json").json["outcomes"][0]
    assert ended["run"]["delta"]["refused"] == 1
    assert held(shop, partner) == wanted(rows, plus)

    del rows[2]
    shop.customers(rows)
    shop.must("sync")
    assert held(shop, partner) == wanted(rows, plus)
    told = shop.must("status", "--poll", "--json").json["lists"]
    assert [place["members"] for place in told] == [28]
    assert shop.must("log", "verify", "--json").json["sound"] is True
