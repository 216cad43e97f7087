"""Processes that are killed and started again at the same address; none outlives the tests."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import servers

PATIENCE = 30.0  # seconds for a process to start, and as long to end


class Mortal:
    """A program with its children, watched by a guard that ends it when the tests end."""

    def __init__(
        self,
        command: Sequence[str],
        folder: Path,
        *,
        account: Mapping[str, Any] | None = None,
        answers: Callable[[], bool] = lambda: True,
    ) -> None:
        folder.mkdir(exist_ok=True)
        self.command = list(command)
        self._folder = folder
        self._account = dict(account or {})
        self._answers = answers
        self._guard: Any = None
        self._left: dict[int, str] = {}  # processes that outlived their parent

    def start(self) -> None:
        """Start, unless it runs; returns once it answers."""
        if self.alive:
            return
        self._guard = servers._guarded(self.command, self._folder, self._account)
        if not servers._started(self._guard, 0, lambda _port: bool(self._answers())):
            raise servers.MissingServerError(f"{self.command[:4]} does not start\n{self.log}")

    @property
    def alive(self) -> bool:
        """Whether it runs."""
        return self._guard is not None and self._guard.poll() is None

    @property
    def number(self) -> int | None:
        """Its process number."""
        return next(iter(children(self._guard.pid)), None) if self.alive else None

    @property
    def log(self) -> str:
        """What it wrote."""
        return (self._folder / "log").read_text(errors="replace")

    def kill(self, *, children_too: bool = True) -> None:
        """SIGKILL, without a word; left to themselves, its children are killed by `stop`."""
        number = self.number
        if number is None:
            return
        family = descendants(number)
        send(number, signal.SIGKILL)
        if children_too:
            for child in family:
                send(child, signal.SIGKILL)
        else:
            self._left |= {child: born(child) for child in family}
        self._guard.wait(PATIENCE)
        self._guard.stdin.close()
        if children_too:
            until(lambda: not any(born(child) for child in family))

    def signal(self, what: int, *, everybody: bool = False) -> None:
        """Another signal, to its children too where asked."""
        number = self.number
        if number is not None:
            for one in [number, *(descendants(number) if everybody else ())]:
                send(one, what)

    def ended(self) -> int:
        """The exit code after SIGTERM."""
        self.signal(signal.SIGTERM)
        code = self._guard.wait(PATIENCE)
        self._guard.stdin.close()
        return int(code)

    def stop(self) -> None:
        """Kill it and whatever is left of it."""
        self.kill()
        for child, when in self._left.items():
            if born(child) == when:
                send(child, signal.SIGKILL)
        self._left.clear()


def send(number: int, what: int) -> None:
    """A signal to a process that may be gone."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(number, what)


def children(number: int) -> list[int]:
    """The processes that a process has started and that live."""
    try:
        return [int(n) for n in Path(f"/proc/{number}/task/{number}/children").read_text().split()]
    except OSError:
        return []


def descendants(number: int) -> list[int]:
    """Its children, theirs, and so on."""
    found = children(number)
    return found + [one for child in found for one in descendants(child)]


def born(number: int) -> str:
    """When a living process started, in the kernel's ticks; nothing of one that is gone."""
    try:
        fields = Path(f"/proc/{number}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return ""
    return "" if fields[0] == "Z" else fields[19]


def until(found: Callable[[], Any], patience: float = PATIENCE) -> Any:
    """What is found, looked for until it is something; nothing when that takes too long."""
    end = time.monotonic() + patience
    while not (answer := found()) and time.monotonic() < end:
        time.sleep(0.05)
    return answer
