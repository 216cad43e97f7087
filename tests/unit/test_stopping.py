"""Who answers Ctrl-C: Python alone, whatever listens to it once it was imported."""

from __future__ import annotations

import ctypes
import re
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from audience_sync.app import App
from audience_sync.errors import ConfigurationError
from audience_sync.stopping import listen_alone

HANDLER = ctypes.CFUNCTYPE(None, ctypes.c_int)
_somebody = HANDLER(lambda _number: None)


@pytest.fixture
def ignored() -> Iterator[None]:
    """A process that ignores Ctrl-C, as a worker's child, until a library listens to it."""
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    assert _is_ignored()
    ctypes.CDLL(None).signal(int(signal.SIGINT), _somebody)
    assert not _is_ignored()
    yield
    signal.signal(signal.SIGINT, before)


def _is_ignored() -> bool:
    """As the system has it."""
    found = re.search(r"SigIgn:\s*(\w+)", Path("/proc/self/status").read_text())
    assert found is not None
    return bool(int(found[1], 16) & 1 << signal.SIGINT - 1)


@pytest.mark.usefixtures("ignored")
def test_what_was_ignored_is_ignored_again() -> None:
    """Else Ctrl-C would end what a worker's child is to finish."""
    listen_alone()
    assert _is_ignored()
    assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN


@pytest.mark.usefixtures("ignored")
def test_whoever_opens_a_project_listens_alone(tmp_path: Path) -> None:
    """By then all libraries are loaded."""
    with pytest.raises(ConfigurationError):
        App.open(tmp_path / "audience-sync.yaml")
    assert _is_ignored()
