"""Everything that can die: two workers, beat, Redis, PostgreSQL, and the partners' network."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import requests
import servers
from chaos.mortal import Mortal
from chaos.shop import MEMBERS, PARTNERS, ROWS, Shop
from chaos.wire import Wire, wires

from audience_sync.app import App
from audience_sync.ledger.ledger import Ledger
from audience_sync.settings import PREFIX, Settings
from audience_sync.worker.celery_app import make_celery
from audience_sync.worker.messages import SWEEP, SYNC, Message

HERE = Path(__file__).resolve().parent
_LOCAL = "127.0.0.1"
_ANSWER = 60  # seconds; on a machine that does much else


@dataclass
class Cluster:
    """The machines of one shop."""

    folder: Path
    shop: Shop
    environ: dict[str, str]
    postgresql: Mortal
    redis: Mortal
    partners: Mortal
    partners_url: str
    wires: dict[str, Wire] = field(default_factory=dict)
    workers: list[Mortal] = field(default_factory=list)
    beat: Mortal | None = None

    @property
    def processes(self) -> list[Mortal]:
        """All that may die and come back; the partners are not ours."""
        found = [self.postgresql, self.redis, *self.workers]
        return found if self.beat is None else [*found, self.beat]

    def mend(self) -> None:
        """Start whatever is dead, and let every partner be reached."""
        for process in self.processes:
            process.start()
        for wire in self.wires.values():
            wire.let_go()
            wire.plug()
        requests.delete(f"{self.partners_url}/_control/faults", timeout=_ANSWER)

    def add(self, host: str, *words: str) -> Mortal:
        """A worker or a beat on a machine of this name."""
        command = [sys.executable, "-P", "-m", "chaos.launch", host, *words]
        made = Mortal(command, self.folder / host, account={"env": self.environ})
        if words[0].endswith("beat"):
            self.beat = made
        else:
            self.workers.append(made)
        made.start()
        return made

    def ask(
        self, audiences: Sequence[str] = ("everybody", "sweden"), partner: str | None = None
    ) -> bool:
        """Ask for a sync of everything, as an operator's script does; whether Redis took it."""
        return self._send(Message(task=SYNC, args=(list(audiences), partner)))

    def nudge(self) -> bool:
        """Ask for a sweep, as beat does; whether Redis took it."""
        return self._send(Message(task=SWEEP, expires=_ANSWER))

    def _send(self, message: Message) -> bool:
        broker = self.environ[f"{PREFIX}BROKER_URL"]
        with make_celery(Settings(project=self.folder, broker_url=broker)) as celery:
            celery.conf.task_publish_retry = False
            celery.conf.broker_transport_options |= {"socket_connect_timeout": 1}
            with contextlib.suppress(Exception):
                message.send(celery)
                return True
        return False

    def open(self) -> App:
        """The project, as a command sees it."""
        return App.open(self.folder)

    def control(self, path: str, **wish: Any) -> Any:
        """Ask the partners, or tell them what to do."""
        url = f"{self.partners_url}/_control/{path}"
        answer = requests.post(url, json=wish, timeout=_ANSWER) if wish else None
        answer = answer or requests.get(url, timeout=_ANSWER)
        answer.raise_for_status()
        return answer.json()

    def keep_redis(self, keeps: bool) -> None:
        """Redis from now on with or without a file; what an old file says comes back."""
        self.redis.kill()
        self.redis.command[-1] = "yes" if keeps else "no"
        self.redis.start()


