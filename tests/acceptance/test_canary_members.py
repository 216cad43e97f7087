"""Accounts of the retailer's own are followed on and off every list, and counted apart."""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest
from shop import Shop, counts, expected, people, sha256

from audience_sync import app as app_module
from audience_sync.app import App
from audience_sync.runs.canaries import Canary

EMAIL = "canary.bird@shop.example"
SECTION = f"""
canaries:
  bird: {{email: {EMAIL}, phone: "070 999 88 77", stays: 10 days}}
"""
MARK = sha256(EMAIL)
BIRD = Canary(name="bird", values={}, country=None, stays=timedelta(days=10))


def _start(*, here: bool) -> datetime:
    """A moment one day into a turn on, or off, the list of everyone."""
    at = datetime.now(UTC)
    while True:
        turn = BIRD.turn("everyone", at)
        if turn.here is here:
            return turn.since + timedelta(days=1)
        at += timedelta(days=10)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Callable[[datetime], None]:
    """Sets the time of every command from then on."""
    time = [datetime.now(UTC)]

    made = App.open.__func__  # type: ignore[attr-defined]  # the function below the class method

    def opened(_kind: type[App], /, *arguments: object, **named: object) -> App:
        found: App = made(App, *arguments, **named)
        object.__setattr__(found, "now", lambda: time[0])
        return found

    monkeypatch.setattr(app_module.App, "open", classmethod(opened))
    return lambda now: time.__setitem__(0, now)


def _shop(open_shop: Callable[..., Shop], **more: str) -> Shop:
    return open_shop(change=lambda text: text + SECTION, destinations="[meta-se]", **more)


def test_a_canary_comes_and_goes_by_turns_and_is_counted_apart(
    open_shop: Callable[..., Shop], clock: Callable[[datetime], None]
) -> None:
    """Rows, members, drops and guards are the customers' alone; the partner holds one more."""
    shop = _shop(open_shop)
    clock(_start(here=True))
    first = shop.must("sync", "everyone", "--json")
    delta = counts(first)
    assert (delta["wanted"], delta["additions"], delta["canaries"]) == (24, 24, 1)
    [outcome] = first.json["outcomes"]
    assert outcome["run"]["funnel"]["rows_read"] == 24
    assert shop.held()["email"] == expected(people(24))["email"] | {MARK}
    assert sha256("46709998877") in shop.held()["phone"]
    shop.must("canaries")

    clock(_start(here=True) + timedelta(days=10))
    gone = counts(shop.must("sync", "everyone", "--json"))
    assert (gone["unchanged"], gone["removals"], gone["canaries"]) == (24, 0, 0)
    assert shop.held() == expected(people(24))
    shop.must("canaries")

    clock(_start(here=True) + timedelta(days=20))
    shop.must("sync", "everyone")
    assert MARK in shop.held()["email"]


def test_a_canary_that_no_sync_moves_raises_an_alert(
    open_shop: Callable[..., Shop],
    clock: Callable[[datetime], None],
    caplog: pytest.LogCaptureFixture,
) -> None:
    """`canaries` ends with 1, `status` points at it, and the log warns; none names its address."""
    shop = _shop(open_shop)
    clock(_start(here=True))
    shop.must("sync", "everyone")
    clock(_start(here=True) + timedelta(days=13))

    ended = shop.run("canaries")

    assert ended.code == 1
    assert "no sync has ended well since" in ended.out
    told = shop.run("canaries", "--json")
    assert told.code == 1
    assert told.json["alerts"] == 1
    assert "canaries did not move" in shop.must("status").out
    assert shop.must("status", "--json").json["canaries"][0]["alert"]
    with caplog.at_level(logging.WARNING), App.open(shop.project) as app:
        app.warn_of_canaries()
    assert "The canary bird on everyone at meta-se" in caplog.text
    said = ended.out + ended.err + told.out + caplog.text
    assert not any(word in said for word in (EMAIL, "canary.bird", MARK))


