"""The private servers of the tests themselves."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
import redis
import servers
import sqlalchemy as sa

PATIENCE = 30.0  # seconds
STARTER = """
import servers, time
with servers.{server}() as url:
    print(url, flush=True)
    time.sleep(600)
"""


def test_each_test_gets_an_empty_database(postgresql_url: str) -> None:
    """The database is new, and the driver is the one that the product uses."""
    engine = sa.create_engine(postgresql_url)
    with engine.connect() as connection:
        assert engine.driver == "psycopg"
        assert sa.inspect(connection).get_table_names() == []
    engine.dispose()


def test_the_server_stores_utf8(postgresql_url: str) -> None:
    """As production servers do; names of audiences are not ASCII."""
    url = sa.make_url(postgresql_url).set(drivername="postgresql")
    with psycopg.connect(url.render_as_string(hide_password=False)) as connection:
        assert connection.info.parameter_status("server_encoding") == "UTF8"


def test_redis_is_empty_and_answers(redis_url: str) -> None:
    """Nothing is left from a test before."""
    with redis.Redis.from_url(redis_url) as client:
        assert client.dbsize() == 0
        client.set("left", "behind")


def test_redis_is_empty_again(redis_url: str) -> None:
    """Not even from the one just before."""
    with redis.Redis.from_url(redis_url) as client:
        assert client.dbsize() == 0


@pytest.fixture
def folder() -> Iterator[Path]:
    """An empty folder; when root runs the tests, PostgreSQL's own account may look into it."""
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        yield Path(name)


@pytest.mark.postgres
@pytest.mark.redis
@pytest.mark.parametrize("server", ["postgresql", "redis"])
def test_no_server_outlives_the_tests(server: str, folder: Path) -> None:
    """Not even when they are killed: the server stops, and its folder is gone."""
    command = [sys.executable, "-c", STARTER.format(server=server)]
    here = {"PYTHONPATH": str(Path(servers.__file__).parent), "TMPDIR": str(folder)}
    with subprocess.Popen(  # noqa: S603 - our own interpreter and words
        command, stdout=subprocess.PIPE, env={**os.environ, **here}, text=True
    ) as starter:
        assert starter.stdout is not None
        port = sa.make_url(starter.stdout.readline().strip()).port
        assert port is not None
        assert _answers(port)
        assert list(folder.iterdir()) != []
        starter.kill()

    end = time.monotonic() + PATIENCE
    while (_answers(port) or list(folder.iterdir())) and time.monotonic() < end:
        time.sleep(0.02)
    assert not _answers(port)
    assert list(folder.iterdir()) == []


def _answers(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True
