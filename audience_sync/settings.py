"""Environment (`AUDIENCE_SYNC_*`, `.env`) → typed settings; no message ever holds a value."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any, Literal

from dotenv import dotenv_values
from pydantic import BeforeValidator, Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from audience_sync.errors import ConfigurationError
from audience_sync.keys import KEY_FILE, Keys
from audience_sync.keys.beside import load_or_make_keys
from audience_sync.keys.signing import load_or_make_signing_keys, parse_signing_keys
from audience_sync.keys.watched import Watched
from audience_sync.keys.written import parse_keys, referred_file

PREFIX = "AUDIENCE_SYNC_"
PROJECT_FILES = ("audience-sync.yaml", "audience-sync.yml")
STATE_FOLDER = ".audience-sync"
LEDGER_FILE = "ledger.sqlite"
_SURROGATE = re.compile("[\ud800-\udfff]")  # what Python reads bytes as that are no text

_log = logging.getLogger(__name__)


def find_project(folder: Path) -> Path:
    """The project file of a folder, or where it would be; two of them are an error."""
    found = [folder / name for name in PROJECT_FILES if (folder / name).exists()]
    if len(found) > 1:
        raise ConfigurationError(
            f"{folder} holds {' and '.join(PROJECT_FILES)}; keep one, or name it in {PREFIX}PROJECT"
        )
    return found[0] if found else folder / PROJECT_FILES[0]


def _project_file(value: object) -> Path:
    path = Path(str(value)).expanduser().absolute()
    return find_project(path) if path.is_dir() else path


def _state_place(value: object) -> str:
    """An fsspec URL as it is, a folder as an absolute path."""
    text = str(value).removeprefix("file://")
    return text if "://" in text else str(Path(text).expanduser().absolute())


def _local_state(known: Mapping[str, Any]) -> str:
    return str(known["project"].parent / STATE_FOLDER)


def _local_database(known: Mapping[str, Any]) -> SecretStr:
    state = known["state_url"]
    folder = _local_state(known) if "://" in state else state
    path = f"{folder}/{LEDGER_FILE}"
    # The two characters of a path that mean something else in a URL.
    return SecretStr(f"sqlite:///{path.replace('%', '%25').replace('?', '%3F')}")


def _lower(value: object) -> object:
    return value.strip().lower() if isinstance(value, str) else value


class Settings(BaseSettings):
    """What the environment says, every default filled in."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX,
        env_file_encoding="utf-8",
        env_ignore_empty=True,
        frozen=True,
        extra="ignore",
        hide_input_in_errors=True,
        validate_default=True,
    )

    project: Annotated[Path, BeforeValidator(_project_file)] = Field(
        default_factory=lambda: find_project(Path.cwd()),
        description="the project file; default: audience-sync.yaml in the current folder",
    )
    state_url: Annotated[str, BeforeValidator(_state_place)] = Field(
        default_factory=_local_state,
        repr=False,
        description="where bulk state rests: a folder or an fsspec URL such as s3://bucket/folder; "
        "default: .audience-sync beside the project file",
    )
    database_url: SecretStr = Field(
        default_factory=_local_database,
        description="SQLAlchemy URL of the ledger; default: a SQLite file in the state folder",
    )
    broker_url: SecretStr | None = Field(
        None, description="Redis URL for Celery; without it everything runs in this process"
    )
    split_rows: int = Field(
        1_000_000,
        gt=0,
        description="customers in each part of a source that workers read at once; a source that "
        "is no larger is planned by one",
    )
    longest_rest: int = Field(
        300,
        ge=1,
        le=3600,
        description="seconds, at most 3600, after which a partner that failed again and again "
        "is asked at the latest whether it is back",
    )
    state_keys: SecretStr | None = Field(
        None,
        description="name:base64-of-32-bytes, comma-separated, the first encrypts; or file:/path",
    )
    fingerprint_key: SecretStr | None = Field(
        None,
        description="base64 of 32 bytes, comma-separated, the first makes fingerprints and the "
        "others recognise their own; or file:/path",
    )
    signing_key: SecretStr | None = Field(
        None,
        description="base64 of 32 bytes, or file:/path; signs the transfer log; after a comma, "
        "keys that signed before",
    )
    log_format: Annotated[Literal["text", "json"], BeforeValidator(_lower)] = Field(
        "text", description="text or json"
    )
    log_level: Annotated[
        Literal["debug", "info", "warning", "error", "critical"], BeforeValidator(_lower)
    ] = Field("info", description="debug, info, warning, error or critical")

    @property
    def state_folder(self) -> Path | None:
        """The folder where bulk state rests; None when it is object storage."""
        return None if "://" in self.state_url else Path(self.state_url)

    def signing_keys(self) -> tuple[tuple[bytes, ...], bool]:
        """The keys that sign the transfer log, the present one first; whether it was just made.

        None at all where the state rests in object storage and no key was given.
        """
        if self.signing_key is not None:
            return parse_signing_keys(self.signing_key), False
        if self.state_folder is None:
            return (), False
        return load_or_make_signing_keys(self.state_folder)

    def keys(self) -> tuple[Keys, bool]:
        """The keys from the environment, else from the state folder; whether they were just made.

        Makes them when the state folder has none, which the caller should say.
        """
        if self.state_keys is not None:
            return parse_keys(self.state_keys, self.fingerprint_key), False
        if self.fingerprint_key is not None:
            raise ConfigurationError(
                f"{PREFIX}FINGERPRINT_KEY is set without {PREFIX}STATE_KEYS; set both or neither"
            )
        if self.state_folder is None:
            raise ConfigurationError(
                f"state in object storage needs keys from outside: set {PREFIX}STATE_KEYS "
                f"and {PREFIX}FINGERPRINT_KEY"
            )
        return load_or_make_keys(self.state_folder)

    @property
    def own_keys(self) -> Path | None:
        """The folder whose key file is ours to change; None when keys come from outside."""
        return self.state_folder if self.state_keys is None else None

    def keys_from(self, variable: str) -> str:
        """What errors about the keys of a variable name: that variable, or our own key file."""
        return variable if self.own_keys is None else str(self.own_keys / KEY_FILE)

    def watched_keys(self) -> Watched:
        """The keys as they are at any time from now on, made before."""
        named = (referred_file(self.state_keys), referred_file(self.fingerprint_key))
        files = [path for path in named if path is not None]
        if self.own_keys is not None:
            files = [self.own_keys / KEY_FILE]
        return Watched(files, lambda: self.keys()[0])


