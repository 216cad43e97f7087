"""Which keys a state knows is asked while other processes write theirs, or died over it."""

from __future__ import annotations

from pathlib import Path

import pytest

from audience_sync.checking import (
    Doubt,
    fingerprint_mark,
    know_fingerprint_key,
    know_state_keys,
    look_at_ledger,
    order_key,
    state_mark,
)
from audience_sync.errors import ConfigurationError
from audience_sync.ledger.ledger import Ledger
from audience_sync.membership.location import StateLocation, open_location
from audience_sync.membership.sealed import Keyring

KEY, OTHER = b"k" * 32, b"o" * 32
KEYRING = Keyring("first", {"first": KEY})


@pytest.fixture
def location(tmp_path: Path) -> StateLocation:
    return open_location(str(tmp_path / "state"))


@pytest.mark.parametrize("mark", [fingerprint_mark(KEY), fingerprint_mark(OTHER)])
def test_a_mark_that_is_only_half_there_is_none(location: StateLocation, mark: str) -> None:
    """A first process that is at it, or was killed over it, locks nobody out of the state."""
    with location.create(f"keys/{mark}"):
        know_fingerprint_key(location, [KEY], keep=True)

    know_fingerprint_key(location, [KEY], keep=False)


def test_a_wrong_fingerprint_key_is_refused(location: StateLocation) -> None:
    """Once a mark stands there whole, it decides."""
    know_fingerprint_key(location, [KEY], keep=True)

    with pytest.raises(ConfigurationError, match="not the one that this state began with"):
        know_fingerprint_key(location, [OTHER], keep=True)


def test_half_a_mark_locks_no_state_key_out(location: StateLocation, tmp_path: Path) -> None:
    """The same for the keys that encrypt, and for the one that knows orders."""
    with Ledger.open(f"sqlite:///{tmp_path}/ledger.sqlite") as ledger:
        with (
            location.create(f"state-keys/{state_mark('first', OTHER)}"),
            location.create(f"order-key/{fingerprint_mark(OTHER)}"),
        ):
            know_state_keys(ledger, location, KEYRING, keep=True)
            assert order_key(ledger, location, [KEY], keep=False) == KEY
        assert not list((tmp_path / "state").rglob("*.part"))


@pytest.mark.parametrize("folder", ["lists", "withdrawals"])
def test_a_ledger_that_knows_nothing_of_the_state_is_doubted(
    location: StateLocation, tmp_path: Path, folder: str
) -> None:
    """One that was emptied opens like a new one, and the next sync would begin anew."""
    with Ledger.open(f"sqlite:///{tmp_path}/ledger.sqlite") as ledger:
        assert look_at_ledger(ledger, location) == "0 lists known"
        with location.create(f"{folder}/one") as file:
            file.write(b"sealed")
        found = look_at_ledger(ledger, location)

    assert isinstance(found, Doubt)
    assert f"the state holds files under {folder}: the ledger was lost" in found.detail
    assert "from one backup before anything is synced" in found.detail


def test_what_a_dry_run_leaves_is_no_lost_ledger(location: StateLocation, tmp_path: Path) -> None:
    """The folder of a list stays when its plan is dropped, and a first `check` comes after it."""
    place = "lists/meta-se/everyone"
    with location.create(f"{place}/r1/0.sealed") as file:
        file.write(b"sealed")
    location.delete(f"{place}/r1")
    with Ledger.open(f"sqlite:///{tmp_path}/ledger.sqlite") as ledger:
        assert look_at_ledger(ledger, location) == "0 lists known"
        with location.create(f"{place}/r2/0.sealed") as file:
            file.write(b"sealed")
        assert isinstance(look_at_ledger(ledger, location), Doubt)
