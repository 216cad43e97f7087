"""Orders from the shop to a simulated affiliate network and back, by the command line."""

from __future__ import annotations

import hmac
import logging
import time
from pathlib import Path

import pytest
from order_shop import OrderShop, order_line
from shop import PATIENCE

from audience_sync.runs.orders.guard import FEW
from audience_sync.sandbox import RunningSandbox
from audience_sync.sandbox.rakuten.files import running_files

CUSTOMERS = [
    (1, "anna@example.com", "070 1234567", "granted"),
    (2, "bo@example.com", None, "granted"),
    (3, "cecilia@example.com", None, "denied"),
    (4, "d@example.com", None, "granted"),
]
LINES = [
    order_line("100045", 1, "SKU1", "49.99"),
    order_line("100045", 1, "SKU2", "15.98", quantity=2),
    order_line("100046", 2, "SKU2", "1500", currency="JPY", kind="new"),
    order_line("100047", 3, "SKU3", "20.00"),
    order_line("100048", 4, "SKU3", "20.00", click=None),
    order_line("100049", 99, "SKU3", "20.00"),
    order_line("100050", 4, "SKU3", "20,00"),
    order_line("100051", 4, "SKU3", "20.00", at="2020-01-01"),
]
REPORTED = [
    "100045|SKU1|1|4999|USD",
    "100045|SKU2|2|1598|USD",
    "100046|SKU2|2|1500|JPY".replace("|2|", "|1|"),
]


@pytest.fixture
def shop(tmp_path: Path, sandbox: RunningSandbox) -> OrderShop:
    """Four customers, one of whom refused, and their orders."""
    made = OrderShop(tmp_path, sandbox.url)
    made.write()
    made.customers(CUSTOMERS)
    made.orders(*LINES)
    return made


def test_orders_of_consenting_customers_are_reported_once(shop: OrderShop) -> None:
    """With a keyed reference instead of an identifier; the funnel adds up; again is silent."""
    run = shop.synced()
    assert shop.counted() == REPORTED
    assert run["state"] == "confirmed"
    assert run["funnel"] == {
        "rows_read": 8,
        "unreadable": 1,
        "too_old": 1,
        "incomplete": 1,
        "not_shareable": 2,
        "awaiting_answer": 0,
        "refused_before": 0,
        "merged": 0,
        "unchanged": 0,
        "order_lines": 3,
    }
    assert (run["delta"]["additions"], run["delta"]["held"]) == (2, 0)
    references = shop.counted("people")
    assert len(references) == 2
    plain = {hmac.digest(b"", b"1", "sha256").hex()[:32], "1", "anna@example.com"}
    assert not plain & set(references)

    calls = len(shop.calls())
    again = shop.synced()
    assert (again["reason"], again["funnel"]["unchanged"]) == ("nothing changed", 3)
    assert len(shop.calls()) == calls == 2
    assert shop.must("orders", "--json").json["destinations"] == [
        {"destination": "rakuten-se", "reported": 2, "unknown": {}}
    ]


def test_every_request_stands_in_the_log_before_it_is_sent(shop: OrderShop) -> None:
    """Counts alone: neither an order's number nor a digest that one could be guessed from."""
    shop.synced()
    lines = shop.log()
    assert [line["event"] for line in lines].count("intent") == 2
    assert [line["accepted"] for line in lines if line["event"] == "outcome"] == [1, 1]
    assert {line["forms"] for line in lines} == {"customer=keyed-reference@1"}
    assert {line["body_sha256"] for line in lines} == {None}
    assert "10004" not in str(lines)
    assert shop.must("log", "verify").code == 0


def test_corrections_and_cancellations_travel_as_differences(shop: OrderShop) -> None:
    """A smaller quantity, a returned line, a whole order; each once."""
    shop.synced()
    shop.sql("UPDATE order_lines SET quantity = 1, total = '7.99' WHERE article = 'SKU2'")
    shop.sql("UPDATE order_lines SET status = 'Returned' WHERE article = 'SKU1'")
    shop.sql("UPDATE order_lines SET status = 'cancelled' WHERE number = '100046'")
    run = shop.synced()
    delta = run["delta"]
    assert (delta["additions"], delta["changed"], delta["removals"]) == (0, 1, 1)
    assert shop.counted() == ["100045|SKU2|1|799|USD"]
    assert shop.synced()["reason"] == "nothing changed"
    assert shop.must("orders", "--json").json["destinations"][0]["reported"] == 1


