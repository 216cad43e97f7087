"""Keys are rotated without a stop, and a destroyed key takes what it encrypted with it."""

from __future__ import annotations

import re
import stat
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from shop import Shop, counts, expected, people

from audience_sync.app import App
from audience_sync.checking import fingerprint_mark, order_key
from audience_sync.errors import ConfigurationError
from audience_sync.ledger.ledger import Ledger
from audience_sync.ledger.records.orders import LineState, ReportedLine
from audience_sync.membership.sealed import SealedReader, SealedWriter, key_of, write_anew
from audience_sync.runs import rekey
from audience_sync.runs.rekey import sealed_files

OTHER = "b" * 43 + "="


def _keys(shop: Shop) -> list[str]:
    """Names of the state keys in the key file, the current one first."""
    text = (shop.folder / ".audience-sync/state.key").read_text()
    return re.findall(r"([\w-]+):", text.split("state_keys=")[1].split("\n")[0])


def _used(shop: Shop) -> set[str]:
    with App.open(shop.project) as app:
        return {key for _, key in sealed_files(app.location)}


def test_everything_is_written_anew_and_the_old_key_goes(synced_shop: Callable[..., Shop]) -> None:
    """After a rotation no file needs the old key, and a sync sends nothing that it had not."""
    shop = synced_shop()
    shop.must("plan", "swedes")
    before = _keys(shop)

    shown = shop.must("keys", "rotate", "--json").json

    assert shown["rewritten"] > 0
    after = _keys(shop)
    assert len(after) == 2
    assert after[1:] == before
    assert _used(shop) == {after[0]}
    path = shop.folder / ".audience-sync/state.key"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    shop.must("keys", "drop", before[0])
    assert _keys(shop) == after[:1]
    journal = len(shop.journal("meta"))
    again = shop.must("sync", "--json")
    assert {o["run"]["delta"]["unchanged"] for o in again.json["outcomes"]} == {24, 16}
    assert len(shop.journal("meta")) == journal


def test_a_plan_that_waits_is_delivered_after_a_rotation(open_shop: Callable[..., Shop]) -> None:
    """The outbox keeps its fingerprint under another key."""
    shop = open_shop()
    planned = shop.must("plan", "everyone", "--destination", "meta-se", "--json").json
    run = planned["outcomes"][0]["run"]["id"]

    shop.must("keys", "rotate")
    shop.must("keys", "drop", "first")
    shop.must("approve", run)

    assert shop.held() == expected(people(24))


