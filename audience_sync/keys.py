"""The keys of the state: those that encrypt it, and the one that makes fingerprints.

They come from the environment, or from a file beside the state that only its owner may read.
"""

from __future__ import annotations

import binascii
import os
import re
import stat
from base64 import b64decode, b64encode
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from pydantic import SecretStr

from audience_sync.errors import ConfigurationError

STATE_KEYS = "AUDIENCE_SYNC_STATE_KEYS"
FINGERPRINT_KEY = "AUDIENCE_SYNC_FINGERPRINT_KEY"
SIGNING_KEY = "AUDIENCE_SYNC_SIGNING_KEY"
KEY_FILE = "state.key"
SIGNING_FILE = "signing.key"
STATE_MARKS = "state-keys"  # in the state: which keys it knows, by name and fingerprint

_KEY_LENGTH = 32  # bytes, for AES-256 and HMAC-SHA-256
_FIRST_NAME = "first"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_OTHERS = stat.S_IRWXG | stat.S_IRWXO
_REMEDY = "make a key with `openssl rand -base64 32`"


@dataclass(frozen=True, slots=True)
class StateKeys:
    """State keys by name: `current` encrypts, all of them decrypt. Never prints a key."""

    current: str
    keys: Mapping[str, bytes] = field(repr=False)


@dataclass(frozen=True, slots=True)
class Keys:
    """All that must be kept secret and backed up; never prints a key.

    `fingerprint` makes fingerprints; what the `older` ones made, newest first, is recognised.
    """

    state: StateKeys
    fingerprint: bytes = field(repr=False)
    older: tuple[bytes, ...] = field(default=(), repr=False)


def parse_keys(state_keys: SecretStr, fingerprint_key: SecretStr | None) -> Keys:
    """The keys that the environment gives; errors name the variable, never what is in it."""
    if fingerprint_key is None:
        raise ConfigurationError(
            f"{STATE_KEYS} is set without {FINGERPRINT_KEY}; set both, {_REMEDY}"
        )
    written = _referred(state_keys, STATE_KEYS)
    fingerprint = _referred(fingerprint_key, FINGERPRINT_KEY)
    return _keys(written, STATE_KEYS, fingerprint, FINGERPRINT_KEY)


def load_or_make_keys(state_folder: Path) -> tuple[Keys, bool]:
    """The keys beside the state, and whether they were made just now.

    Several processes may begin at once: one of them makes the file, all read the same keys. A state
    that was written with keys asks for those instead of getting new ones.
    """
    path = state_folder / KEY_FILE
    try:
        known = (state_folder / STATE_MARKS).exists()  # before the file: it comes after its keys
        if known and not path.exists():
            raise ConfigurationError(
                f"{path} is missing, and this state cannot be read without it; put it back from a "
                f"backup, or set {STATE_KEYS} and {FINGERPRINT_KEY} as they were"
            )
        made = not path.exists() and _make(path)
        text = _own_text(path)
    except (OSError, UnicodeError) as error:
        reason = getattr(error, "strerror", None) or "is not text"
        raise ConfigurationError(f"the keys {path} cannot be read or made: {reason}") from None
    lines = dict(re.findall(r"(?m)^(state_keys|fingerprint_key)=(\S*)$", text))
    if len(lines) != 2:  # noqa: PLR2004 - the two lines just named
        raise ConfigurationError(
            f"{path} is damaged: it needs a line state_keys= and a line fingerprint_key=; "
            "restore it from a backup, the state cannot be read without it"
        )
    where = str(path)
    return _keys(lines["state_keys"], where, lines["fingerprint_key"], where), made


def new_key() -> bytes:
    """A new key of either sort."""
    return os.urandom(_KEY_LENGTH)


def with_new_key(keys: StateKeys, name: str) -> StateKeys:
    """The same keys with a new one of this name, which encrypts from now on."""
    if not _NAME.fullmatch(name) or name in keys.keys:
        raise ConfigurationError(
            f"{name!r} cannot name a new state key; choose letters and digits that no key has"
        )
    return StateKeys(name, {name: new_key(), **keys.keys})


def keep_keys(state_folder: Path, keys: Keys, before: Keys) -> None:
    """Replace the keys beside the state, whole; refused where they are not as they were `before`.

    Processes that run notice by themselves, see `Watched`.
    """
    path = state_folder / KEY_FILE
    if load_or_make_keys(state_folder)[0] != before:
        raise ConfigurationError(f"{path} was changed by another command meanwhile; run again")
    unfinished = _written(path, _text_of(keys))
    try:
        unfinished.replace(path)
        descriptor = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    finally:
        unfinished.unlink(missing_ok=True)


class Watched:
    """Keys as they are now: read again once one of their files has changed."""

    def __init__(self, paths: Sequence[Path], read: Callable[[], Keys]) -> None:
        self._paths = tuple(paths)
        self._read = read
        self._keys, self._seen = read(), self._look()

    def now(self) -> Keys:
        """The keys; as they were last where a file cannot be read just now."""
        seen = self._look()
        if seen != self._seen:
            with suppress(ConfigurationError):
                self._keys, self._seen = self._read(), seen
        return self._keys

    def _look(self) -> tuple[tuple[int, int, int] | None, ...]:
        return tuple(map(_stamp, self._paths))


