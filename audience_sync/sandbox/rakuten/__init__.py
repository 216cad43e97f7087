"""A simulated Rakuten Advertising: the tracking endpoint, and a server for order files.

It counts every call, a repeated one too: whether the real one does is not documented, and nobody
should rely on it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from audience_sync.sandbox.faults import Fault
from audience_sync.sandbox.rakuten.book import Line, OrderBook
from audience_sync.sandbox.world import Call, Reply, World

__all__ = ["OrderBook", "RakutenSandbox"]

LONGEST_QUERY = 8_192  # characters
LONGEST_CLICK = 34  # characters of a ranSiteID
REQUIRED = ("mid", "ord", "tr", "land", "skulist", "qlist", "namelist", "amtlist")
LISTS = ("skulist", "qlist", "namelist", "amtlist")

_MERCHANT = re.compile(r"\d{1,5}")
_NUMBER = re.compile(r"-?\d{1,12}")
_BAD_REQUEST = (
    b"<html><head><title>Apache Tomcat - Error report</title></head><body>"
    b"<h1>HTTP Status 400 - Bad Request</h1></body></html>"
)
_PIXEL = b"GIF89a\x01\x00\x01\x00\x80\x00\x00\x00\x00\x00\xff\xff\xff!\xf9\x04\x01;"


class BadRequestError(Exception):
    """The call cannot be understood at all."""


class RakutenSandbox:
    """`GET /ep` takes one order; answers are XML, and 200 for most refusals."""

    name = "rakuten"

    def __init__(self, world: World) -> None:
        self._world = world
        self._denied: set[str] = set()
        self.books: dict[str, OrderBook] = {}

    def operation(self, call: Call) -> str:
        """What the request wants, in one word."""
        return {"ep": "order", "eventnvppixel": "event"}.get(call.path, "unknown")

    def answer(self, call: Call, fault: Fault | None) -> Reply:
        """Rakuten's answer."""
        try:
            return self._answer(call, fault)
        except BadRequestError:
            return _page(400, "bad-request")

    def refuse(self, call: Call, fault: Fault) -> Reply:  # noqa: ARG002 - a partner's signature
        """The answer of a partner that does not work; those of the endpoint are undocumented."""
        if fault.kind == "terms-not-accepted":
            return _denied()
        if fault.kind == "rate-limit":
            reply = _page(fault.status or 429, "rate-limit")
            reply.headers["Retry-After"] = str(60 * fault.minutes)
            return reply
        return _page(fault.status or 503, fault.kind)

    def lists(self) -> list[dict[str, Any]]:
        """Every merchant with its counts."""
        return [
            {
                "id": merchant,
                "name": "orders",
                "orders": len(book.orders()),
                "calls": book.calls,
                "bad": book.bad,
            }
            for merchant, book in sorted(self.books.items())
        ]

    def members(self, list_id: str, *, people: bool) -> dict[str, list[str]] | None:
        """What is counted for a merchant: lines with their sums, and the customers' references."""
        if list_id not in self.books:
            return None
        book = self.books[list_id]
        return {"customer": book.customers()} if people else {"order_line": book.written()}

    def accept_terms(self, account: str, *, accepted: bool) -> None:
        """Switch the tracking of a merchant on or off."""
        change = self._denied.discard if accepted else self._denied.add
        change(account)

    def _answer(self, call: Call, fault: Fault | None) -> Reply:
        query = call.query
        merchant = query.get("mid", "")
        if call.method != "GET" or self.operation(call) == "unknown":
            return _page(404, "not-found")
        if sum(len(name) + len(value) + 2 for name, value in query.items()) > LONGEST_QUERY:
            return _page(414, "too-long")
        known = self._world.options.rakuten_merchants
        if not _MERCHANT.fullmatch(merchant) or (known and merchant not in known):
            raise BadRequestError
        if merchant in self._denied:
            return _denied()
        lines = _read(query)
        book = self.books.setdefault(merchant, OrderBook())
        refused = set(fault.rejected(len(lines))) if fault is not None else set()
        good, bad = book.take(lines, refused)
        book.meet(query.get("custid"))
        if query.get("xml") != "1":
            return Reply(content=_PIXEL, content_type="image/gif", list_id=merchant, rows=good)
        reply = _xml(
            "<unique_id>1234567890</unique_id><summary><transactions>"
            f"<good>{good}</good><bad>{bad}</bad></transactions></summary>"
        )
        reply.list_id, reply.rows = merchant, good
        return reply


def _read(query: Mapping[str, str]) -> list[Line | None]:
    """The line items; None for one that cannot be counted."""
    if any(not query.get(name) for name in REQUIRED) or len(query["tr"]) > LONGEST_CLICK:
        raise BadRequestError
    landed = _moment(query["land"])
    if "date" in query and _moment(query["date"]) < landed:
        raise BadRequestError
    if query.get("custstatus", "NEW") not in ("NEW", "EXISTING"):
        raise BadRequestError
    if not re.fullmatch("[A-Z]{3}", query.get("cur", "USD")):
        raise BadRequestError
    columns = [query[name].split("|") for name in LISTS]
    if len({len(column) for column in columns}) != 1:
        raise BadRequestError
    return [
        _line(query, sku, quantity, amount)
        for sku, quantity, _, amount in zip(*columns, strict=True)
    ]


def _line(query: Mapping[str, str], sku: str, quantity: str, amount: str) -> Line | None:
    if not sku or not _NUMBER.fullmatch(quantity) or not _NUMBER.fullmatch(amount):
        return None
    currency = query.get("cur", "USD")
    return Line(query["ord"], sku, currency, int(quantity), int(amount))


def _moment(text: str) -> datetime:
    if not re.fullmatch(r"\d{8}_\d{4}", text):
        raise BadRequestError
    try:
        return datetime.strptime(text, "%Y%m%d_%H%M")  # noqa: DTZ007 - compared with its like only
    except ValueError:
        raise BadRequestError from None


def _xml(inner: str, outcome: str = "ok") -> Reply:
    content = f"<response>{inner}</response>".encode()
    return Reply(content=content, content_type="text/xml", outcome=outcome)


def _denied() -> Reply:
    return _xml("<error>Access denied</error>", "denied")


def _page(status: int, outcome: str) -> Reply:
    return Reply(status=status, content=_BAD_REQUEST, content_type="text/html", outcome=outcome)
