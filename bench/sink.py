"""A partner that reads, counts and forgets: it answers like Meta and is never the bottleneck.

`python bench/sink.py` prints its port and serves until it is stopped. With `--keep` it remembers
the hashes of each list, so that a check can compare what the contestants left there. `GET /counts`
tells what arrived since it was asked last.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import json
import re
from typing import Any, cast

import httptools
import uvloop

_HASH = re.compile(rb'"([0-9a-f]{64})"')
_DATA = re.compile(rb'"data": ?\[')
_OURS = "1"  # the list that audience-sync makes


class Counts:
    """What arrived since it was asked last; the lists, where they are kept."""

    def __init__(self, *, keep: bool) -> None:
        self.keep = keep
        self.lists: dict[str, set[bytes]] = {}
        self.requests = self.rows = self.size = 0

    def take(self, method: str, path: str, rows: int, size: int, body: bytes) -> None:
        """One upload."""
        self.requests += 1
        self.rows += rows
        self.size += size
        if self.keep:
            found = self.lists.setdefault(path.split("/")[2], set())
            (found.update if method == "POST" else found.difference_update)(_HASH.findall(body))

    def told(self) -> dict[str, Any]:
        """The counts, which begin anew, and a digest of each list."""
        told = {
            "requests": self.requests,
            "rows": self.rows,
            "bytes": self.size,
            "lists": {
                name: [len(kept), hashlib.sha256(b"".join(sorted(kept))).hexdigest()]
                for name, kept in self.lists.items()
            },
        }
        self.requests = self.rows = self.size = 0
        return told


class Connection(asyncio.Protocol):
    """One connection; of a body it keeps the beginning, which tells how its rows are written."""

    def __init__(self, counts: Counts) -> None:
        self.counts = counts
        self.parser = httptools.HttpRequestParser(self)
        self.on_message_begin()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:  # noqa: D102 - asyncio's
        self.transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:  # noqa: D102 - asyncio's
        self.parser.feed_data(data)

    def on_message_begin(self) -> None:  # noqa: D102 - the parser's
        self.url, self.size, self.kept, self.room = b"", 0, [], 1000
        self.ends, self.last = 0, b""

    def on_url(self, url: bytes) -> None:  # noqa: D102 - the parser's
        self.url += url

    def on_header(self, name: bytes, value: bytes) -> None:  # noqa: D102 - the parser's
        if name.lower() == b"expect" and value.lower() == b"100-continue":
            self.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def on_body(self, body: bytes) -> None:  # noqa: D102 - the parser's
        self.size += len(body)
        if self.counts.keep or self.room > 0:
            self.kept.append(body if self.counts.keep else body[: self.room])
            self.room -= len(body)
        if self.size > 1000 and b'"data":[[' in self.kept[0]:
            self.ends += body.count(b'"]') + (self.last == b'"' and body[:1] == b"]")
            self.last = body[-1:]

    def on_message_complete(self) -> None:  # noqa: D102 - the parser's
        answer = json.dumps(self.answer()).encode()
        head = f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {len(answer)}"
        self.transport.write(head.encode() + b"\r\n\r\n" + answer)

    def answer(self) -> dict[str, Any]:
        """What Meta would say."""
        method, path = self.parser.get_method().decode(), self.url.decode().split("?")[0]
        body = b"".join(self.kept)
        if path == "/counts":
            return self.counts.told()
        if path.endswith("/users"):
            rows = self._rows(body)
            self.counts.take(method, path, rows, self.size, body)
            return {
                "audience_id": path.split("/")[2],
                "num_received": rows,
                "num_invalid_entries": 0,
                "invalid_entry_samples": {},
            }
        if path.endswith("/customaudiences"):
            return {"id": _OURS} if method == "POST" else {"data": []}
        return {"id": "act_1", "tos_accepted": {"custom_audience_tos": 1}}

    def _rows(self, body: bytes) -> int:
        """By arithmetic: hashes have one length, and the beginning shows what is between them."""
        found = _DATA.search(body)
        if found is None:
            return 0
        start = found.end()
        if body[start : start + 1] == b"[":
            return self.ends or body.count(b'"]', start)
        between = 1 if body[start + 66 : start + 68] == b',"' else 2
        return (self.size - start - len("]}}") + between) // (66 + between)


async def serve(counts: Counts) -> None:
    """Serve until somebody stops us."""
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Connection(counts), "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


def main() -> None:
    """Parse the arguments and serve."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--keep", action="store_true")
    uvloop.run(serve(Counts(keep=parser.parse_args().keep)))


if __name__ == "__main__":
    main()