def load_settings(folder: Path | None = None, *, project: Path | None = None) -> Settings:
    """The settings of this environment and of `.env` in a folder (default: the project's).

    `project` names the project file and wins over the environment.

    A variable that is almost the name of one of ours is refused; another unknown one is only
    logged, because project files may refer to variables of any name.
    """
    if folder is None:
        project = project or _named_project()
        folder = Path.cwd() if project is None else _project_file(project).parent
    env_file = folder / ".env"
    _check_names(environment(folder))
    try:
        given: dict[str, Any] = {} if project is None else {"project": project}
        return _checked(Settings(_env_file=env_file, **given))
    except ValidationError as error:
        names = dict.fromkeys(str(detail["loc"][0]) for detail in error.errors())
        raise ConfigurationError(
            "\n".join(f"{PREFIX}{name.upper()}: write {_meaning(name)}" for name in names)
        ) from None


def _checked(settings: Settings) -> Settings:
    """The same where its URLs are text; files of this machine may have names that are none."""
    for name in ("broker_url", "database_url"):
        url = getattr(settings, name)
        written = "" if url is None else url.get_secret_value()
        if _SURROGATE.search(written) and not written.startswith("sqlite"):
            raise ConfigurationError(
                f"{PREFIX}{name.upper()} holds bytes that are not UTF-8; write it anew"
            )
    return settings


def _named_project() -> Path | None:
    """The project that the environment names, or the `.env` where the command was called."""
    named = environment().get(f"{PREFIX}PROJECT")
    return Path(named) if named else None


def environment(folder: Path | None = None) -> Mapping[str, str]:
    """The variables that a project file may refer to: `.env`, overruled by the real ones."""
    env_file = (folder or Path.cwd()) / ".env"
    try:
        written = dotenv_values(env_file, interpolate=False) if env_file.is_file() else {}
    except (OSError, UnicodeError):
        raise ConfigurationError(f"{env_file} cannot be read; make it readable UTF-8") from None
    return {key: value for key, value in written.items() if value is not None} | dict(os.environ)


def _check_names(names: Iterable[str]) -> None:
    known = [f"{PREFIX}{name.upper()}" for name in Settings.model_fields]
    for name in sorted(names):
        if not name.upper().startswith(PREFIX) or name.upper() in known:
            continue
        close = get_close_matches(name.upper(), known, n=1, cutoff=0.9)
        if close:
            raise ConfigurationError(f"{name} means nothing; did you mean {close[0]}?")
        _log.warning("The variable %s is no setting; known are %s", name, ", ".join(known))


def _meaning(name: str) -> str:
    field = Settings.model_fields.get(name)
    return "another value" if field is None or not field.description else field.description
