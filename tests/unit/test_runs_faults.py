"""A plugin that falls over stops its own list only, and its words are told to nobody (L10)."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pytest
from pipeline_world import World, digest, fast_folder, granted

from audience_sync.errors import AudienceSyncError, TemporaryPartnerError
from audience_sync.ledger.records.runs import RunState

CANARY = "anna.canary@example.com"


def world() -> World:
    here = World(fast_folder())
    here.write([granted("1", email="anna@example.com")])
    return here


def fall_over(*_arguments: Any, **_options: Any) -> Any:
    raise KeyError(CANARY)


@pytest.mark.parametrize("where", ["ensure_audience", "open", "add", "close"])
def test_a_plugins_mistake_fails_the_run(where: str, caplog: pytest.LogCaptureFixture) -> None:
    """The run ends as failed, says whose mistake it is, and the next sync starts afresh."""
    here = world()
    real = getattr(here.partner, where)
    setattr(here.partner, where, fall_over)
    with caplog.at_level(logging.DEBUG):
        outcome = here.sync()
    assert outcome.error is None
    assert outcome.run is not None
    assert outcome.run.state is RunState.FAILED
    assert outcome.run.reason == (
        "the connector memory stopped with a KeyError; report this to its author"
    )
    assert f"{Path(__file__).name}:" in caplog.text
    _untold(caplog)
    setattr(here.partner, where, real)
    assert here.ran().state is RunState.CONFIRMED
    assert here.partner.holds == {digest("anna@example.com")} == here.held()


def test_a_mistake_while_closing_does_not_hide_the_error_before() -> None:
    """The partner asked us to wait: the run stays open, whatever closing does then."""
    here = world()

    def busy(_when: str, _operation: str) -> None:
        raise TemporaryPartnerError("not now", 503)

    here.partner.fault = busy
    here.partner.close = fall_over
    outcome = here.sync()
    assert isinstance(outcome.error, TemporaryPartnerError)
    assert outcome.run is not None
    assert outcome.run.state is RunState.DELIVERING


def test_our_own_mistake_is_told_by_place_alone(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No traceback travels into a log, since its last line could be an identifier."""
    here = world()
    monkeypatch.setattr(here, "link", fall_over)
    with caplog.at_level(logging.DEBUG):
        error = here.sync().error
    assert isinstance(error, AudienceSyncError)
    assert "KeyError" in str(error)
    assert "KeyError in" in caplog.text
    _untold(caplog)


def _untold(caplog: pytest.LogCaptureFixture) -> None:
    assert CANARY not in caplog.text
    assert all(record.exc_info is None for record in caplog.records)
