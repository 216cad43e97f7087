"""What the transfer log proves: signed after each sync, verified anywhere, one line at a time."""

from __future__ import annotations

import json
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from shop import ROOT, Shop, people


def verified_elsewhere(folder: Path, *words: str) -> tuple[int, str]:
    """The command in a folder where there is no project and no state."""
    folder.mkdir(exist_ok=True)
    ended = subprocess.run(  # noqa: S603 - our own command
        [sys.executable, "-m", "audience_sync.cli", "log", "verify", *words],
        cwd=folder,
        env={"PYTHONPATH": str(ROOT), "PATH": "", "HOME": str(folder)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert list(folder.iterdir()) == [], "verifying leaves nothing behind"
    return ended.returncode, ended.stdout + ended.stderr


def test_a_sync_ends_with_a_signature(open_shop: Callable[..., Shop]) -> None:
    """All its lines are under it; the key was made, is told of once, and only we may read it."""
    shop = open_shop(people(12), destinations="[meta-se]")
    told = shop.must("sync", "everyone")
    assert "signing.key; back it up" in told.err
    key = shop.folder / ".audience-sync" / "signing.key"
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    found = shop.must("log", "verify", "--json").json
    assert found["sound"]
    assert found["signed"] == found["lines"] > 0
    assert found["checkpoints"] == 1
    assert found["public_key"] not in key.read_text()
    assert "signing.key" not in shop.must("sync").err
    assert found["public_key"] in shop.must("check").out

    lost = key.rename(shop.folder / "lost.key")
    told = shop.must("check", "meta-se")
    assert "was signed with another key" in told.out
    assert found["public_key"] in told.out
    key.write_text(key.read_text() + lost.read_text())
    assert "another key" not in shop.must("check", "meta-se").out
    assert shop.must("log", "verify", "--json").json["sound"]


def test_a_bundle_is_verified_without_the_project(
    synced_shop: Callable[..., Shop], tmp_path: Path
) -> None:
    """On another machine, with the public key told in another way; a change in it is found."""
    shop = synced_shop(people(12), destinations="[meta-se]")
    bundle = tmp_path / "bundle.jsonl"
    told = shop.must("log", "export", "--since", "7d", "--output", str(bundle))
    key = shop.must("log", "verify", "--json").json["public_key"]
    assert f"--key {key}" in told.out
    code, out = verified_elsewhere(tmp_path / "elsewhere", str(bundle), "--key", key)
    assert code == 0, out
    assert "none changed, deleted or inserted" in out
    assert "Corner Shop AB" in out
    code, out = verified_elsewhere(tmp_path / "elsewhere", str(bundle), "--key", "A" * 43 + "=")
    assert code == 1
    assert "not this project's" in out
    bundle.write_text(bundle.read_text().replace('"sent":12', '"sent":13', 1))
    code, out = verified_elsewhere(tmp_path / "elsewhere", str(bundle), "--json")
    assert code == 1
    assert "was changed" in json.loads(out)["finding"]
    again = shop.run("log", "export", "-o", str(bundle))
    assert again.code == 2
    assert "exists already" in again.err


def test_one_line_is_proved_alone(synced_shop: Callable[..., Shop], tmp_path: Path) -> None:
    """The proof shows that line and no other audience."""
    shop = synced_shop(people(12), destinations="[meta-se]")
    lines = shop.must("log", "--json").json["lines"]
    shown = next(entry for entry in lines if entry["line"]["audience"] == "swedes")
    proof = tmp_path / "proof.json"
    shop.must("log", "prove", str(shown["sequence"]), "-o", str(proof))
    assert "everyone" not in proof.read_text()
    code, out = verified_elsewhere(tmp_path / "elsewhere", str(proof))
    assert code == 0, out
    assert f"Line {shown['sequence']} stands in the transfer log" in out
    assert "Compare that" in out
    missing = shop.run("log", "prove", "999", "-o", str(tmp_path / "none.json"))
    assert missing.code == 2
    assert not (tmp_path / "none.json").exists()
