"""The network to one partner: it can be cut at any moment, and pulled out for a while."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from typing import Any

_CHUNK = 65536  # bytes
_PATIENCE = 10.0  # seconds


class Wire:
    """Carries bytes between a port of its own and the partners' one; both live on this machine."""

    def __init__(self, there: int) -> None:
        self._there = there
        self._loop = asyncio.new_event_loop()
        self._server: asyncio.Server | None = None
        self._ends: set[asyncio.StreamWriter] = set()
        self._answers = asyncio.Event()
        self._answers.set()
        self.port = 0

    def plug(self) -> None:
        """Let connections through."""
        self._do(self._listen())

    def pull(self) -> None:
        """Refuse connections, and drop those there are."""
        self._do(self._deafen())

    def cut(self) -> None:
        """Drop the connections there are; new ones get through."""
        self._do(self._drop())

    def lose(self) -> None:
        """Forget the connections there are, without a word to either end; new ones get through."""
        self._loop.call_soon_threadsafe(self._forget)

    def hold(self) -> None:
        """Keep all answers back: the partner has done what was asked, and nobody knows."""
        self._loop.call_soon_threadsafe(self._answers.clear)

    def let_go(self) -> None:
        """Let answers through again."""
        self._loop.call_soon_threadsafe(self._answers.set)

    def _forget(self) -> None:
        self._answers.clear()  # those that wait for it wait for ever
        self._answers = asyncio.Event()
        self._answers.set()

    async def _listen(self) -> None:
        if self._server is None:
            self._server = await asyncio.start_server(self._carry, "127.0.0.1", self.port)
            self.port = self._server.sockets[0].getsockname()[1]

    async def _deafen(self) -> None:
        if self._server is not None:
            self._server.close()
            self._server = None
        await self._drop()

    async def _drop(self) -> None:
        for end in list(self._ends):
            end.transport.abort()

    async def _carry(self, ours: asyncio.StreamReader, back: asyncio.StreamWriter) -> None:
        self._ends.add(back)
        there: asyncio.StreamWriter | None = None
        try:
            theirs, there = await asyncio.open_connection("127.0.0.1", self._there)
            self._ends.add(there)
            always = asyncio.Event()
            always.set()
            both = [_pass_on(ours, there, always), _pass_on(theirs, back, self._answers)]
            _, left = await asyncio.wait(
                [asyncio.ensure_future(one) for one in both], return_when=asyncio.FIRST_COMPLETED
            )
            for one in left:
                one.cancel()
        except OSError:
            pass
        finally:
            for end in (back, there):
                if end is not None:
                    self._ends.discard(end)
                    end.transport.abort() if end.is_closing() else end.close()

    def _do(self, what: Coroutine[Any, Any, None]) -> None:
        asyncio.run_coroutine_threadsafe(what, self._loop).result(_PATIENCE)


async def _pass_on(
    source: asyncio.StreamReader, target: asyncio.StreamWriter, when: asyncio.Event
) -> None:
    with contextlib.suppress(OSError):
        while part := await source.read(_CHUNK):
            await when.wait()
            target.write(part)
            await target.drain()


@contextmanager
def wires(there: int, count: int) -> Iterator[list[Wire]]:
    """So many wires to one port, in a thread of their own."""
    made = [Wire(there) for _ in range(count)]
    threads = [threading.Thread(target=one._loop.run_forever, daemon=True) for one in made]
    for thread in threads:
        thread.start()
    try:
        for one in made:
            one.plug()
        yield made
    finally:
        for one, thread in zip(made, threads, strict=True):
            one.pull()
            one._do(_quiet())
            one._loop.call_soon_threadsafe(one._loop.stop)
            thread.join(_PATIENCE)
            one._loop.close()


async def _quiet() -> None:
    """Let what was under way end, so that nothing is lost unseen."""
    others = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
    for task in others:
        task.cancel()
    await asyncio.gather(*others, return_exceptions=True)