@contextmanager
def cluster(
    folder: Path,
    shop: Shop,
    *,
    workers: int = 2,
    concurrency: int = 2,
    parallel: int = 8,
    members: int = MEMBERS,
    split: int = ROWS,
    scheduled: bool = True,
) -> Iterator[Cluster]:
    """A cluster that runs, and of which nothing is left at the end."""
    with ExitStack() as stack:
        postgresql, database = stack.enter_context(_postgresql())
        redis, broker = stack.enter_context(_redis(folder))
        port = servers._free_port()
        partners = stack.enter_context(_partners(folder, port))
        found = stack.enter_context(wires(port, len(PARTNERS)))
        urls = {name: f"http://{_LOCAL}:{w.port}" for name, w in zip(PARTNERS, found, strict=True)}
        shop.write_project(urls, parallel=parallel, members=members, scheduled=scheduled)
        environ = {name: value for name, value in os.environ.items() if _is_foreign(name)} | {
            f"{PREFIX}PROJECT": str(folder),
            f"{PREFIX}DATABASE_URL": database,
            f"{PREFIX}BROKER_URL": broker,
            f"{PREFIX}SPLIT_ROWS": str(split),
            "PYTHONPATH": os.pathsep.join((str(HERE.parent), str(HERE.parent.parent))),
            "POLARS_MAX_THREADS": "1",
        }
        stack.enter_context(_environment(environ))
        made = Cluster(
            folder, shop, environ, postgresql, redis, partners, f"http://{_LOCAL}:{port}"
        )
        made.wires = dict(zip(PARTNERS, found, strict=True))
        stack.callback(lambda: [one.stop() for one in (*made.workers, made.beat) if one])
        Ledger.migrate(database)
        with made.open() as app:
            _ = app.keyring_and_fingerprint_key
        for number in range(workers):
            made.add(f"host-{number + 1}", "worker", f"--concurrency={concurrency}")
        yield made


@contextmanager
def _environment(environ: Mapping[str, str]) -> Iterator[None]:
    """The same settings for this process, as long as the cluster runs."""
    ours = {name: value for name, value in environ.items() if name.startswith(PREFIX)}
    before = {name: value for name, value in os.environ.items() if name.startswith(PREFIX)}
    os.environ.update(ours)
    try:
        yield
    finally:
        for name in ours:
            del os.environ[name]
        os.environ.update(before)


def _is_foreign(name: str) -> bool:
    return not name.startswith(PREFIX)


@contextmanager
def _postgresql() -> Iterator[tuple[Mortal, str]]:
    """What a killed server has committed is there when it comes back."""
    with servers._folder() as folder, _stopped_last() as keep:
        account = servers._account_for(folder)
        port = servers._free_port()
        cluster = servers.initialised(folder, account)
        command = servers.postgresql_command(cluster, port, synchronous_commit="on")
        made = keep(
            Mortal(
                command,
                folder,
                account=account,
                answers=lambda: servers._answers_postgresql(port),
            )
        )
        made.start()
        yield made, f"postgresql+psycopg://tests@{_LOCAL}:{port}/postgres"


@contextmanager
def _redis(folder: Path) -> Iterator[tuple[Mortal, str]]:
    with _stopped_last() as keep:
        port, own = servers._free_port(), folder / "redis"
        command = ["redis-server", "--bind", _LOCAL, "--port", str(port), "--dir", str(own)]
        command += ["--save", "", "--appendonly", "no"]
        made = keep(Mortal(command, own, answers=lambda: servers._answers_redis(port)))
        made.start()
        yield made, f"redis://{_LOCAL}:{port}/0"


@contextmanager
def _partners(folder: Path, port: int) -> Iterator[Mortal]:
    with _stopped_last() as keep:
        command = [sys.executable, "-P", "-m", "chaos.launch", "partners", "partners", str(port)]
        environ = {
            **os.environ,
            "PYTHONPATH": os.pathsep.join((str(HERE.parent), str(HERE.parent.parent))),
        }

        def answers() -> bool:
            url = f"http://{_LOCAL}:{port}/_control/state"
            with contextlib.suppress(requests.RequestException):
                return requests.get(url, timeout=1).ok
            return False

        made = keep(Mortal(command, folder / "partners", account={"env": environ}, answers=answers))
        made.start()
        yield made


@contextmanager
def _stopped_last() -> Iterator[Any]:
    kept: list[Mortal] = []

    def keep(process: Mortal) -> Mortal:
        kept.append(process)
        return process

    try:
        yield keep
    finally:
        for process in kept:
            process.stop()
