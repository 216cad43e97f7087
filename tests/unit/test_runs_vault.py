"""A destination's credentials: encrypted, durable, and in one hand at a time."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from membership_model import keyring

from audience_sync.errors import BusyError, StateError, TemporaryPartnerError
from audience_sync.ledger.ledger import Ledger
from audience_sync.membership.location import FolderLocation
from audience_sync.membership.sealed import Keyring
from audience_sync.runs.vault import PATIENCE, Vault

CANARY = "pinr.canary-refresh-token"


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    with Ledger.open(f"sqlite:///{tmp_path}/ledger.sqlite") as opened:
        yield opened


def _vault(
    ledger: Ledger,
    folder: Path,
    ring: Keyring | None = None,
    *,
    destination: str = "pinterest-se",
    living: bool = True,
    slept: list[float] | None = None,
) -> Vault:
    return Vault(
        destination=destination,
        ledger=ledger,
        location=FolderLocation(folder / "state"),
        keyring=ring or keyring(),
        holder="me",
        alive=lambda _holder: living,
        sleep=(slept if slept is not None else []).append,
    )


def test_what_is_kept_is_found_again(ledger: Ledger, tmp_path: Path) -> None:
    """By the next process too; another name or destination has another credential."""
    vault = _vault(ledger, tmp_path)
    with vault.kept("tokens") as kept:
        assert kept.value is None
        kept.keep("first")
        kept.keep(CANARY)
        assert kept.value == CANARY
    with _vault(ledger, tmp_path).kept("tokens") as kept:
        assert kept.value == CANARY
    with vault.kept("other") as kept:
        assert kept.value is None
    with _vault(ledger, tmp_path, destination="pinterest-no").kept("tokens") as kept:
        assert kept.value is None


def test_nothing_on_the_disk_shows_it(ledger: Ledger, tmp_path: Path) -> None:
    """Not in the state, not in the ledger, and no repr prints it (L10)."""
    vault = _vault(ledger, tmp_path)
    with vault.kept("tokens") as kept:
        kept.keep(CANARY)
        assert CANARY not in repr(kept) + repr(vault)
    found = [path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()]
    assert len(found) >= 2
    assert not any(CANARY.encode() in content for content in found)


def test_another_key_does_not_open_it(ledger: Ledger, tmp_path: Path) -> None:
    """And a file that was moved is not taken for another destination's."""
    with _vault(ledger, tmp_path).kept("tokens") as kept:
        kept.keep(CANARY)
    other = Keyring("k1", {"k1": b"x" * 32})
    with pytest.raises(StateError), _vault(ledger, tmp_path, other).kept("tokens"):
        pass
    folder = tmp_path / "state" / "credentials"
    (folder / "pinterest-no").mkdir()
    (folder / "pinterest-se" / "tokens.sealed").rename(folder / "pinterest-no" / "tokens.sealed")
    moved = _vault(ledger, tmp_path, destination="pinterest-no")
    with pytest.raises(StateError), moved.kept("tokens"):
        pass


def test_one_hand_at_a_time(ledger: Ledger, tmp_path: Path) -> None:
    """Whoever comes second waits, a minute at most, and is told to come again."""
    slept: list[float] = []
    vault = _vault(ledger, tmp_path, slept=slept)
    with vault.kept("tokens"):
        with pytest.raises(TemporaryPartnerError, match="pinterest-se") as caught, vault.kept("x"):
            pass
        assert sum(slept) == pytest.approx(PATIENCE)
        assert caught.value.retry_after == PATIENCE
        with _vault(ledger, tmp_path, destination="x-se").kept("tokens"):
            pass  # another destination is another matter
    with vault.kept("tokens"):
        pass


def test_a_dead_hand_is_overtaken_at_once(ledger: Ledger, tmp_path: Path) -> None:
    """A crash does not keep the next process waiting."""
    slept: list[float] = []
    dead = _vault(ledger, tmp_path).kept("tokens")
    dead.__enter__()
    with _vault(ledger, tmp_path, living=False, slept=slept).kept("tokens") as kept:
        kept.keep("fresh")
    assert slept == []


def test_whoever_was_overtaken_keeps_nothing(ledger: Ledger, tmp_path: Path) -> None:
    """A process that slept too long does not put an old token in place of a new one."""
    with _vault(ledger, tmp_path).kept("tokens") as mine:
        with _vault(ledger, tmp_path, living=False).kept("tokens") as theirs:
            theirs.keep("fresh")
        with pytest.raises(BusyError, match="another process"):
            mine.keep("stale")
    with _vault(ledger, tmp_path).kept("tokens") as kept:
        assert kept.value == "fresh"


def test_threads_take_turns(ledger: Ledger, tmp_path: Path) -> None:
    """No two are inside at once, and nothing that was kept is lost."""
    inside, most = [0], [0]

    def count() -> None:
        vault = Vault(
            destination="pinterest-se",
            ledger=ledger,
            location=FolderLocation(tmp_path / "state"),
            keyring=keyring(),
            holder="me",
            alive=lambda _holder: True,
        )
        for _ in range(3):
            with vault.kept("tokens") as kept:
                inside[0] += 1
                most[0] = max(most[0], inside[0])
                kept.keep(str(int(kept.value or "0") + 1))
                inside[0] -= 1

    threads = [threading.Thread(target=count) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    with _vault(ledger, tmp_path).kept("tokens") as kept:
        assert kept.value == "9"
    assert most == [1]
