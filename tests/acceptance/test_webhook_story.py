"""A destination behind a webhook, through the command line: it says itself who it is."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import requests
from shop import Shop, counts, expected, people, sha256

from audience_sync.sandbox.options import WEBHOOK_SECRET

Open = Callable[..., Shop]

DESTINATION = """\
destinations:
  clinic:
    connector: webhook
    base_url: {url}/webhook/clinic
    recipient_name: Partner GmbH
    recipient_country: DE
    minimum_audience: {minimum}
    identifiers: {{email: email/plain, phone: phone/digits}}
    secret: file:secrets/webhook
    members_per_request: 20
    answer: {{rejected: rejected, key: index, reason: code, accepted: accepted}}
"""


def _shop(open_shop: Open, rows: list[Any], *, minimum: int = 0, guards: str | None = None) -> Shop:
    shop: Shop = open_shop(rows)
    (shop.folder / "secrets/webhook").write_text(WEBHOOK_SECRET)

    def change(text: str) -> str:
        written = DESTINATION.format(url=shop.url, minimum=minimum)
        return text.replace("destinations:\n", written, 1)

    more = {} if guards is None else {"guards": guards}
    shop.write(destinations="[clinic]", change=change, **more)
    return shop


def _held(shop: Shop, audience: str = "everyone") -> dict[str, set[str]]:
    state = requests.get(f"{shop.url}/_control/state", timeout=10).json()
    [number] = [
        found["id"] for found in state["webhook"]["lists"] if f"-{audience}-" in found["name"]
    ]
    asked = {"partner": "webhook", "list": number}
    told = requests.get(f"{shop.url}/_control/members", params=asked, timeout=10).json()
    return {kind: set(values) for kind, values in told["identifiers"].items()}


def test_what_leaves_is_what_was_agreed(open_shop: Open) -> None:
    """Members arrive in requests of the agreed size; who withdraws is removed; silence after."""
    rows = people(50)
    shop = _shop(open_shop, rows)
    assert "HTTPS endpoint takes the credentials" in shop.must("check").out
    assert counts(shop.must("sync", "everyone", "--json"))["additions"] == 50
    assert _held(shop) == expected(rows)
    added = [entry["rows"] for entry in shop.journal("webhook") if entry["operation"] == "add"]
    assert sorted(added) == [10, 20, 20]
    rows[0] = (1, "person.1@example.com", rows[0][2], "withdrawn", "SE")
    shop.customers(rows)
    shop.must("sync", "everyone")
    assert _held(shop) == expected(rows)
    before = len(shop.journal("webhook"))
    shop.must("sync", "everyone")
    assert len(shop.journal("webhook")) == before


def test_the_log_names_who_received(open_shop: Open) -> None:
    """Not the connector but the destination knows the controller."""
    shop = _shop(open_shop, people(24))
    shop.must("sync", "everyone")
    told = json.dumps(shop.must("log", "--json").json)
    assert told.count('"recipient": "Partner GmbH"') == 4
    assert told.count('"recipient_country": "DE"') == 4
    shop.must("log", "verify")


def test_a_list_below_the_agreed_minimum_is_held(open_shop: Open) -> None:
    """The destination's own minimum guards it."""
    shop = _shop(open_shop, people(24), minimum=500, guards="{minimum_members: 1}")
    assert shop.run("sync", "everyone").code == 3
    assert "500" in shop.run("sync", "everyone").out
    assert not [entry for entry in shop.journal("webhook") if entry["operation"] == "add"]


def test_a_rejected_member_is_forgotten_and_named(open_shop: Open) -> None:
    """Who the endpoint rejects by index is not held and not sent again."""
    rows = people(24)
    shop = _shop(open_shop, rows)
    gone = expected(rows[2:4])
    bad = [sha256("person.3@example.com"), sha256("46701000004")]
    shop.fault("reject-values", partner="webhook", values=bad, times=None)
    shop.must("sync", "everyone")
    wanted = expected(rows)
    assert _held(shop) == {kind: wanted[kind] - gone[kind] for kind in wanted}
    shop.clear_faults()
    assert counts(shop.must("sync", "everyone", "--json"))["additions"] == 0


def test_a_mistake_is_told_with_its_line(open_shop: Open) -> None:
    """A form that does not exist, a template without members: file, line, key and remedy."""
    shop = _shop(open_shop, people(24))
    text = shop.project.read_text()
    shop.project.write_text(text.replace("email/plain", "email/plian"))
    told = shop.run("check")
    assert told.code == 2
    assert "identifiers" in told.out
    assert "email/gmail-folded" in told.out
    shop.project.write_text(
        text.replace("    members_per", '    body: {a: "{{list}}"}\n    members_per')
    )
    assert '"{{members}}" once' in shop.run("check").out
