"""Commands in processes of their own, as loud as can be, and what they leave in servers."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote, urlsplit

import psycopg
import redis
from redteam.attack import Attack
from redteam.search import Hit
from redteam.target import SECRETS
from shop import PATIENCE, ROOT

T = TypeVar("T")
LOUD = ("-m", "redteam.loud")
LIMIT = "Max core file size"


def _with_cores() -> None:
    """As on a machine where a crash leaves the memory of its process on disk."""
    with suppress(ValueError):  # not everybody may raise it
        resource.setrlimit(resource.RLIMIT_CORE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))


@dataclass
class Processes:
    """The processes of one attack; what they say is kept in files of their own."""

    attack: Attack
    running: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    def start(self, name: str, *words: str, **environment: str) -> subprocess.Popen[bytes]:
        """Run a command in the project's folder."""
        root, folder = self.attack.root, self.attack.target.folder
        kept = root / "gone"
        kept.mkdir(exist_ok=True)
        path = os.pathsep.join(map(str, (ROOT, ROOT / "tests", ROOT / "tests/acceptance")))
        with (root / f"said by {name}").open("ab") as said:
            process = subprocess.Popen(  # noqa: S603 - our own interpreter and words
                [sys.executable, *LOUD, str(root), str(kept), *words],
                cwd=folder,
                env={**os.environ, "PYTHONPATH": path, **environment},
                stdout=said,
                stderr=said,
                start_new_session=True,  # it can be killed with its children
                preexec_fn=_with_cores,  # noqa: PLW1509 - it only sets a limit
            )
        self.running[name] = process
        return process

    def said(self, name: str) -> str:
        """What a process has said by now."""
        return (self.attack.root / f"said by {name}").read_text(errors="replace")

    def until(self, found: Callable[[], T]) -> T:
        """What is found, looked for until it is something."""
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end:
            if answer := found():
                return answer
            time.sleep(0.05)
        said = "\n".join(self.said(name)[-3000:] for name in self.running)
        raise AssertionError(f"waited in vain\n{said}")

    def leaves_no_core(self, name: str) -> bool:
        """Whether a crash of the process, and of its children, would leave no memory on disk."""
        number = self.running[name].pid
        children = Path(f"/proc/{number}/task/{number}/children").read_text().split()
        limits = [Path(f"/proc/{one}/limits").read_text() for one in (number, *children)]
        found = [line.split()[4] for text in limits for line in text.splitlines() if LIMIT in line]
        return set(found) == {"0"}

    def end(self, name: str) -> int:
        """Its exit code after SIGTERM."""
        self.running[name].terminate()
        return self.running[name].wait(PATIENCE)

    def kill(self, name: str) -> None:
        """SIGKILL for it and its children."""
        with suppress(ProcessLookupError):
            os.killpg(self.running[name].pid, signal.SIGKILL)
        self.running[name].wait(PATIENCE)


@contextmanager
def processes(attack: Attack) -> Iterator[Processes]:
    """None of them outlives the block."""
    made = Processes(attack)
    try:
        yield made
    finally:
        for name, process in made.running.items():
            if process.poll() is None:
                made.kill(name)


@contextmanager
def redis_with_password(url: str) -> Iterator[str]:
    """The same Redis under a user whose password is a canary."""
    password = SECRETS["REDIS_PASSWORD"]
    with redis.Redis.from_url(url) as client:
        client.acl_setuser(
            "redteam", enabled=True, passwords=[f"+{password}"], keys=["*"], channels=["*"],
            commands=["+@all"],
        )  # fmt: skip
        try:
            yield (
                urlsplit(url)
                ._replace(netloc=f"redteam:{quote(password)}@{urlsplit(url).netloc}")
                .geturl()
            )
        finally:
            client.acl_deluser("redteam")


@contextmanager
def overheard(url: str) -> Iterator[list[bytes]]:
    """Every command that Redis is given meanwhile, and at the end every key that it holds."""
    heard: list[bytes] = []
    listening, client = redis.Redis.from_url(url, socket_timeout=None), redis.Redis.from_url(url)
    with listening, client, listening.monitor() as monitor:

        def listen() -> None:
            while b"that is all" not in (told := bytes(monitor.connection.read_response())):
                heard.append(told)

        listener = threading.Thread(target=listen)
        listener.start()
        try:
            yield heard
        finally:
            client.echo("that is all")
            listener.join(PATIENCE)
            for key in client.scan_iter("*"):
                found: Any = client.dump(key)
                heard.extend((key, found or b""))


def rows_of(url: str) -> dict[str, bytes]:
    """Every table of a PostgreSQL database, as text and as it is kept."""
    found: dict[str, bytes] = {}
    with psycopg.connect(url.replace("+psycopg", "")) as connection:
        tables = connection.execute(
            "SELECT table_schema || '.' || quote_ident(table_name) FROM information_schema.tables "
            "WHERE table_schema NOT IN ('pg_catalog', 'information_schema')"
        ).fetchall()
        for (table,) in tables:
            for form in ("text", "binary"):
                copied = f"COPY {table} TO STDOUT (FORMAT {form})"
                with connection.cursor().copy(copied.encode()) as rows:
                    found[f"{table} as {form}"] = b"".join(bytes(row) for row in rows)
    return found


def hits_in(attack: Attack, texts: dict[str, bytes]) -> list[Hit]:
    """What stands in these texts."""
    needles = attack.needles
    return [hit for name, text in texts.items() for hit in needles.hits(name, text)]
