"""Rakuten's endpoint: the exact request of each kind of report, and what each answer means."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest

from audience_sync.connector import (
    Orders,
    Receipt,
    RefusedError,
    TemporaryPartnerError,
)
from audience_sync.orders import orders_of
from audience_sync.testing.builders import FakePartner, answered
from audience_sync.testing.orders import made_up_orders, taken_back
from connectors.rakuten import LONGEST_REQUEST, RakutenConnector, RakutenSettings

GOOD = (
    b"<response><unique_id>1234567890</unique_id><summary><transactions>"
    b"<good>2</good><bad>0</bad></transactions></summary></response>"
)


def counts(good: int, bad: int) -> bytes:
    """An answer with these counts."""
    text = GOOD.replace(b"<good>2", b"<good>%d" % good)
    return text.replace(b"<bad>0", b"<bad>%d" % bad)


def started(*answers: Any, **settings: Any) -> tuple[RakutenConnector, FakePartner]:
    """A connector whose partner gives these answers."""
    partner = FakePartner(*(answered(one) if isinstance(one, bytes) else one for one in answers))
    usual = {"base_url": "https://rakuten.example", "merchant_id": "37978"}
    connector = RakutenConnector(RakutenSettings(**(usual | settings)), partner)
    partner.bind(connector)
    return connector, partner


def one(**changes: Any) -> Orders:
    """The order of the partner's own example."""
    usual: dict[str, Any] = {"order_id": "100045", "click_id": "abcDEF12345-xyzXYZ6789012345678901"}
    return made_up_orders([1], **(usual | changes))


def test_an_order_is_one_get() -> None:
    """Line items joined by bars, minor units, UTC minutes, a short reference, XML asked for."""
    connector, partner = started(GOOD)
    order = one()
    assert connector.report(order) == Receipt(accepted=1)
    [sent] = partner.requests
    assert (sent.method, sent.url, sent.body) == ("GET", "ep", None)
    assert sent.params == {
        "mid": "37978",
        "ord": "100045",
        "tr": "abcDEF12345-xyzXYZ6789012345678901",
        "land": "20261121_0805",
        "date": "20261121_0912",
        "skulist": "sku-canary-0|sku-canary-1",
        "qlist": "1|2",
        "namelist": "Fine thing 0|Fine thing 1",
        "amtlist": "4999|9998",
        "cur": "USD",
        "custid": order.each("customer")[0][:32],
        "custstatus": "EXISTING",
        "xml": "1",
        "source": "audience-sync",
    }
    assert "skulist=sku-canary-0%7Csku-canary-1" in urlencode(sent.params)


def test_the_page_shows_what_is_sent() -> None:
    """The example of the documentation is a request that this connector makes."""
    page = (Path(__file__).parents[2] / "docs/partners/rakuten.md").read_text()
    example = json.loads(page.split("<!-- example: order -->\n```json\n")[1].split("```")[0])
    connector, partner = started(GOOD)
    lines = {"sku": ["SKU1", "SKU2"], "name": ["Scarf", "Socks"], "amount": [4999, 1598]}
    order = one(customer=example["custid"])
    columns = {name: order.column(name) for name in order.frame.columns}
    connector.report(orders_of("r1-0", columns | lines))
    assert partner.requests[0].params == example


def test_what_is_taken_back_is_negative_and_names_nobody() -> None:
    """The same order and articles; no reference and no status."""
    connector, partner = started(GOOD)
    connector.report(taken_back(one()))
    [sent] = partner.requests
    assert (sent.params["qlist"], sent.params["amtlist"]) == ("-1|-2", "-4999|-9998")
    assert not {"custid", "custstatus"} & set(sent.params)


def test_settings_shape_the_request() -> None:
    """The path, the length of the reference, the integration's name."""
    connector, partner = started(
        GOOD, tracking_path="eventnvppixel", customer_reference_length=64, source="crm-export"
    )
    order = one()
    connector.report(order)
    [sent] = partner.requests
    assert (sent.url, sent.params["source"]) == ("eventnvppixel", "crm-export")
    assert sent.params["custid"] == order.each("customer")[0]


def test_a_bar_within_a_value_separates_nothing() -> None:
    """And an article without a name has its number for one."""
    connector, partner = started(GOOD)
    connector.report(one(sku="a|b", name=None))
    assert partner.requests[0].params["skulist"] == "a b|a b"
    assert partner.requests[0].params["namelist"] == "a b|a b"


@pytest.mark.parametrize("over", [0, 1])
def test_an_order_that_is_too_long_is_not_sent(over: int) -> None:
    """The longest one goes; one character more is rejected with what to do."""
    connector, partner = started(counts(1, 0))
    short = one(name="x", lines=1)
    spare = LONGEST_REQUEST - len(urlencode(connector._params(short)))
    receipt = connector.report(one(name="x" * (1 + spare + over), lines=1))
    assert len(partner.requests) == 1 - over
    assert receipt.accepted == 1 - over
    assert [rejection.reason for rejection in receipt.rejected] == (
        ["the order is too long for one request; send it by file"] * over
    )


