"""One sandbox for all acceptance tests, emptied before each; waits for partners cost no time."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import cache, partial
from pathlib import Path
from typing import Any

import pytest
from ledger_template import spare_migrations
from prepared import PreparedShops
from redteam.attack import Attack, attacked
from redteam.target import environment
from shop import Shop, new_shop, people

from audience_sync import plugins
from audience_sync.delivery import client
from audience_sync.delivery.client import HttpPartnerClient
from audience_sync.identifiers import selftest
from audience_sync.sandbox import RunningSandbox, running_sandbox


@pytest.fixture(scope="session")
def _sandbox() -> Iterator[RunningSandbox]:
    with running_sandbox(google_processing_seconds=0.0) as sandbox:
        yield sandbox


@pytest.fixture
def sandbox(_sandbox: RunningSandbox) -> RunningSandbox:
    """Simulated partners that hold nothing yet."""
    Shop(Path(), _sandbox.url).control("reset")
    return _sandbox


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    """Retries happen as always, without the pauses between them."""
    hasty = partial(HttpPartnerClient, sleep=lambda _seconds: None)
    monkeypatch.setattr(client, "HttpPartnerClient", hasty)


_entry_points = cache(plugins.entry_points)  # nothing is installed meanwhile
_tested_once = cache(selftest._test)  # nor does any rule change


@pytest.fixture(autouse=True)
def _no_repeating(monkeypatch: pytest.MonkeyPatch) -> None:
    """What would come out the same for each command, or each new shop, is found out once."""
    monkeypatch.setattr(plugins, "entry_points", _entry_points)
    monkeypatch.setattr(selftest, "_test", lambda kind, forms: _tested_once(kind, tuple(forms)))
    spare_migrations(monkeypatch)


@pytest.fixture
def open_shop(tmp_path: Path, sandbox: RunningSandbox) -> Callable[..., Shop]:
    """A shop with these customers, two dozen ordinary ones when none are given."""

    def open_one(rows: Sequence[Sequence[Any]] | None = None, **more: Any) -> Shop:
        return new_shop(
            tmp_path / "shop", sandbox.url, people(24) if rows is None else rows, **more
        )

    return open_one


@pytest.fixture(scope="session")
def _prepared(_sandbox: RunningSandbox, tmp_path_factory: pytest.TempPathFactory) -> PreparedShops:
    return PreparedShops(_sandbox, tmp_path_factory.mktemp("prepared"))


@pytest.fixture
def synced_shop(
    tmp_path: Path, sandbox: RunningSandbox, _prepared: PreparedShops
) -> Callable[..., Shop]:
    """The same after a first sync, which is made once for all tests that ask for the same shop."""
    assert sandbox is _prepared.sandbox

    def open_one(rows: Sequence[Sequence[Any]] | None = None, **more: Any) -> Shop:
        return _prepared.open(tmp_path / "shop", people(24) if rows is None else rows, **more)

    return open_one


@pytest.fixture
def attack(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Attack]:
    """A shop whose every value is a canary, and own folders for what might be written elsewhere."""
    for name, value in environment().items():
        monkeypatch.setenv(name, value)
    for name in ("HOME", "TMPDIR", "XDG_CACHE_HOME"):
        folder = tmp_path / name.lower()
        folder.mkdir()
        monkeypatch.setenv(name, str(folder))
    monkeypatch.chdir(tmp_path / "home")
    with attacked(tmp_path) as found:
        yield found
