"""Rakuten in memory: the simulated endpoint and the simulated file server, behind one seam."""

from __future__ import annotations

from audience_sync.connector import Answer
from audience_sync.sandbox.options import SandboxOptions
from audience_sync.sandbox.rakuten import OrderBook, RakutenSandbox
from audience_sync.sandbox.rakuten.files import FileServer
from audience_sync.sandbox.world import Call, World
from audience_sync.testing.builders import Sent
from audience_sync.testing.orders import Counted, FakeOrderPartner


def counted(book: OrderBook) -> Counted:
    """What a book holds, by order and article."""
    found: Counted = {}
    for line in book.written():
        order, sku, quantity, amount, _ = line.split("|")
        found[order, sku] = int(quantity), int(amount)
    return found


class RakutenFake(FakeOrderPartner):
    """The endpoint."""

    def __init__(self) -> None:
        super().__init__()
        self.sandbox = RakutenSandbox(World(SandboxOptions()))

    def respond(self, sent: Sent) -> Answer:
        if sent.params.get("ord") in self.refused_orders:
            return Answer(200, {}, _ALL_BAD)
        call = Call(
            method=sent.method,
            path=sent.url,
            query=dict(sent.params),
            headers={},
            body=b"",
            body_sha256="",
            base="",
        )
        reply = self.sandbox.answer(call, None)
        return Answer(reply.status, {}, reply.body())

    def sold(self) -> Counted:
        book = self.sandbox.books.get("37978")
        return {} if book is None else counted(book)


class DropFake(FakeOrderPartner):
    """The file server; nothing passes through the client."""

    def __init__(self, server: FileServer) -> None:
        super().__init__()
        self.server = server

    def sold(self) -> Counted:
        assert self.server.problems == []
        return counted(self.server.book)


_ALL_BAD = (
    b"<response><unique_id>1</unique_id><summary><transactions><good>0</good><bad>2</bad>"
    b"</transactions></summary></response>"
)
