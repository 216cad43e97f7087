"""`audience-sync connectors new`: a package for a new connector that passes its own tests.

The files of `template/` are written with the name put in: `@name@` as it was given, `@module@`,
`@Class@`, `@title@` and `@VARIABLE@` made from it.
"""

from __future__ import annotations

import re
import shutil
import tempfile
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path

from audience_sync.errors import ConfigurationError

LONGEST = 40  # characters of a name

_NAME = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")
_SUFFIX = ".txt"  # keeps tools from taking the templates for code


def write_plugin(name: str, into: Path) -> Path:
    """Write the package of a connector into a new folder; all of it, or nothing.

    The folder is `audience-sync-NAME`; one that exists already is left alone.
    """
    if len(name) > LONGEST or not _NAME.fullmatch(name):
        raise ConfigurationError(
            "a connector's name has small letters, digits and single hyphens, begins with a "
            f"letter, and has at most {LONGEST} characters; choose one such as acme-ads"
        )
    folder = into / f"audience-sync-{name}"
    if folder.exists() or folder.is_symlink():
        raise ConfigurationError(f"{folder} exists already; nothing was written, choose another")
    try:
        into.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=into, prefix=".audience-sync-") as beside:
            made = Path(beside) / "made"
            _write(resources.files(__package__) / "template", made, _words(name))
            shutil.move(made, folder)
    except OSError as error:
        raise ConfigurationError(f"{folder} cannot be written: {error.strerror}") from None
    return folder


def _words(name: str) -> dict[str, str]:
    parts = name.split("-")
    return {
        "@name@": name,
        "@module@": "audience_sync_" + "_".join(parts),
        "@Class@": "".join(part.capitalize() for part in parts),
        "@title@": " ".join(part.capitalize() for part in parts),
        "@dot@": ".",  # a name that begins with one would not be packed
        "@VARIABLE@": "_".join(parts).upper(),
    }


def _write(template: Traversable, folder: Path, words: dict[str, str]) -> None:
    folder.mkdir()
    for found in template.iterdir():
        target = folder / _filled(found.name.removesuffix(_SUFFIX), words)
        if found.is_dir():
            _write(found, target, words)
        elif found.name.endswith(_SUFFIX):
            target.write_text(_filled(found.read_text(encoding="utf-8"), words), encoding="utf-8")


def _filled(text: str, words: dict[str, str]) -> str:
    for word, value in words.items():
        text = text.replace(word, value)
    return text
