"""Settings from the environment, and the keys of the state."""

from __future__ import annotations

import logging
import os
import stat
from base64 import b64encode
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from pydantic import SecretStr, ValidationError

from audience_sync.errors import ConfigurationError
from audience_sync.keys.beside import load_or_make_keys
from audience_sync.keys.written import parse_keys
from audience_sync.ledger.ledger import Ledger
from audience_sync.settings import environment, load_settings

KEY_A = b64encode(b"a" * 32).decode()
KEY_B = b64encode(b"b" * 32).decode()


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty current folder and no setting in the environment."""
    for name in os.environ:
        if name.startswith("AUDIENCE_SYNC_"):
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_without_any_setting_everything_is_beside_the_project(folder: Path) -> None:
    """The defaults need no variable at all."""
    settings = load_settings()
    assert settings.project == folder / "audience-sync.yaml"
    assert settings.state_folder == folder / ".audience-sync"
    assert settings.database_url.get_secret_value() == (
        f"sqlite:///{folder}/.audience-sync/ledger.sqlite"
    )
    assert settings.broker_url is None
    assert (settings.log_format, settings.log_level) == ("text", "info")


def test_the_other_suffix_is_found(folder: Path) -> None:
    """A project may be called .yml."""
    (folder / "audience-sync.yml").write_text("")
    assert load_settings().project == folder / "audience-sync.yml"


def test_two_project_files_are_an_error(folder: Path) -> None:
    """Nobody can know which one is meant."""
    (folder / "audience-sync.yml").write_text("")
    (folder / "audience-sync.yaml").write_text("")
    with pytest.raises(ConfigurationError, match="AUDIENCE_SYNC_PROJECT"):
        load_settings()


def test_the_state_is_beside_the_project_that_is_named(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A project elsewhere keeps its state there; a named folder means the file in it."""
    (folder / "shop").mkdir()
    monkeypatch.setenv("AUDIENCE_SYNC_PROJECT", "shop")
    settings = load_settings()
    assert settings.project == folder / "shop" / "audience-sync.yaml"
    assert settings.state_folder == folder / "shop" / ".audience-sync"


