"""What every order connector has to keep; a plugin's test class inherits it and gains its tests.

    class TestMyPartner(OrderContract):
        connector_class = MyConnector

        def settings(self): return MySettings(base_url="https://partner.example", …)
        def partner(self): return MyFakePartner()

`MyFakePartner` is a `FakeOrderPartner` that answers as the partner would. A connector that speaks
another protocol than HTTP sets `over_http = False`: its partner then counts by itself.
"""

# ruff: noqa: S101 - a contract is made of assertions
from __future__ import annotations

import pickle
import traceback
from collections.abc import Iterator
from typing import Any, ClassVar

import pytest

from audience_sync.connector import (
    AudienceSyncError,
    ConfigurationError,
    ConnectorSettings,
    OrderConnector,
    Orders,
    PartnerError,
    RefusedError,
    TemporaryPartnerError,
)
from audience_sync.orders import COLUMNS
from audience_sync.testing.builders import answered, made_up_audience
from audience_sync.testing.imported import imported
from audience_sync.testing.listening import logged
from audience_sync.testing.orders import (
    Counted,
    FakeOrderPartner,
    made_up_orders,
    sums_of,
    taken_back,
)

ERRORS: tuple[tuple[int, type[PartnerError]], ...] = (
    (400, RefusedError),
    (404, RefusedError),
    (429, TemporaryPartnerError),
    (500, TemporaryPartnerError),
    (503, TemporaryPartnerError),
)
UNREADABLE = (b"", b"<!DOCTYPE html><html><body>Sorry</body></html>", b'{"id": "12', b"<response>")


