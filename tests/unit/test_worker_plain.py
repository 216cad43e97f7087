"""What a worker says while Redis is away: one sentence, of ours."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator

import pytest
from celery import beat
from celery.exceptions import CPendingDeprecationWarning, SecurityWarning
from celery.platforms import ROOT_DISCOURAGED
from celery.worker.consumer import consumer

from audience_sync.worker import plain

URL = "redis://:**@canary.example:6379/0"
REFUSED = ConnectionRefusedError("Error 111 connecting to canary.example")


@pytest.fixture(autouse=True)
def spoken() -> Iterator[None]:
    """Plain words in this test alone."""
    with warnings.catch_warnings():
        plain.speak_plainly()
        yield
    for name in (consumer.logger.name, beat.logger.name):
        logging.getLogger(name).removeFilter(plain._PLAIN)


def test_a_redis_that_is_away_is_told_in_one_sentence(caplog: pytest.LogCaptureFixture) -> None:
    """Without its address and without Celery's words; whatever else is said stays as it is."""
    step = consumer.CONNECTION_RETRY_STEP.format(when="in 2.00 seconds", retries=1, max_retries=0)
    consumer.error(consumer.CONNECTION_ERROR, URL, REFUSED, step)
    beat.error("beat: Connection error: %s. Trying again in %s seconds...", REFUSED, 2)
    consumer.warn("%s (%r)", consumer.CONNECTION_RETRY, REFUSED)
    consumer.error("Something else, %s", 7)

    away = (
        "Redis cannot be reached (ConnectionRefusedError); "
        "it is asked again every few seconds until it answers"
    )
    lost = "The connection to Redis was lost; it is made anew"
    assert caplog.messages == [away, away, lost, "Something else, 7"]
    assert {record.name for record in caplog.records[:3]} == {"audience_sync.worker"}


def test_only_the_two_warnings_that_help_nobody_are_left_out() -> None:
    """Others of the same classes are heard."""
    warnings.warn(consumer.CANCEL_TASKS_BY_DEFAULT, CPendingDeprecationWarning, stacklevel=1)
    root = ROOT_DISCOURAGED.format(uid=0, euid=0, gid=0, egid=0)
    warnings.warn(SecurityWarning(root), stacklevel=1)

    for category in (CPendingDeprecationWarning, SecurityWarning):
        with pytest.warns(category, match="another"):
            warnings.warn("another", category, stacklevel=1)


@pytest.mark.parametrize(("user", "told"), [(0, 1), (1000, 0)])
def test_a_worker_as_root_is_told_of(
    user: int, told: int, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """In one line, which advises no option that there is not."""
    monkeypatch.setattr("os.geteuid", lambda: user)

    plain.warn_of_root()

    assert len(caplog.messages) == told
    assert all(" root; " in message and "--uid" not in message for message in caplog.messages)