def test_how_long_a_request_may_be_is_a_setting() -> None:
    """Rakuten documents no limit."""
    connector, partner = started(GOOD, longest_request=500)
    assert len(connector.report(one(name="x" * 500)).rejected) == 1
    assert partner.requests == []


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"click_id": "x" * 35}, "longer than 34"),
        ({"landed_at": 1_795_248_300_000_000 + 7_200_000_000}, "after the order"),
    ],
)
def test_an_order_that_rakuten_cannot_read_is_not_sent(changes: dict[str, Any], told: str) -> None:
    """Rakuten would answer 400 as to a wrong merchant, and nobody's orders would be reported."""
    connector, partner = started()
    [rejection] = connector.report(one(**changes)).rejected
    assert told in rejection.reason
    assert partner.requests == []


def test_a_click_in_the_minute_of_the_order_is_sent() -> None:
    """Both are written in minutes."""
    connector, _ = started(GOOD)
    moment = 1_795_248_300_000_000
    assert connector.report(one(landed_at=moment + 5_000_000, ordered_at=moment)).accepted == 1
    longest, _ = started(GOOD)
    assert longest.report(one(click_id="x" * 34)).accepted == 1


def test_nothing_is_repeated_unless_it_counts_once() -> None:
    """Rakuten does not say what a repeated order does, so a setting does."""
    connector, partner = started(GOOD)
    connector.report(one())
    assert (connector.repeatable(), partner.requests[0].repeatable) == (False, False)
    connector, partner = started(GOOD, repeats_count_once=True)
    connector.report(one())
    assert (connector.repeatable(), partner.requests[0].repeatable) == (True, True)
    assert connector.arrived(one()) is None


@pytest.mark.parametrize(
    ("body", "accepted", "rejected", "unattributed"),
    [
        (counts(2, 0), 1, 0, 0),
        (counts(1, 0), 1, 0, 0),  # whether lines or orders are counted is not documented
        (b'<?xml version="1.0"?>\n' + counts(2, 0) + b"\n", 1, 0, 0),
        (counts(0, 2), 0, 1, 0),
        (counts(1, 1), 0, 0, 1),  # which line was taken nobody knows
        (counts(3, 0), 0, 0, 1),  # neither its lines nor its orders
        (counts(0, 0), 0, 0, 1),
        (b"<response><unique_id>1</unique_id></response>", 0, 0, 1),
    ],
)
def test_the_verdict_is_in_the_body(
    body: bytes, accepted: int, rejected: int, unattributed: int
) -> None:
    """HTTP 200 says nothing."""
    connector, _ = started(body)
    receipt = connector.report(one())
    assert (receipt.accepted, len(receipt.rejected), receipt.unattributed) == (
        accepted,
        rejected,
        unattributed,
    )


@pytest.mark.parametrize(
    ("body", "status", "surely"),
    [
        (b"<response><error>Access denied</error></response>", 200, True),
        (counts(0, 2), 200, True),
        (b"", 400, True),
        (b"", 408, False),
        (b"", 503, False),
        (counts(1, 1), 200, False),
        (counts(0, 0), 200, False),
        (b"<html><error>no</error></html>", 200, False),
    ],
)
def test_only_rakutens_own_words_prove_that_it_took_nothing(
    body: bytes, status: int, *, surely: bool
) -> None:
    """What is no verdict may come from anybody on the way."""
    connector, _ = started()
    assert connector.changed_nothing(answered(body, status)) is surely


@pytest.mark.parametrize(
    ("status", "body", "kind", "told"),
    [
        (200, b"<response><error>Access denied</error></response>", RefusedError, "account manag"),
        (200, b"<response><error>Anything</error></response>", RefusedError, "refuses orders"),
        (400, b"<html>HTTP Status 400</html>", RefusedError, "check merchant_id"),
        (404, b"", RefusedError, "refuses orders"),
        (429, b"", TemporaryPartnerError, "cannot answer now"),
        (500, b"", TemporaryPartnerError, "cannot answer now"),
        (503, b"", TemporaryPartnerError, "cannot answer now"),
        (408, b"", TemporaryPartnerError, "cannot answer now"),
        (200, b"<html>Sorry</html>", TemporaryPartnerError, "not its XML"),
        (200, b"", TemporaryPartnerError, "not its XML"),
        (200, b"GIF89a", TemporaryPartnerError, "not its XML"),
    ],
)
def test_every_error_of_the_sheet_has_its_action(
    status: int, body: bytes, kind: type[Exception], told: str
) -> None:
    """Stop, or try again; an answer that cannot be read is neither taken for good nor for bad."""
    connector, _ = started(answered(body, status))
    with pytest.raises(kind, match=told):
        connector.report(one())


def test_a_wait_is_honoured() -> None:
    """As long as the partner says."""
    connector, _ = started(answered(b"", 429, {"retry-after": "90"}))
    with pytest.raises(TemporaryPartnerError) as caught:
        connector.report(one())
    assert caught.value.retry_after == 90


def test_a_bad_order_stops_nobody_once_the_merchant_is_known() -> None:
    """The same status means the merchant before, and the order after, one was taken."""
    connector, _ = started(GOOD, answered(b"", 400), GOOD)
    assert connector.report(one()).accepted == 1
    assert len(connector.report(one()).rejected) == 1
    assert connector.report(one()).accepted == 1