class OrderContract:
    """Inherit, name the connector class, and write `settings` and `partner`."""

    connector_class: ClassVar[type[OrderConnector[Any]]]
    over_http: ClassVar[bool] = True

    def settings(self) -> ConnectorSettings:
        """Settings with made-up secrets."""
        raise NotImplementedError

    def partner(self) -> FakeOrderPartner:
        """A fresh fake of the partner, which has counted nothing."""
        raise NotImplementedError

    # What it declares

    def test_declarations_are_sane(self) -> None:
        """An order connector says who receives, what an order needs, and how much at a time."""
        kind, settings = self.connector_class, self.settings()
        assert kind.name == kind.name.lower() != "", "a name is lower case"
        assert kind.title, "a title is needed"
        assert issubclass(kind.settings_class, ConnectorSettings)
        recipient = kind.recipient_of(settings)
        assert recipient.name, "the transfer log names who receives"
        assert len(recipient.country) == 2  # noqa: PLR2004 - ISO 3166 alpha-2
        limits = kind.limits_of(settings)
        assert min(limits.members_per_request, limits.parallel_uploads) > 0
        assert set(kind.needs_of(settings)) <= set(COLUMNS), "needs are columns of Orders"
        assert "customer" not in kind.needs_of(settings), "what takes back has no reference"

    def test_only_the_interface_is_imported(self) -> None:
        """A connector's file imports nothing of audience_sync but `audience_sync.connector`."""
        for module in imported(self.connector_class):
            root = module.partition(".")[0]
            assert root != "audience_sync" or module == "audience_sync.connector", module
            assert root not in {"requests", "tenacity", "celery", "redis", "sqlalchemy"}, module

    def test_audiences_are_refused_in_words(self) -> None:
        """Who takes orders alone says so, where somebody tries to send an audience."""
        if self.connector_class.ensure_audience is not OrderConnector.ensure_audience:
            pytest.skip("it takes audiences, too")
        connector, _ = self._started()
        with pytest.raises(ConfigurationError, match="orders"):
            connector.ensure_audience(made_up_audience())

    # What it does

    def test_a_check_reports_nothing(self) -> None:
        """However it looks at the partner, no order is counted."""
        connector, partner = self._started()
        connector.check()
        assert partner.sold() == {}

    def test_everything_that_is_reported_is_counted(self) -> None:
        """Each line with its quantity and its amount in minor units, and every order accepted."""
        connector, partner = self._started()
        expected: Counted = {}
        for batch in self._batches([1, 2, 3]):
            receipt = connector.report(batch)
            assert (receipt.accepted, receipt.sent) == (len(batch), len(batch))
            assert not receipt.pending, "orders are counted by their answer"
            expected |= sums_of(batch)
        assert partner.sold() == expected

    def test_what_is_taken_back_leaves_nothing(self) -> None:
        """A cancellation brings the negative sums, without a customer's reference."""
        connector, partner = self._started()
        for number, batch in enumerate(self._batches([1, 2])):
            connector.report(batch)
            receipt = connector.report(taken_back(batch, f"r2-{number}"))
            assert receipt.accepted == len(batch)
        assert partner.sold() == {}

    def test_strange_values_end_no_field(self) -> None:
        """Separators, line breaks, ampersands and letters of all scripts: the sums stay right."""
        connector, partner = self._started()
        [batch] = self._batches([1], name="Füß | & ; \n\t\"'=%20 ☂", lines=1)
        assert connector.report(batch).accepted == 1
        assert list(partner.sold().values()) == list(sums_of(batch).values())

    def test_identical_orders_make_identical_requests(self) -> None:
        """Nothing in a request is made up anew."""
        if not self.over_http:
            pytest.skip("only requests can be compared")
        written = []
        for _ in range(2):
            connector, partner = self._started()
            for batch in self._batches([1, 2]):
                connector.report(batch)
            written.append([sent.written() for sent in partner.requests])
        assert written[0] == written[1] != []

    def test_nothing_is_sent_twice_by_the_client(self) -> None:
        """Unless the partner counts a repeated order once, requests are not to be repeated."""
        connector, partner = self._started()
        for batch in self._batches([1]):
            connector.report(batch)
        if not connector.repeatable():
            assert not [sent for sent in partner.uploads if sent.repeatable]

    def test_an_order_that_is_refused_is_accounted_for(self) -> None:
        """As rejected by position, or as unattributed; the others are accepted."""
        connector, partner = self._started()
        batches = list(self._batches([1, 2]))
        partner.refused_orders = {"order-canary-1"}
        for batch in batches:
            receipt = connector.report(batch)
            assert receipt.sent == len(batch)
            assert {one.position for one in receipt.rejected} <= set(range(len(batch)))

    # What it says

    @pytest.mark.parametrize(("status", "kind"), ERRORS)
    def test_every_status_has_its_meaning(self, status: int, kind: type[PartnerError]) -> None:
        """Refused for good, or to be tried again; never an order that counts as reported."""
        if not self.over_http:
            pytest.skip("it speaks another protocol")
        connector, partner = self._started()
        partner.always = answered(b"Sorry", status)
        [batch] = self._batches([1])
        with pytest.raises(kind):
            connector.report(batch)

    @pytest.mark.parametrize("body", UNREADABLE)
    def test_an_answer_that_cannot_be_read_accepts_nothing(self, body: bytes) -> None:
        """A success without the partner's own words leaves the order in doubt, never refused."""
        if not self.over_http:
            pytest.skip("it speaks another protocol")
        connector, partner = self._started()
        partner.always = answered(body)
        [batch] = self._batches([1])
        try:
            receipt = connector.report(batch)
        except TemporaryPartnerError:
            return
        assert (receipt.accepted, receipt.rejected) == (0, ())

    def test_no_order_is_told(self) -> None:
        """Neither by an error nor by a log line, whatever the partner echoes."""
        if not self.over_http:
            pytest.skip("its partner's words do not pass through here")
        [batch] = self._batches([1])
        echo = " ".join(str(batch.frame.row(0, named=True)).split()).encode()
        with logged() as log:
            for status in (200, 400, 401, 403, 404, 409, 429, 500):
                for body in (echo, b"<response><error>" + echo + b"</error></response>"):
                    connector, partner = self._started()
                    partner.always = answered(body, status)
                    try:
                        receipt = connector.report(batch)
                        said = repr(receipt)
                    except AudienceSyncError as error:
                        said = "".join(traceback.format_exception(error)) + repr(error.args)
                    assert "canary" not in said
        assert "canary" not in "".join(log)

    def test_it_survives_pickling(self) -> None:
        """Workers take it along to other processes."""
        connector, _ = self._started()
        copy = pickle.loads(pickle.dumps(connector.settings))  # noqa: S301 - our own bytes
        assert copy == connector.settings
        again = pickle.loads(pickle.dumps(connector))  # noqa: S301 - the same
        assert again.repeatable() == connector.repeatable()

    def _started(self) -> tuple[OrderConnector[Any], FakeOrderPartner]:
        partner = self.partner()
        connector = self.connector_class(self.settings(), partner)
        partner.bind(connector)
        return connector, partner

    def _batches(self, numbers: list[int], *, lines: int = 2, **changes: Any) -> Iterator[Orders]:
        """Orders in batches as large as they may be."""
        limit = self.connector_class.limits_of(self.settings()).members_per_request
        size = max(1, limit // lines)
        for start in range(0, len(numbers), size):
            part = numbers[start : start + size]
            yield made_up_orders(part, lines=lines, batch=f"r1-{start}", **changes)