def test_after_a_withdrawal_only_what_takes_back_travels(shop: OrderShop) -> None:
    """No new order and no larger one of a person who withdrew, but a cancellation still does."""
    shop.synced()
    shop.sql("UPDATE customers SET consent = 'withdrawn' WHERE id = 1")
    before = [*LINES[:2], order_line("100060", 1, "SKU9", "5.00")]
    shop.orders(*before, order_line("100045", 1, "SKU8", "9.00"))
    assert shop.synced()["reason"] == "nothing changed"
    known = set(shop.counted("people"))

    shop.sql("UPDATE order_lines SET status = 'cancelled' WHERE article = 'SKU1'")
    shop.sql("UPDATE order_lines SET total = '99.00' WHERE article = 'SKU2'")
    assert shop.synced()["delta"]["changed"] == 1
    assert shop.counted() == ["100045|SKU2|2|1598|USD", "100046|SKU2|1|1500|JPY"]
    assert set(shop.counted("people")) == known


def test_a_refusal_counts_for_every_account_of_the_person(shop: OrderShop) -> None:
    """Another account with the same e-mail is the same person (L2)."""
    shop.customers([*CUSTOMERS, (5, " ANNA@example.com", None, "objected")])
    run = shop.synced()
    assert run["funnel"]["not_shareable"] == 4
    assert shop.counted() == [REPORTED[2]]


def test_an_answer_that_was_never_seen_counts_nothing_twice(shop: OrderShop) -> None:
    """The order was taken and the line broke: unknown, not sent again, settled by a person."""
    shop.fault("fail-after-change", then="drop", times=1)
    assert shop.run("sync", "orders").code == 1
    ended = shop.must("sync", "orders")
    assert "wait for an answer" in ended.out
    assert shop.counted() == REPORTED
    assert len(shop.calls()) == 2
    [waiting] = shop.must("orders", "--json").json["destinations"]
    [(run, orders)] = waiting["unknown"].items()
    assert (waiting["reported"], orders) == (1, 1)
    assert "10004" not in ended.out + ended.err

    assert shop.synced()["funnel"]["awaiting_answer"] in (1, 2)
    assert shop.must("orders", "arrived", run).out.startswith("1 orders count as reported")
    assert shop.synced()["reason"] == "nothing changed"
    assert shop.counted() == REPORTED
    assert [line["actor"] for line in shop.log() if line["actor"]]
    assert shop.run("orders", "arrived", run).code == 2


def test_what_was_lost_is_reported_again(shop: OrderShop) -> None:
    """A person found that the partner never had it."""
    shop.fault("drop", times=1)
    assert shop.run("sync", "orders").code == 1
    shop.must("sync", "orders")
    [(run, _)] = shop.must("orders", "--json").json["destinations"][0]["unknown"].items()
    shop.must("orders", "lost", run)
    shop.synced()
    assert shop.counted() == REPORTED


def test_a_partner_that_cannot_answer_now_is_asked_again(shop: OrderShop) -> None:
    """A refusal for now surely took nothing."""
    shop.fault("rate-limit")
    assert shop.run("sync", "orders").code == 1
    interrupted = shop.must("runs", "--json").json["runs"][0]
    assert interrupted["state"] == "delivering"
    shop.must("resume", interrupted["id"])
    assert shop.counted() == REPORTED


def test_a_merchant_that_is_not_enabled_is_told(shop: OrderShop) -> None:
    """The run fails with what to do, and everything is reported once it is enabled."""
    shop.control("terms", partner="rakuten", account="37978", accepted=False)
    ended = shop.run("sync", "orders")
    assert ended.code == 1
    assert "ask your account manager" in ended.out
    assert shop.counted() == []
    shop.control("terms", partner="rakuten", account="37978", accepted=True)
    shop.synced()
    assert shop.counted() == REPORTED


def test_a_rejected_order_waits_for_its_correction(shop: OrderShop) -> None:
    """Not sent again unchanged; sent once something of it has changed."""
    shop.orders(order_line("100046", 2, "SKU2", "15.00"))
    shop.fault("reject-values", count=1, times=1)
    told = shop.must("sync", "orders").out
    assert "the partner rejected 1 orders; correct them in the source" in told
    assert shop.synced()["funnel"]["refused_before"] == 1
    shop.sql("UPDATE order_lines SET title = 'A better title'")
    shop.synced()
    assert shop.counted() == ["100046|SKU2|1|1500|USD"]


def test_a_line_that_is_merely_gone_is_told(shop: OrderShop) -> None:
    """With other news and without any: nobody takes it back."""
    first, second = (order_line("100046", 2, sku, "15.00") for sku in ("SKU2", "SKU3"))
    shop.orders(first, second)
    shop.synced()
    shop.sql("DELETE FROM order_lines WHERE article = 'SKU3'")
    for _ in range(2):
        told = shop.must("sync", "orders").out
        assert "1 reported lines are no longer in the source" in told
    assert len(shop.counted()) == 2