def test_object_storage_is_no_folder(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """State may rest elsewhere; the ledger stays local and keys come from outside."""
    monkeypatch.setenv("AUDIENCE_SYNC_STATE_URL", "s3://bucket/state")
    settings = load_settings()
    assert settings.state_folder is None
    assert str(folder) in settings.database_url.get_secret_value()
    with pytest.raises(ConfigurationError, match="AUDIENCE_SYNC_STATE_KEYS"):
        settings.keys()


def test_dot_env_is_read_and_overruled(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`.env` holds settings and the variables of the project file; the real ones win."""
    (folder / ".env").write_text("AUDIENCE_SYNC_LOG_LEVEL=debug\nTOKEN=a$b\nOTHER=file\n")
    monkeypatch.setenv("OTHER", "real")
    assert load_settings().log_level == "debug"
    assert (environment()["TOKEN"], environment()["OTHER"]) == ("a$b", "real")
    monkeypatch.setenv("AUDIENCE_SYNC_LOG_LEVEL", "ERROR")
    assert load_settings().log_level == "error"


@pytest.mark.parametrize("by", ["option", "variable", "current .env"])
def test_dot_env_stands_beside_the_project(
    folder: Path, monkeypatch: pytest.MonkeyPatch, by: str
) -> None:
    """Wherever a command is called from, settings and references come from the same file."""
    shop = folder / "shop"
    shop.mkdir()
    (shop / ".env").write_text("AUDIENCE_SYNC_LOG_LEVEL=debug\n")
    (folder / ".env").write_text("AUDIENCE_SYNC_LOG_LEVEL=error\n")
    if by == "variable":
        monkeypatch.setenv("AUDIENCE_SYNC_PROJECT", str(shop))
    elif by == "current .env":
        (folder / ".env").write_text(f"AUDIENCE_SYNC_PROJECT={shop}\n")
    settings = load_settings(project=shop if by == "option" else None)
    assert settings.project == shop / "audience-sync.yaml"
    assert settings.log_level == "debug"


@pytest.mark.parametrize("name", ["50%25 off", "why?", "a#b", "plain"])
def test_a_ledger_is_made_in_a_folder_of_any_name(folder: Path, name: str) -> None:
    """What means something in a URL means nothing in a folder's name."""
    place = folder / name
    place.mkdir()
    settings = load_settings(project=place)
    (place / ".audience-sync").mkdir()
    for _ in range(2):
        Ledger.open(settings.database_url.get_secret_value()).close()
    assert [path.name for path in folder.iterdir()] == [name]
    assert (place / ".audience-sync" / "ledger.sqlite").is_file()


def test_a_wrong_value_names_the_variable_and_not_the_value(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The operator reads what would be right."""
    monkeypatch.setenv("AUDIENCE_SYNC_LOG_FORMAT", "colourful")
    with pytest.raises(ConfigurationError) as caught:
        load_settings()
    assert str(caught.value) == "AUDIENCE_SYNC_LOG_FORMAT: write text or json"


@pytest.mark.parametrize(
    ("name", "value"),
    [("BROKER_URL", "redis://\udcff"), ("DATABASE_URL", "postgresql://u:p@h/\udcff")],
)
def test_a_url_in_bytes_that_are_no_text_is_told(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    """Only a file of ours may be named so."""
    monkeypatch.setenv(f"AUDIENCE_SYNC_{name}", value)
    with pytest.raises(ConfigurationError, match=f"^AUDIENCE_SYNC_{name} .* not UTF-8; write it"):
        load_settings()
    monkeypatch.setenv(f"AUDIENCE_SYNC_{name}", value.replace("\udcff", "x"))
    monkeypatch.setenv("AUDIENCE_SYNC_STATE_URL", "/state\udcff")
    load_settings()


def test_a_misspelt_variable_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """A typing error must not lead to a new key without a word."""
    monkeypatch.setenv("AUDIENCE_SYNC_STATE_KEY", f"a:{KEY_A}")
    with pytest.raises(ConfigurationError, match="did you mean AUDIENCE_SYNC_STATE_KEYS") as caught:
        load_settings()
    assert KEY_A not in str(caught.value)


def test_an_unknown_variable_is_only_logged(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A project file may refer to any variable, so a foreign name is no error."""
    monkeypatch.setenv("AUDIENCE_SYNC_META_TOKEN", "secret-value")
    with caplog.at_level(logging.WARNING):
        load_settings()
    assert "AUDIENCE_SYNC_META_TOKEN" in caplog.text
    assert "secret-value" not in caplog.text


def test_settings_are_frozen_and_print_no_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    """Printing the settings shows no key and no password."""
    monkeypatch.setenv("AUDIENCE_SYNC_STATE_KEYS", f"a:{KEY_A}")
    monkeypatch.setenv("AUDIENCE_SYNC_FINGERPRINT_KEY", KEY_B)
    monkeypatch.setenv("AUDIENCE_SYNC_DATABASE_URL", "postgresql://u:letmein@h/d")
    monkeypatch.setenv("AUDIENCE_SYNC_BROKER_URL", "redis://:letmein@h/0")
    settings = load_settings()
    keys, made = settings.keys()
    shown = f"{settings!r} {settings} {keys!r} {keys} {keys.state}"
    assert not made
    assert not any(secret in shown for secret in (KEY_A, KEY_B, "letmein", "aaaa", "bbbb"))
    with pytest.raises(ValidationError):
        settings.log_level = "debug"  # type: ignore[misc]  # the attempt is the test


def test_the_first_key_encrypts_and_all_decrypt() -> None:
    """Rotation is a new key in front of the old one."""
    keys = parse_keys(SecretStr(f"new:{KEY_B}, old:{KEY_A}"), SecretStr(KEY_A))
    assert keys.state.current == "new"
    assert keys.state.keys == {"new": b"b" * 32, "old": b"a" * 32}
    assert keys.fingerprint == b"a" * 32


def test_keys_may_come_from_files(folder: Path) -> None:
    """As container platforms mount them."""
    (folder / "keys").write_text(f"new:{KEY_B}\nold:{KEY_A}\n")
    (folder / "fingerprint").write_text(f"{KEY_A}\n")
    keys = parse_keys(
        SecretStr(f"file:{folder / 'keys'}"), SecretStr(f"file:{folder / 'fingerprint'}")
    )
    assert list(keys.state.keys) == ["new", "old"]


@pytest.mark.parametrize(
    ("state", "fingerprint", "variable"),
    [
        (KEY_A, KEY_A, "STATE_KEYS"),
        ("a:c2hvcnQ=", KEY_A, "STATE_KEYS"),
        ("a:not base64!", KEY_A, "STATE_KEYS"),
        (f"a:{KEY_A},a:{KEY_B}", KEY_A, "STATE_KEYS"),
        ("file:/nowhere/keys", KEY_A, "STATE_KEYS"),
        (f"a:{KEY_A}", "short", "FINGERPRINT_KEY"),
        (f"a:{KEY_A}", None, "FINGERPRINT_KEY"),
    ],
)
def test_a_wrong_key_names_the_variable_and_never_the_key(
    state: str, fingerprint: str | None, variable: str
) -> None:
    """A damaged secret is still a secret."""
    with pytest.raises(ConfigurationError) as caught:
        parse_keys(SecretStr(state), None if fingerprint is None else SecretStr(fingerprint))
    assert f"AUDIENCE_SYNC_{variable}" in str(caught.value)
    assert "not base64" not in str(caught.value)
    assert KEY_A not in str(caught.value)


def test_a_fingerprint_key_alone_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Half a configuration would mix keys of two places."""
    monkeypatch.setenv("AUDIENCE_SYNC_FINGERPRINT_KEY", KEY_A)
    with pytest.raises(ConfigurationError, match="set both or neither"):
        load_settings().keys()


def test_the_first_run_makes_keys_that_only_the_owner_may_read(folder: Path) -> None:
    """The second run finds the same ones."""
    state = folder / "deep" / "state"
    keys, made = load_or_make_keys(state)
    assert made
    assert stat.S_IMODE((state / "state.key").stat().st_mode) == 0o600
    assert [path.name for path in state.iterdir()] == ["state.key"]
    assert len(keys.fingerprint) == 32
    assert keys.fingerprint != keys.state.keys[keys.state.current]
    assert load_or_make_keys(state) == (keys, False)


def test_many_first_runs_at_once_agree_on_the_keys(folder: Path) -> None:
    """One process makes the file, all use it."""
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda _: load_or_make_keys(folder / "state"), range(16)))
    assert len({keys.fingerprint for keys, _ in found}) == 1
    assert sum(made for _, made in found) == 1


def test_a_key_file_that_others_may_read_is_refused(folder: Path) -> None:
    """The sentence holds the command that repairs it."""
    load_or_make_keys(folder)
    (folder / "state.key").chmod(0o640)
    with pytest.raises(ConfigurationError, match="chmod 600"):
        load_or_make_keys(folder)


def test_a_damaged_key_file_is_not_replaced(folder: Path) -> None:
    """New keys would make the state unreadable for ever."""
    load_or_make_keys(folder)
    path = folder / "state.key"
    path.write_text("state_keys=\n")
    with pytest.raises(ConfigurationError, match="restore it from a backup"):
        load_or_make_keys(folder)
    assert path.read_text() == "state_keys=\n"


def test_lost_keys_are_not_replaced_by_new_ones(folder: Path) -> None:
    """A state that was written with keys asks for them back; new ones could not read it."""
    load_or_make_keys(folder)
    (folder / "state-keys").mkdir()
    (folder / "state-keys" / "first-0123").touch()
    (folder / "state.key").unlink()
    with pytest.raises(ConfigurationError, match="put it back from a backup"):
        load_or_make_keys(folder)
    assert not (folder / "state.key").exists()
