"""A client keeps credentials where it was told to, and nowhere else."""

from __future__ import annotations

import pickle
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from audience_sync.connector import ConfigurationError
from audience_sync.delivery.client import HttpPartnerClient
from audience_sync.testing.builders import KeptInMemory

PLACE: dict[str, str] = {}


@contextmanager
def _kept(name: str) -> Iterator[KeptInMemory]:
    yield KeptInMemory(PLACE, name)


def test_a_client_keeps_in_the_place_that_it_was_given() -> None:
    """The place sees the name, the client sees no more than the block does."""
    client = HttpPartnerClient("https://partner.example", kept=_kept)
    with client.kept("tokens") as kept:
        kept.keep("canary")
    assert PLACE == {"tokens": "canary"}


def test_a_client_without_a_place_keeps_nothing() -> None:
    """A token that only memory held would be lost with the process, so none is fetched."""
    bare = HttpPartnerClient("https://partner.example")
    copied = pickle.loads(pickle.dumps(HttpPartnerClient("https://a.example", kept=_kept)))  # noqa: S301 - our own object
    for client in (bare, copied):
        with pytest.raises(ConfigurationError, match="place to keep"):
            client.kept("tokens")