def test_many_cancellations_at_once_wait_for_a_person(shop: OrderShop) -> None:
    """A guard holds the report; `approve` sends the very outbox that was shown."""
    shop.orders(*(order_line(f"9{number:03}", 1, "SKU1", "5.00") for number in range(FEW + 1)))
    shop.synced()
    shop.write(guards="{maximum_removals: 30%}")
    shop.sql("UPDATE order_lines SET status = 'cancelled' WHERE number <> '9000'")
    assert shop.synced()["delta"]["removals"] == FEW
    shop.sql("UPDATE order_lines SET status = 'paid'")
    shop.synced()
    shop.sql("UPDATE order_lines SET status = 'cancelled'")
    held = shop.run("sync", "orders", "--json")
    assert held.code == 3
    run = held.json["outcomes"][0]["run"]
    assert "21 of 21 reported orders (100.0%)" in run["reason"]
    assert len(shop.counted()) == FEW + 1
    shop.must("approve", run["id"])
    assert shop.counted() == []


def test_commands_treat_orders_like_any_list(shop: OrderShop) -> None:
    """Plan, dry run, status, runs and check."""
    planned = shop.must("plan", "orders")
    assert "not shareable" in planned.out
    assert shop.must("sync", "--dry-run", "orders").code == 0
    assert shop.calls() == []
    assert shop.must("sync").code == 0
    [place] = shop.must("status", "--json").json["lists"]
    assert (place["audience"], place["destination"], place["members"]) == (
        "orders",
        "rakuten-se",
        2,
    )
    assert "orders, rakuten-se" in shop.must("runs").out
    assert "1 of the first 8 lines cannot be read" in shop.must("check").out
    assert "100045" not in planned.out


def test_no_order_reaches_a_log(shop: OrderShop, caplog: pytest.LogCaptureFixture) -> None:
    """Not even where everything is logged and the partner answers rubbish."""
    caplog.set_level(logging.DEBUG)
    shop.fault("html", times=1, status=200)
    ended = shop.run("--debug", "sync", "orders")
    said = ended.out + ended.err + caplog.text
    assert not [word for word in ("10004", "SKU1", "SKU2", "abcDEF") if word in said]


def test_a_killed_report_is_visible_and_counts_nothing_twice(shop: OrderShop) -> None:
    """SIGKILL between the request and its answer: unknown in the log, settled by a person (L5)."""
    shop.fault("timeout", times=2, seconds=PATIENCE)
    process = shop.started("sync", "orders")
    end = time.monotonic() + PATIENCE
    while shop.faults():  # until both requests are at the partner, who says nothing yet
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < end, "no report was met in its middle"
        time.sleep(0.05)
    process.kill()
    process.communicate()
    run = shop.must("runs", "--json").json["runs"][0]
    assert run["state"] == "delivering"

    resumed = shop.run("resume", run["id"])
    assert resumed.code == 1
    assert "audience-sync orders arrived" in " ".join(resumed.out.split())
    assert [line["event"] for line in shop.log()].count("unknown") == 2
    [waiting] = shop.must("orders", "--json").json["destinations"]
    assert waiting == {"destination": "rakuten-se", "reported": 0, "unknown": {run["id"]: 2}}
    end = time.monotonic() + PATIENCE
    while shop.counted() != REPORTED:  # the partner had both requests all the same
        assert time.monotonic() < end, "the partner never worked on what it was sent"
        time.sleep(0.05)
    shop.must("orders", "arrived", run["id"])
    assert shop.synced()["reason"] == "nothing changed"
    assert shop.counted() == REPORTED
    assert shop.must("log", "verify").code == 0


def test_orders_travel_by_file(shop: OrderShop) -> None:
    """One file for all, then one of corrections; a broken line is settled by the server itself."""
    with running_files() as server:
        shop.send_by_file(server.settings())
        shop.synced()
        assert server.problems == []
        assert server.book.written() == REPORTED
        [line] = [line for line in shop.log() if line["event"] == "outcome"]
        assert (line["sent"], line["accepted"]) == (2, 2)

        shop.sql("UPDATE order_lines SET status = 'returned' WHERE article = 'SKU1'")
        server.break_at = "renamed"
        assert shop.run("sync", "orders").code == 1
        assert shop.synced()["reason"] == "nothing changed"
        assert server.book.written() == REPORTED[1:]
        assert (server.problems, len(server.files)) == ([], 2)
        assert shop.must("orders", "--json").json["destinations"][0]["unknown"] == {}
        assert "is told of orders" in shop.must("check").out
