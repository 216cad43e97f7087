"""Private PostgreSQL and Redis servers for the tests: own port, own folder, gone afterwards."""

from __future__ import annotations

import contextlib
import json
import os
import pwd
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

_PATIENCE = 30.0  # seconds for a server to start; its guard gives it as many to stop
_TRIES = 3  # another program may take the free port first
_LOOPBACK = "127.0.0.1"
_GUARD = Path(__file__).with_name("server_guard.py")


class MissingServerError(Exception):
    """A server that the tests need cannot be had; the message says what to install."""


@contextlib.contextmanager
def postgresql() -> Iterator[str]:
    """A fresh PostgreSQL server; the URL of its maintenance database."""
    with _folder() as folder:
        account = _account_for(folder)
        cluster = initialised(folder, account)

        def command(port: int) -> list[str]:
            return postgresql_command(cluster, port, synchronous_commit="off")

        with _running(command, folder, _answers_postgresql, account) as port:
            yield f"postgresql+psycopg://tests@{_LOOPBACK}:{port}/postgres"


def initialised(folder: Path, account: dict[str, Any]) -> Path:
    """A new PostgreSQL cluster in a folder."""
    binaries, cluster = _postgresql_binaries(), folder / "cluster"
    initdb = [binaries / "initdb", "--pgdata", cluster, "--username=tests", "--auth=trust"]
    made = subprocess.run(  # noqa: S603 - Debian's own binary, our own words
        [*initdb, "--encoding=UTF8", "--locale=C", "--no-sync"],
        capture_output=True,
        cwd=folder,
        check=False,
        **account,
    )
    if made.returncode != 0:
        raise MissingServerError(f"initdb in {binaries} failed; reinstall `postgresql`")
    return cluster


def postgresql_command(cluster: Path, port: int, *, synchronous_commit: str) -> list[str]:
    """What starts a server; it may lose what a power cut takes, since no test cuts the power."""
    settings = (
        *("fsync=off", "full_page_writes=off", f"synchronous_commit={synchronous_commit}"),
        *(f"listen_addresses={_LOOPBACK}", f"port={port}"),
        f"unix_socket_directories={cluster.parent}",
    )
    words = [word for setting in settings for word in ("-c", setting)]
    return [str(_postgresql_binaries() / "postgres"), "-D", str(cluster), *words]


@contextlib.contextmanager
def redis() -> Iterator[str]:
    """A fresh Redis server that keeps nothing on disk; its URL."""
    binary = shutil.which("redis-server")
    if binary is None:
        raise MissingServerError("there is no redis-server: run `apt-get install redis-server`")
    with _folder() as folder:

        def command(port: int) -> list[str]:
            own = ["--bind", _LOOPBACK, "--port", str(port), "--dir", str(folder)]
            return [binary, *own, "--save", "", "--appendonly", "no"]

        with _running(command, folder, _answers_redis, {}) as port:
            yield f"redis://{_LOOPBACK}:{port}/0"


def _postgresql_binaries() -> Path:
    found = [path.parent for path in Path("/usr/lib/postgresql").glob("*/bin/initdb")]
    if found:
        return max(found, key=lambda path: int(path.parent.name))
    on_path = shutil.which("initdb")
    if on_path is None:
        raise MissingServerError("there is no PostgreSQL server: run `apt-get install postgresql`")
    return Path(on_path).resolve().parent


def _account_for(folder: Path) -> dict[str, Any]:
    """Who runs the server: PostgreSQL refuses root, so root lends its folder to another account."""
    if os.geteuid() != 0:
        return {}
    try:
        account = pwd.getpwnam("postgres")
    except KeyError:
        account = pwd.getpwnam("nobody")
    os.chown(folder, account.pw_uid, account.pw_gid)
    return {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": []}


@contextlib.contextmanager
def _folder() -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="audience-sync-tests-"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def _running(
    command: Callable[[int], list[str]],
    folder: Path,
    answers: Callable[[int], bool],
    account: dict[str, Any],
) -> Iterator[int]:
    for _ in range(_TRIES):
        port = _free_port()
        guard = _guarded(command(port), folder, account)
        try:
            if _started(guard, port, answers):
                yield port
                return
            if guard.poll() is None:
                break  # it runs and does not answer: another port would not help
        finally:
            _stop(guard)
    raise MissingServerError(f"{Path(command(0)[0]).name} does not start; try it by hand")


def _guarded(command: list[str], folder: Path, account: dict[str, Any]) -> subprocess.Popen[bytes]:
    told = json.dumps({"command": command, "folder": str(folder), "account": account})
    with (folder / "log").open("ab") as log:
        return subprocess.Popen(  # noqa: S603 - our own interpreter and words
            [sys.executable, "-I", "-S", str(_GUARD), told],
            stdout=log,
            stderr=log,
            stdin=subprocess.PIPE,  # its end, however it comes about, is the order to stop
            start_new_session=True,  # Ctrl-C is for pytest, which then stops us
        )


def _started(guard: subprocess.Popen[bytes], port: int, answers: Callable[[int], bool]) -> bool:
    end = time.monotonic() + _PATIENCE
    while time.monotonic() < end and guard.poll() is None:
        with contextlib.suppress(OSError):
            if answers(port):
                return True
        time.sleep(0.02)
    return False


def _stop(guard: subprocess.Popen[bytes]) -> None:
    assert guard.stdin is not None
    guard.stdin.close()
    guard.wait(2 * _PATIENCE)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((_LOOPBACK, 0))
        return int(probe.getsockname()[1])


def _answers_redis(port: int) -> bool:
    with socket.create_connection((_LOOPBACK, port), timeout=1) as connection:
        connection.sendall(b"PING\r\n")
        return connection.recv(5) == b"+PONG"


def _answers_postgresql(port: int) -> bool:
    """Ask for a session as `tests`; an authentication answer means that it takes sessions."""
    asked = b"\x00\x03\x00\x00user\x00tests\x00database\x00postgres\x00\x00"
    with socket.create_connection((_LOOPBACK, port), timeout=1) as connection:
        connection.sendall((len(asked) + 4).to_bytes(4, "big") + asked)
        return connection.recv(1) == b"R"