def test_a_canary_that_the_partner_never_took_raises_an_alert(
    open_shop: Callable[..., Shop], clock: Callable[[datetime], None]
) -> None:
    """Somebody refused by its address, so it is not sent, and that is told."""
    rows = [*people(24), (99, EMAIL, None, "denied", "SE")]
    shop = open_shop(rows, change=lambda text: text + SECTION, destinations="[meta-se]")
    clock(_start(here=True))
    shop.must("sync", "everyone")

    assert MARK not in shop.held()["email"]
    ended = shop.run("canaries")
    assert ended.code == 1
    assert "should have added it" in ended.out


def test_a_customer_with_the_same_address_is_a_customer(
    open_shop: Callable[..., Shop], clock: Callable[[datetime], None]
) -> None:
    """The sums hold, the customer stays when the canary's turn ends, and that is told."""
    rows = [*people(24), (99, EMAIL, None, "granted", "SE")]
    shop = open_shop(rows, change=lambda text: text + SECTION, destinations="[meta-se]")
    clock(_start(here=False))

    delta = counts(shop.must("sync", "everyone", "--json"))

    assert (delta["wanted"], delta["canaries"]) == (25, 0)
    assert MARK in shop.held()["email"]
    assert "still held" in shop.run("canaries").out


def test_a_canary_expires_as_members_do(
    open_shop: Callable[..., Shop], clock: Callable[[datetime], None]
) -> None:
    """It is taken off by age within its turn, and nothing is wrong with that."""

    def change(text: str) -> str:
        short = text.replace("everyone: {", "everyone: {expires_after: 3 days, ")
        return short + SECTION

    shop = open_shop(change=change, destinations="[meta-se]")
    clock(_start(here=True))
    shop.must("sync", "everyone")
    clock(_start(here=True) + timedelta(days=5))

    shop.must("sync", "everyone")

    assert shop.held() == {}
    [flight] = [f for f in shop.must("canaries", "--json").json["canaries"]
                if f["audience"] == "everyone"]  # fmt: skip
    assert flight["held"] == "taken off by age"


def test_the_project_file_is_told_what_is_wrong_with_a_canary(
    open_shop: Callable[..., Shop],
) -> None:
    """A canary that no list could hold, and two that share an identifier, are errors."""
    wrong = f"""
canaries:
  blind: {{gaid: 6f1f4a8e-6f6c-4d7b-9a1e-1f2a3b4c5d6e}}
  one: {{email: {EMAIL}}}
  two: {{email: {EMAIL}}}
"""
    shop = open_shop(change=lambda text: text + wrong)

    ended = shop.run("check")

    assert ended.code == 2
    told = " ".join(ended.out.split())
    assert "customers have: email, phone" in told
    assert "shares an identifier" in told
    assert EMAIL not in told


def test_a_list_that_cannot_be_read_is_an_alert_and_stops_nothing(
    open_shop: Callable[..., Shop], clock: Callable[[datetime], None]
) -> None:
    """`status` still answers, and each other list is still looked at."""
    shop = _shop(open_shop)
    clock(_start(here=True))
    shop.must("sync")
    for path in (shop.folder / ".audience-sync/lists/meta-se/everyone").rglob("*.sealed"):
        path.unlink()

    ended = shop.run("canaries", "--json")

    assert ended.code == 1
    told = {one["audience"]: one["alert"] for one in ended.json["canaries"]}
    assert "is missing" in told["everyone"]
    assert told["swedes"] is None
    shop.must("status")


def test_a_destination_that_stands_still_keeps_no_canary_of_others_from_sight(
    open_shop: Callable[..., Shop],
) -> None:
    """One is pointed at another account: what was synced to the other ends well all the same."""
    shop = open_shop(change=lambda text: text + SECTION)
    shop.must("sync", "everyone")
    shop.write(change=lambda text: text.replace("1234567890", "2234567890", 1) + SECTION)
    shop.must("sync", "everyone", "--destination", "google-se")
    assert "google-se" in shop.must("canaries").out