def referred_file(secret: SecretStr | None) -> Path | None:
    """The file that a variable names, if it names one."""
    text = "" if secret is None else secret.get_secret_value().strip()
    if not text.startswith("file:"):
        return None
    return Path(text.removeprefix("file:").removeprefix("//")).expanduser()


def parse_signing_keys(written: SecretStr) -> tuple[bytes, ...]:
    """The signing keys that the environment gives; the first signs."""
    parts = re.split(r"[,\s]+", _referred(written, SIGNING_KEY).strip(" ,\r\n\t"))
    return tuple(_key(part, SIGNING_KEY) for part in parts)


def load_or_make_signing_keys(state_folder: Path) -> tuple[tuple[bytes, ...], bool]:
    """The signing keys beside the state, and whether one was made just now."""
    path = state_folder / SIGNING_FILE
    try:
        made = not path.exists() and _write_once(path, _new_signing_key())
        text = _own_text(path)
    except (OSError, UnicodeError) as error:
        reason = getattr(error, "strerror", None) or "is not text"
        raise ConfigurationError(
            f"the signing key {path} cannot be read or made: {reason}"
        ) from None
    found = re.findall(r"(?m)^signing_key=(\S*)$", text)
    if not found:
        raise ConfigurationError(
            f"{path} is damaged: it needs a line signing_key=; restore it from a backup"
        )
    return tuple(_key(part, str(path)) for part in found), made


def _new_signing_key() -> str:
    key = b64encode(os.urandom(_KEY_LENGTH)).decode()
    return (
        "# The key that signs the transfer log. Whoever has it can sign another history.\n"
        "# Keep this file secret, and keep a copy in another place. To change the key, write a\n"
        "# new line above this one, and leave this one: what it signed is still this project's.\n"
        f"signing_key={key}\n"
    )


def _make(path: Path) -> bool:
    """Write new keys whole or not at all; false when another process was first."""
    return _write_once(
        path, _text_of(Keys(StateKeys(_FIRST_NAME, {_FIRST_NAME: new_key()}), new_key()))
    )


def _text_of(keys: Keys) -> str:
    current = keys.state.current
    ordered = [current, *(name for name in keys.state.keys if name != current)]
    state = ",".join(f"{name}:{b64encode(keys.state.keys[name]).decode()}" for name in ordered)
    fingerprint = ",".join(b64encode(key).decode() for key in (keys.fingerprint, *keys.older))
    return (
        "# Keys of the state in this folder. Whoever has them can read it; "
        "without them nobody can.\n"
        "# Keep this file secret, and keep a copy in another place.\n"
        f"state_keys={state}\n"
        f"fingerprint_key={fingerprint}\n"
    )


def _write_once(path: Path, text: str) -> bool:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    unfinished = _written(path, text)
    try:
        os.link(unfinished, path)
    except FileExistsError:
        return False
    finally:
        unfinished.unlink(missing_ok=True)
    return True


def _written(path: Path, text: str) -> Path:
    """A file beside the one named that holds the text and survives a power cut."""
    unfinished = path.with_name(f".{path.name}.{os.getpid()}.{os.urandom(4).hex()}")
    try:
        descriptor = os.open(unfinished, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as opened:
            opened.write(text)
            opened.flush()
            os.fsync(opened.fileno())
    except BaseException:
        unfinished.unlink(missing_ok=True)
        raise
    return unfinished


def _stamp(path: Path) -> tuple[int, int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns, found.st_size


def _own_text(path: Path) -> str:
    with path.open(encoding="utf-8") as opened:
        if os.fstat(opened.fileno()).st_mode & _OTHERS:
            raise ConfigurationError(
                f"other users of this machine may read {path}; run `chmod 600 {path}`"
            )
        return opened.read()


def _referred(secret: SecretStr, variable: str) -> str:
    """What a variable holds, or the file that it names."""
    path = referred_file(secret)
    if path is None:
        return secret.get_secret_value().strip()
    try:
        return path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not text"
        raise ConfigurationError(f"{variable}: {path} cannot be read: {reason}") from None


def _keys(state: str, where: str, fingerprint: str, where_fingerprint: str) -> Keys:
    parts = [part for part in re.split(r"[,\s]+", fingerprint) if part] or [""]
    current, *older = (_key(part, where_fingerprint) for part in parts)
    if current in older:
        raise ConfigurationError(f"{where_fingerprint}: one key stands there twice; take one out")
    return Keys(_state_keys(state, where), current, tuple(older))


def _state_keys(written: str, where: str) -> StateKeys:
    keys: dict[str, bytes] = {}
    for part in re.split(r"[,\s]+", written.strip(" ,\r\n\t")):
        name, colon, text = part.partition(":")
        if not colon or not _NAME.fullmatch(name):
            raise ConfigurationError(
                f"{where}: write name:base64-of-32-bytes, several with commas between; {_REMEDY}"
            )
        if name in keys:
            raise ConfigurationError(f"{where}: two keys have the same name; rename the newer one")
        keys[name] = _key(text, where)
    return StateKeys(next(iter(keys)), keys)


def _key(text: str, where: str) -> bytes:
    try:
        key = b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        key = b""
    if len(key) != _KEY_LENGTH:
        raise ConfigurationError(f"{where}: a key is base64 of 32 bytes; {_REMEDY}")
    return key
