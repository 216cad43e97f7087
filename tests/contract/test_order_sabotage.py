"""The contract of order connectors bites: each way of breaking it is found by one of its tests."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

import pytest
from rakuten_fake import RakutenFake

from audience_sync.connector import (
    Answer,
    OrderConnector,
    Orders,
    PartnerError,
    Receipt,
    RefusedError,
    TemporaryPartnerError,
)
from audience_sync.testing.order_contract import OrderContract
from connectors.rakuten import RakutenConnector, RakutenSettings


class Repeating(RakutenConnector):
    """Lets the client send an order again."""

    def _call(self, orders: Orders) -> Receipt:
        self.client.request("GET", "ep", params=self._params(orders))
        return Receipt(accepted=1)


class Careless(RakutenConnector):
    """Never looks at the answer."""

    def explain(self, answer: Answer) -> PartnerError | None:
        return None

    def _call(self, orders: Orders) -> Receipt:
        self.client.request("GET", "ep", params=self._params(orders), repeatable=False)
        return Receipt(accepted=1)


class Forgetful(RakutenConnector):
    """Leaves all lines but the first out."""

    def _params(self, orders: Orders) -> dict[str, str]:
        found = dict(super()._params(orders))
        lists = ("skulist", "qlist", "namelist", "amtlist")
        return found | {name: found[name].partition("|")[0] for name in lists}


class Naive(RakutenConnector):
    """Trusts that no value holds a separator."""

    def _params(self, orders: Orders) -> dict[str, str]:
        return dict(super()._params(orders)) | {"namelist": "|".join(orders.column("name"))}


class Talkative(RakutenConnector):
    """Repeats what the partner said."""

    def explain(self, answer: Answer) -> PartnerError | None:
        return RefusedError(f"Rakuten says {answer.body.decode(errors='replace')}", answer.status)


class Curious(RakutenConnector):
    """Reports an order to see whether it may."""

    def check(self) -> None:
        pairs = {"mid": "37978", "ord": "1", "tr": "c", "land": "20261121_0805", "xml": "1"}
        lists = {"skulist": "a", "qlist": "1", "namelist": "a", "amtlist": "1"}
        self.client.request("GET", "ep", params=pairs | lists)


class Needy(RakutenConnector):
    """Cannot take back what belongs to a person who withdrew."""

    needs: ClassVar[tuple[str, ...]] = ("customer",)


class Restless(RakutenConnector):
    """Makes something up for each request."""

    count = iter(range(1_000_000))

    def _params(self, orders: Orders) -> dict[str, str]:
        return dict(super()._params(orders)) | {"nonce": str(next(self.count))}


def of(connector: type[OrderConnector[Any]]) -> OrderContract:
    """The contract's tests of a connector that speaks to a simulated Rakuten."""

    class Broken(OrderContract):
        connector_class = connector

        def settings(self) -> RakutenSettings:
            return RakutenSettings(base_url="https://rakuten.example", merchant_id="37978")

        def partner(self) -> RakutenFake:
            return RakutenFake()

    return Broken()


@pytest.mark.parametrize(
    ("connector", "finder"),
    [
        (Repeating, OrderContract.test_nothing_is_sent_twice_by_the_client),
        (Careless, lambda it: it.test_every_status_has_its_meaning(500, TemporaryPartnerError)),
        (Careless, lambda it: it.test_an_answer_that_cannot_be_read_accepts_nothing(b"")),
        (Forgetful, OrderContract.test_everything_that_is_reported_is_counted),
        (Naive, OrderContract.test_strange_values_end_no_field),
        (Talkative, OrderContract.test_no_order_is_told),
        (Curious, OrderContract.test_a_check_reports_nothing),
        (Needy, OrderContract.test_declarations_are_sane),
        (Restless, OrderContract.test_identical_orders_make_identical_requests),
    ],
)
def test_a_broken_connector_is_found(
    connector: type[OrderConnector[Any]], finder: Callable[[OrderContract], None]
) -> None:
    """By the very test that is about it; the sound one passes the same."""
    finder(of(RakutenConnector))
    with pytest.raises((AssertionError, PartnerError, pytest.fail.Exception)):
        finder(of(connector))
