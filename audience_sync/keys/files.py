"""Files that hold keys: written whole or not at all, read by their owner alone."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from audience_sync.errors import ConfigurationError

_OTHERS = stat.S_IRWXG | stat.S_IRWXO


def write_once(path: Path, text: str) -> bool:
    """Write a file that is not there yet; false when another process was first."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    unfinished = _written(path, text)
    try:
        os.link(unfinished, path)
    except FileExistsError:
        return False
    finally:
        unfinished.unlink(missing_ok=True)
    return True


def replace(path: Path, text: str) -> None:
    """Let a file hold another text, for good once this returns."""
    unfinished = _written(path, text)
    try:
        unfinished.replace(path)
        descriptor = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    finally:
        unfinished.unlink(missing_ok=True)


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


def own_text(path: Path) -> str:
    """What a file holds; refused where other users may read it, too."""
    with path.open(encoding="utf-8") as opened:
        if os.fstat(opened.fileno()).st_mode & _OTHERS:
            raise ConfigurationError(
                f"other users of this machine may read {path}; run `chmod 600 {path}`"
            )
        return opened.read()
