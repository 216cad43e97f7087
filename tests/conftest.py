"""What every test may ask for: an own PostgreSQL database, an empty Redis, no settings.

Each worker of pytest-xdist starts servers of its own when its first test asks for one: that takes
less than a second, and nothing has to be shared.
"""

from __future__ import annotations

import gc
import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import psycopg
import pytest
import redis
import servers
import sqlalchemy as sa
from hypothesis import HealthCheck, settings

pytest.register_assert_rewrite("ledger_contract")

# The machine is shared: a slow moment is no finding.
_EXAMPLES = int(os.environ.get("AUDIENCE_SYNC_TEST_EXAMPLES", "50"))  # where a test names no number
settings.register_profile(
    "project",
    deadline=None,
    max_examples=_EXAMPLES,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("project")

_MARKED_BY = {
    "postgresql_url": "postgres",
    "postgresql_module_url": "postgres",
    "redis_url": "redis",
}


# Before anybody imports polars: processes that share the cores need no threads for each, which
# cost a tenth of the time. A worker's processes are told the same.
if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ.setdefault("POLARS_MAX_THREADS", "1")


# A ledger and its state wait for the disk at every change, thousands of times in these tests.
_MEMORY = Path("/dev/shm")  # noqa: S108 - pytest makes a folder of its own in it
_ROOM = 2 << 30
if _MEMORY.is_dir() and shutil.disk_usage(_MEMORY).free > _ROOM:
    os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", str(_MEMORY))


def pytest_sessionstart() -> None:
    """Nobody's terminal decides how wide a command prints; processes of pytest-xdist claim one."""
    os.environ.pop("COLUMNS", None)


def pytest_collection_finish() -> None:
    """Modules and tests stay to the end; looking through them for rubbish takes a tenth."""
    gc.freeze()
    gc.set_threshold(20_000, 20, 100)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the tests that use a server, so that `-m "not postgres"` leaves them out."""
    for item in items:
        for fixture in set(_MARKED_BY) & set(getattr(item, "fixturenames", ())):
            item.add_marker(_MARKED_BY[fixture])


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """No test sees the settings of the person who runs it."""
    for name in list(os.environ):
        if name.startswith("AUDIENCE_SYNC_") and not name.startswith("AUDIENCE_SYNC_TEST_"):
            monkeypatch.delenv(name)


@pytest.fixture(scope="session")
def _postgresql_server() -> Iterator[sa.URL]:
    given = os.environ.get("AUDIENCE_SYNC_TEST_POSTGRESQL_URL")
    if given:
        yield sa.make_url(given).set(drivername="postgresql+psycopg")
        return
    try:
        with servers.postgresql() as url:
            yield sa.make_url(url)
    except servers.MissingServerError as missing:
        pytest.fail(str(missing), pytrace=False)


@pytest.fixture
def postgresql_url(_postgresql_server: sa.URL) -> Iterator[str]:
    """A new, empty database: `postgresql+psycopg://…`; it is dropped after the test."""
    with _new_database(_postgresql_server) as url:
        yield url


@pytest.fixture(scope="module")
def postgresql_module_url(_postgresql_server: sa.URL) -> Iterator[str]:
    """The same for all tests of a module, which then tidy up themselves."""
    with _new_database(_postgresql_server) as url:
        yield url


@contextmanager
def _new_database(server: sa.URL) -> Iterator[str]:
    name = f"test_{uuid.uuid4().hex[:12]}"
    maintenance = server.set(drivername="postgresql").render_as_string(hide_password=False)
    with psycopg.connect(maintenance, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
        try:
            yield server.set(database=name).render_as_string(hide_password=False)
        finally:
            connection.execute(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture(scope="session")
def _redis_server() -> Iterator[str]:
    given = os.environ.get("AUDIENCE_SYNC_TEST_REDIS_URL")
    if given:
        yield _own_database(given)
        return
    try:
        with servers.redis() as url:
            yield url
    except servers.MissingServerError as missing:
        pytest.fail(str(missing), pytrace=False)


def _own_database(url: str) -> str:
    """A database of the given server for each worker of pytest-xdist, which empties it."""
    told = urlsplit(url)
    worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    return told._replace(path=f"/{int(told.path.strip('/') or 0) + worker}").geturl()


@pytest.fixture
def redis_url(_redis_server: str) -> str:
    """An empty Redis database: `redis://…`."""
    with redis.Redis.from_url(_redis_server) as client:
        client.flushdb()
    return _redis_server
