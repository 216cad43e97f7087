"""Partners that fail in every way: clear words, and nothing lost or doubled."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from shop import Shop, expected, people

from audience_sync.delivery.retries import ATTEMPTS
from connectors.meta import MetaConnector

DEAD = "http://127.0.0.1:9"  # nobody listens at the discard port


def test_a_dead_partner_does_not_stop_the_other(open_shop: Callable[..., Shop]) -> None:
    """Exit 4: one is delivered, the other is told in a sentence and goes on later."""
    rows = people(15)
    shop = open_shop(rows, meta=DEAD)
    ended = shop.run("sync", "everyone")
    assert ended.code == 4
    assert "Traceback" not in ended.out + ended.err
    assert "audience-sync resume r" in ended.out
    assert shop.held() == {}
    assert len(shop.held(partner="google")["email"]) == 15

    check = shop.run("check")
    assert check.code == 1
    assert "✗  destination meta-se" in check.out

    shop.write()
    shop.must("sync", "everyone")
    assert shop.held() == expected(rows)


def test_a_broken_connector_does_not_stop_the_others(
    open_shop: Callable[..., Shop], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A plugin may raise anything; its text is not shown, and the other partner is served."""
    rows = people(15)
    shop = open_shop(rows)

    def broken(*_arguments: object) -> None:
        raise KeyError("person.1@example.com")

    with monkeypatch.context() as patch:
        patch.setattr(MetaConnector, "add", broken)
        ended = shop.run("sync", "everyone")
    assert ended.code == 4
    assert "KeyError" in ended.out
    assert "person.1@" not in ended.out + ended.err
    assert len(shop.held(partner="google")["email"]) == 15
    shop.must("sync", "everyone")
    assert shop.held() == expected(rows)


def test_only_a_dead_partner_is_a_failure(open_shop: Callable[..., Shop]) -> None:
    """Exit 1 where nothing at all was done."""
    shop = open_shop(meta=DEAD, destinations="[meta-se]")
    assert shop.run("sync", "everyone").code == 1


@pytest.mark.parametrize("kind", ["rate-limit", "5xx", "html", "half-json", "huge", "empty"])
def test_a_passing_trouble_is_tried_again(open_shop: Callable[..., Shop], kind: str) -> None:
    """Twice wrong and then right: the membership is as if nothing had happened."""
    rows = people(15)
    shop = open_shop(rows, destinations="[meta-se]")
    more = {"minutes": 0} if kind == "rate-limit" else {}
    shop.fault(kind, times=2, **more)
    ended = shop.run("sync", "everyone")
    if ended.code:  # not every kind is repeated within a call; then the next sync goes on
        assert "Traceback" not in ended.out + ended.err
        shop.clear_faults()
        shop.must("sync", "everyone")
    assert shop.held() == expected(rows)
    assert shop.must("log", "verify").code == 0


@pytest.mark.parametrize("kind", ["5xx", "html", "half-json", "huge", "empty", "drop"])
def test_a_lasting_trouble_is_told_and_gone_on_from(
    open_shop: Callable[..., Shop], kind: str
) -> None:
    """A sentence and exit 1; after the trouble the next sync ends in the right membership."""
    rows = people(15)
    shop = open_shop(rows, destinations="[meta-se]")
    shop.fault(kind, times=None)
    ended = shop.run("sync", "everyone")
    assert ended.code == 1
    assert "Traceback" not in ended.out + ended.err
    assert len(shop.journal("meta")) < 4 * ATTEMPTS
    shop.clear_faults()
    shop.must("sync", "everyone")
    assert shop.held() == expected(rows)


@pytest.mark.parametrize("then", ["5xx", "drop"])
def test_a_failure_after_the_change_is_sent_again_and_seen(
    open_shop: Callable[..., Shop], then: str
) -> None:
    """We cannot know that it was done: it is done again, and the log has both attempts."""
    rows = people(15)
    shop = open_shop(rows, destinations="[meta-se]")
    shop.fault("fail-after-change", then=then, times=None)
    assert shop.run("sync", "everyone").code == 1
    shop.clear_faults()
    shop.must("sync", "everyone")
    assert shop.held() == expected(rows)
    events = [entry["line"]["event"] for entry in shop.must("log", "--json").json["lines"]]
    assert events == ["intent", "outcome", "intent", "outcome"]


def test_expired_credentials_say_so(open_shop: Callable[..., Shop]) -> None:
    """The operator learns that the credentials are the trouble; later the run goes on."""
    rows = people(15)
    shop = open_shop(rows, destinations="[meta-se]")
    shop.fault("expired-token", times=None)
    ended = shop.run("sync", "everyone", "--json")
    assert ended.code == 1
    [outcome] = ended.json["outcomes"]
    assert "token" in outcome["error"] or "credentials" in outcome["error"]
    shop.clear_faults()
    resumed = shop.must("resume", outcome["run"]["id"], "--json").json["outcomes"][0]
    assert resumed["run"]["state"] == "confirmed"
    assert shop.held() == expected(rows)


def test_members_that_a_partner_names_are_not_sent_again(open_shop: Callable[..., Shop]) -> None:
    """Named as unusable, counted as rejected, dropped; the next sync is silent about them."""
    rows = people(15)
    shop = open_shop(rows, destinations="[meta-se]")
    shop.fault("reject-values", count=2)
    shop.must("sync", "everyone")
    lines = [entry["line"] for entry in shop.must("log", "--json").json["lines"]]
    assert [line["rejected"] for line in lines if line["event"] == "outcome"] == [2]
    before = len(shop.journal())
    again = shop.must("sync", "everyone", "--json").json["outcomes"][0]["run"]
    assert again["funnel"]["suppressed"] == 2
    assert shop.journal()[before:] == []


def test_a_final_failure_is_sent_again(open_shop: Callable[..., Shop]) -> None:
    """Google took it, and failed it later: the members are not believed to be there."""
    shop = open_shop(destinations="[google-se]")
    shop.fault("final-failure", partner="google")
    first = shop.run("sync", "everyone")  # 1 where the partner says so before the command ends
    assert first.code in (0, 1), first
    shop.run("status", "--poll")
    again = shop.must("sync", "everyone", "--json").json["outcomes"][0]["run"]
    assert again["delta"]["additions"] == 24
