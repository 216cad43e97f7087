"""What goes wrong, at random but the same for the same seed: who is killed, cut or confused."""

from __future__ import annotations

import heapq
import random
import signal
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

from chaos.cluster import Cluster
from chaos.mortal import Mortal, children, descendants, send, until
from chaos.shop import PARTNERS

_SOON = 1.2  # seconds between two mishaps, at most
_BUSY = 4.0  # seconds to wait for a delivery to be under way
_PATIENT = 8.0  # seconds, the same where every mishap counts
_AWAY = 1.5  # seconds that somebody stays dead, at most
_FROZEN = 9.0  # seconds that somebody sleeps, at most; longer than a lease lives
_IN_DELIVERY = 0.6  # of the mishaps wait for that
_SEEN = 1.5  # seconds to wait for a request whose answer is then held back

FAULTS: tuple[Mapping[str, Any], ...] = (
    {"kind": "fail-after-change", "then": "5xx"},
    {"kind": "fail-after-change", "then": "drop"},
    {"kind": "5xx"},
    {"kind": "drop"},
    {"kind": "timeout", "seconds": 3.0},
    {"kind": "hang"},
    {"kind": "html"},
    {"kind": "half-json"},
)


@dataclass
class Mishaps:
    """Does harm to a cluster for a while; `counts` tells how often what."""

    cluster: Cluster
    chance: random.Random
    counts: Counter[str] = field(default_factory=Counter)
    _later: list[tuple[float, int, Callable[[], None]]] = field(default_factory=list)
    _numbers: count[int] = field(default_factory=count)

    def rage(self, seconds: float, kinds: Mapping[str, int] | None = None) -> None:
        """One mishap after the other; whoever still is dead at the end stays so."""
        weights = dict(kinds or WEIGHTS)
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            time.sleep(self.chance.uniform(0.05, _SOON))
            if self.chance.random() < _IN_DELIVERY:
                self._until_sent(_BUSY)
            self._do_what_is_due()
            self.strike(self.chance.choices(list(weights), list(weights.values()))[0])
        self._do_what_is_due(float("inf"))

    def strike(self, kind: str) -> None:
        """One mishap of a kind."""
        if KINDS[kind](self):
            self.counts[kind] += 1

    def _do_what_is_due(self, now: float | None = None) -> None:
        now = time.monotonic() if now is None else now
        while self._later and self._later[0][0] <= now:
            heapq.heappop(self._later)[2]()

    def follow(self, kinds: Sequence[str]) -> None:
        """These mishaps, each as soon as something is sent to a partner."""
        for kind in kinds:
            self._until_sent(_PATIENT)
            self.strike(kind)
        self._do_what_is_due(float("inf"))

    def _until_sent(self, patience: float) -> None:
        """Wait for a partner to be asked for a change, not for ever."""
        before, end = self._changes(), time.monotonic() + patience
        while self._changes() <= before and time.monotonic() < end:
            self._do_what_is_due()
            time.sleep(0.02)

    def _in(self, most: float, what: Callable[[], None]) -> None:
        at = time.monotonic() + self.chance.uniform(0, most)
        heapq.heappush(self._later, (at, next(self._numbers), what))

    def _someone(self) -> Mortal:
        return self.chance.choice(self.cluster.workers)

    def _killed(self, process: Mortal | None, *, children_too: bool = True) -> bool:
        if process is None or not process.alive:
            return False
        process.kill(children_too=children_too)
        self._in(_AWAY, process.start)
        return True

    def _worker(self) -> bool:
        return self._killed(self._someone())

    def _parent(self) -> bool:
        return self._killed(self._someone(), children_too=False)

    def _child(self) -> bool:
        number = self._someone().number
        found = children(number) if number else []
        if found:
            send(self.chance.choice(found), signal.SIGKILL)
        return bool(found)

    def _stopped(self) -> bool:
        one = self._someone()
        alive = one.alive
        one.signal(signal.SIGTERM)
        return alive

    def _frozen(self) -> bool:
        one = self._someone()
        number = one.number
        if number is None:
            return False
        family = [number, *descendants(number)]
        for process in family:
            send(process, signal.SIGSTOP)
        self._in(_FROZEN, lambda: [send(process, signal.SIGCONT) for process in family] and None)
        return True

    def _beat(self) -> bool:
        return self._killed(self.cluster.beat)

    def _redis(self) -> bool:
        return self._killed(self.cluster.redis)

    def _postgresql(self) -> bool:
        return self._killed(self.cluster.postgresql)

    def _session(self) -> bool:
        """PostgreSQL answers the death of a session by throwing all others out, too."""
        number = self.cluster.postgresql.number
        found = [one for one in children(number) if _is_session(one)] if number else []
        if found:
            send(self.chance.choice(found), signal.SIGKILL)
        return bool(found)

    def _connections(self) -> bool:
        self.cluster.wires[self.chance.choice(PARTNERS)].cut()
        return True

    def _network(self) -> bool:
        wire = self.cluster.wires[self.chance.choice(PARTNERS)]
        wire.pull()
        self._in(_AWAY, wire.plug)
        return True

    def _unseen(self) -> bool:
        """A worker dies between the partner's acceptance and our record of it."""
        one = self.cluster.wires[self.chance.choice(PARTNERS)]
        before = self._changes()
        one.hold()
        seen = bool(until(lambda: self._changes() > before, _SEEN))
        died = seen and self._killed(self._someone())
        one.let_go()
        return died

    def _changes(self) -> int:
        found = self.cluster.control("journal")["requests"]
        return sum(entry["operation"] in ("add", "remove") for entry in found)

    def _fault(self) -> bool:
        wish = dict(self.chance.choice(FAULTS))
        wish["partner"] = self.chance.choice(PARTNERS)
        wish["operation"] = self.chance.choice(("add", "remove", "*"))
        self.cluster.control("faults", **wish, times=self.chance.randint(1, 3))
        return True

    def _customers(self) -> bool:
        self.cluster.shop.change(0.02)
        self.cluster.ask()
        return True


def _is_session(number: int) -> bool:
    try:
        return b"tests postgres" in Path(f"/proc/{number}/cmdline").read_bytes()
    except OSError:
        return False


KINDS: Mapping[str, Callable[[Mishaps], bool]] = {
    "worker": Mishaps._worker,
    "worker, its children left": Mishaps._parent,
    "one child of a worker": Mishaps._child,
    "worker frozen": Mishaps._frozen,
    "worker stopped by SIGTERM": Mishaps._stopped,
    "worker, its answers unseen": Mishaps._unseen,
    "beat": Mishaps._beat,
    "Redis": Mishaps._redis,
    "PostgreSQL": Mishaps._postgresql,
    "one session of PostgreSQL": Mishaps._session,
    "connections to a partner": Mishaps._connections,
    "network of a partner": Mishaps._network,
    "fault at a partner": Mishaps._fault,
    "customers changed": Mishaps._customers,
}
WEIGHTS: Mapping[str, int] = dict.fromkeys(KINDS, 2) | {
    "fault at a partner": 4,
    "worker, its answers unseen": 4,
    "worker frozen": 1,
    "worker stopped by SIGTERM": 1,
}
