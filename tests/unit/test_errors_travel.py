"""Errors cross process borders whole: one that cannot be unpickled would kill a worker."""

from __future__ import annotations

import pickle
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

import pytest

import audience_sync.delivery.circuit
import audience_sync.runs.batch_states
import audience_sync.stopping
from audience_sync.errors import AudienceSyncError, PartnerError, RefusedError
from audience_sync.errors import TemporaryPartnerError as Temporary


def _tree(kind: type[AudienceSyncError]) -> Iterator[type[AudienceSyncError]]:
    if kind.__module__.startswith(("audience_sync.", "connectors.")):
        yield kind
    for child in kind.__subclasses__():
        yield from _tree(child)


def _made(kind: type[AudienceSyncError]) -> AudienceSyncError:
    if issubclass(kind, Temporary):
        return kind("wait", 429, "17", 90.0)
    if issubclass(kind, RefusedError):
        return kind("no", 400, "100", (3, 5))
    if issubclass(kind, PartnerError):
        return kind("no", 401, "190")
    return kind("one sentence")


def _fail(error: AudienceSyncError) -> None:
    raise error


KINDS = sorted(set(_tree(AudienceSyncError)), key=lambda kind: kind.__qualname__)


def test_private_errors_are_found_too() -> None:
    """The list below is the whole tree, in whatever module a branch grows."""
    assert {
        audience_sync.stopping.StoppedError,
        audience_sync.delivery.circuit.WithheldError,
        audience_sync.runs.batch_states.UnaccountedError,
    } <= set(KINDS)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__qualname__)
def test_every_error_survives_pickling(kind: type[AudienceSyncError]) -> None:
    """With its sentence, its status and code, its wait and its rows."""
    error = _made(kind)
    copied = pickle.loads(pickle.dumps(error))  # noqa: S301 - our own object

    assert type(copied) is kind
    assert (str(copied), copied.args, vars(copied)) == (str(error), error.args, vars(error))


def test_an_error_comes_back_from_another_process() -> None:
    """As Celery's pool and ours bring it."""
    error = audience_sync.delivery.circuit.WithheldError("wait", retry_after=90.0)
    with (
        ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool,
        pytest.raises(audience_sync.delivery.circuit.WithheldError) as caught,
    ):
        pool.submit(_fail, error).result()
    assert caught.value.retry_after == 90.0
