"""Who answers Ctrl-C while modules are loaded."""

from __future__ import annotations

import signal
from collections.abc import Iterator

import pytest

from audience_sync.cli.loading import loading


@pytest.fixture(autouse=True)
def _before() -> Iterator[None]:
    before = signal.getsignal(signal.SIGINT)
    yield
    signal.signal(signal.SIGINT, before)


def test_no_exception_is_raised_into_a_module_that_is_half_loaded() -> None:
    """Compiled ones drop it, or crash; afterwards Ctrl-C is answered as before."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    with loading():
        assert signal.getsignal(signal.SIGINT) is not signal.default_int_handler
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


@pytest.mark.parametrize("answer", [signal.SIG_IGN, lambda *_: None])
def test_whoever_answers_it_otherwise_goes_on(answer: signal.Handlers) -> None:
    """A process in the background ignores it."""
    signal.signal(signal.SIGINT, answer)
    with loading():
        assert signal.getsignal(signal.SIGINT) is answer