def test_a_stopped_rotation_goes_on_without_a_further_key(
    synced_shop: Callable[..., Shop], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever calls it again finishes what was begun."""
    shop = synced_shop()
    seen: list[str] = []

    def stops(location: object, path: str, keyring: object) -> None:
        if len(seen) == 2:
            raise KeyboardInterrupt
        seen.append(path)
        write_anew(location, path, keyring)  # type: ignore[arg-type]  # as it came

    with monkeypatch.context() as patched:
        patched.setattr(rekey, "write_anew", stops)
        assert shop.run("keys", "rotate").code == 130
    begun = _keys(shop)
    assert _used(shop) == set(begun)
    assert shop.run("keys", "drop", "first").code == 2

    shop.must("keys", "rotate")

    assert _keys(shop) == begun
    assert _used(shop) == {begun[0]}


def test_a_reader_goes_on_while_its_file_is_written_anew(synced_shop: Callable[..., Shop]) -> None:
    """Whoever reads a file block by block never notices that its key was changed."""
    shop = synced_shop()
    with App.open(shop.project) as app:
        keyring = app.keyring_and_fingerprint_key[0]
        path = next(path for path, _ in sealed_files(app.location) if path.startswith("lists/"))
        reader = SealedReader(app.location, path, keyring)
        keys, email = reader.read(0, "keys"), SealedReader(app.location, path, keyring)
        assert keys is not None
        shop.must("keys", "rotate")
        again = reader.read(0, "keys")
        assert again is not None
        assert (again == keys).all()
        assert key_of(app.location, path) == _keys(shop)[0]
        assert email.read(0, "email") is not None


def test_a_destroyed_key_makes_old_files_unreadable(synced_shop: Callable[..., Shop]) -> None:
    """Nothing is sent by a sync that cannot read what partners hold."""
    shop = synced_shop()
    path = shop.folder / ".audience-sync/state.key"
    with App.open(shop.project) as app:
        from audience_sync.keys import with_new_key  # noqa: PLC0415 - only here
        from audience_sync.keys.beside import keep_keys  # noqa: PLC0415 - only here

        keys = app.settings.keys()[0]
        new = type(keys)(with_new_key(keys.state, "new"), keys.fingerprint)
        keep_keys(path.parent, new, keys)
    shop.must("sync")  # meets the new key, and has nothing to write with it
    refused = shop.run("keys", "drop", "first")
    assert refused.code == 2
    assert "still need" in refused.err
    shop.must("keys", "drop", "first", "--destroy")
    sent = len(shop.journal())
    shop.sql("DELETE FROM customers WHERE id = 1")

    ended = shop.run("sync")

    assert ended.code == 1
    assert "'first'" in ended.out + ended.err
    assert len(shop.journal()) == sent
    assert "is missing" in shop.must("keys", "show").out


def test_with_a_wrong_key_nothing_is_sent(
    synced_shop: Callable[..., Shop], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A key of the right name and the wrong content is refused before anything is read."""
    shop = synced_shop()
    sent = len(shop.journal())
    monkeypatch.setenv("AUDIENCE_SYNC_STATE_KEYS", f"first:{OTHER}")
    monkeypatch.setenv("AUDIENCE_SYNC_FINGERPRINT_KEY", OTHER)
    shop.sql("DELETE FROM customers WHERE id = 1")

    ended = shop.run("sync")

    assert ended.code == 2
    assert OTHER not in ended.out + ended.err
    assert len(shop.journal()) == sent


def test_show_tells_names_and_ages_and_no_key(synced_shop: Callable[..., Shop]) -> None:
    """Neither the table nor the document holds a key, and times are those of the state."""
    shop = synced_shop()
    shop.must("keys", "rotate", "--fingerprint")
    ended = [shop.must("keys", "show"), shop.must("keys", "show", "--json")]

    text = (shop.folder / ".audience-sync/state.key").read_text()
    secrets = re.findall(r"[A-Za-z0-9+/]{43}=", text)
    assert len(secrets) == 3
    assert not any(secret in one.out + one.err for secret in secrets for one in ended)
    found = ended[1].json["keys"]
    assert [key["use"] for key in found] == [
        "encrypts", "makes fingerprints", "recognises its own",
    ]  # fmt: skip
    assert all(key["since"] for key in found)
    assert found[0]["name"] == "first"
    assert counts(shop.must("sync", "--json"))["unchanged"] == 24


def test_orders_stay_known_by_the_key_they_were_reported_under(
    synced_shop: Callable[..., Shop],
) -> None:
    """Rotating the fingerprint key counts no order twice, and the old key cannot go before."""
    shop = synced_shop()
    with App.open(shop.project) as app:
        first = app.order_key
        _report(app.ledger, app)
    shop.must("keys", "rotate", "--fingerprint")
    with App.open(shop.project) as app:
        assert app.fingerprint_keys[0] != first
        assert app.order_key == first
        with pytest.raises(ConfigurationError, match="twice"):
            order_key(app.ledger, app.location, app.fingerprint_keys[:1], keep=False)
    refused = shop.run("keys", "drop", f"fingerprint-{fingerprint_mark(first)[:8]}")
    assert refused.code == 2
    assert "counted" in refused.err


def _report(ledger: Ledger, app: App) -> None:
    from audience_sync.ledger.tables.fingerprints import reported_lines  # noqa: PLC0415 - only here

    line = ReportedLine(
        destination="rakuten-se", line=b"l" * 32, of_order=b"o" * 32, revision=b"r" * 32,
        state=LineState.REPORTED, run="r1", expires_at=app.now(),
    )  # fmt: skip
    values = {name: getattr(line, name) for name in line.__slots__}
    with ledger._writing() as connection:
        connection.execute(reported_lines.insert(), values)


def test_keys_from_the_environment_are_not_changed(
    open_shop: Callable[..., Shop], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A new key is put there by a person; the command then writes the files anew."""
    shop = open_shop()
    state, prints = tmp_path / "state", tmp_path / "prints"
    state.write_text("one:" + "a" * 43 + "=")
    prints.write_text(OTHER)
    monkeypatch.setenv("AUDIENCE_SYNC_STATE_KEYS", f"file:{state}")
    monkeypatch.setenv("AUDIENCE_SYNC_FINGERPRINT_KEY", f"file:{prints}")
    shop.must("sync")
    refused = shop.run("keys", "rotate")
    assert refused.code == 2
    assert "AUDIENCE_SYNC_STATE_KEYS" in refused.err

    state.write_text(f"two:{OTHER},one:" + "a" * 43 + "=")
    shop.must("keys", "rotate")

    assert _used(shop) == {"two"}
    state.write_text(f"two:{OTHER}")
    assert counts(shop.must("sync", "--json"))["unchanged"] == 24


def test_syncs_go_on_while_keys_are_rotated(synced_shop: Callable[..., Shop]) -> None:
    """Deliveries in other processes and rotations beside them: nobody fails, nothing is lost."""
    shop = synced_shop()
    shop.customers([(*one[:2], f"070 {7_000_000 + number}", *one[3:])
                    for number, one in enumerate(people(24))])  # fmt: skip
    running = shop.started("sync")
    rotations = 0
    while running.poll() is None:
        if rotations < 4:
            rotated = shop.run("keys", "rotate")
            assert rotated.code in (0, 4), rotated
            rotations += 1
        time.sleep(0.05)
    out, err = running.communicate()
    assert running.returncode == 0, (out, err)

    shop.must("keys", "rotate")
    for name in _keys(shop)[1:]:
        shop.must("keys", "drop", name)
    left = shop.must("sync", "--json").json["outcomes"]
    assert {o["run"]["delta"]["additions"] for o in left} == {0}
    assert len(shop.held()["phone"]) == 24


def test_a_sweep_beside_a_rotation_harms_no_file(
    synced_shop: Callable[..., Shop], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It takes what is being written for what a dead process left; that is written once more."""
    shop, swept = synced_shop(), list[None]()
    close = SealedWriter.close

    def closed(writer: SealedWriter, fingerprint: str | None = None) -> str:
        found = close(writer, fingerprint)
        if len(swept) < 2:
            swept.append(None)
            with App.open(shop.project) as app:
                app.sweep()
        return found

    with monkeypatch.context() as patched:
        patched.setattr(SealedWriter, "close", closed)
        shown = shop.must("keys", "rotate", "--json").json

    assert shown["rewritten"] > len(swept) == 2
    assert _used(shop) == {_keys(shop)[0]}
    assert counts(shop.must("sync", "--json"))["unchanged"] == 24


def test_looking_for_keys_leaves_the_ledger_locked(synced_shop: Callable[..., Shop]) -> None:
    """Opening and closing SQLite's file beside its own connection would give up its locks."""
    shop = synced_shop()
    words = "sqlite3.connect(sys.argv[1], timeout=0).execute('BEGIN IMMEDIATE')"
    other = f"import sqlite3, sys; {words}"
    with App.open(shop.project) as app, app.ledger._writing():
        assert list(sealed_files(app.location))

        intruder = subprocess.run(  # noqa: S603 - our own words
            [sys.executable, "-c", other, shop.folder / ".audience-sync/ledger.sqlite"],
            capture_output=True, text=True, check=False,
        )  # fmt: skip

    assert "database is locked" in intruder.stderr
