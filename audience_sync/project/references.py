"""Secrets and other values by reference: `${ENVIRONMENT_VARIABLE}` and `file:/path`.

A secret that stands in the file itself is refused. Whatever a reference gave is hidden from every
later sentence.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, get_args, get_origin
from urllib.parse import parse_qsl, urlsplit

from pydantic import BaseModel, SecretBytes, SecretStr

from audience_sync.project.document import Findings, Place, Step

_VARIABLE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")
_ONE_VARIABLE = re.compile(r"\$\{[A-Za-z_][A-Za-z0-9_]*\}")
_SECRET_PARAMETER = re.compile(
    r"pass|pwd|secret|token|credential|signature|(^|_)(key|sig)$", re.IGNORECASE
)
_SHORTEST_HIDDEN = 4  # characters; hiding "1" would garble every sentence
_LARGEST_SECRET = 1_000_000  # bytes


def secret_places(model: type[BaseModel], value: object) -> Iterator[Place]:
    """Where the values of secret fields stand within a section as it is written."""
    if not isinstance(value, dict):
        return
    for name, field in model.model_fields.items():
        for key in {name, field.alias or name} & value.keys():
            yield from _below(field.annotation, value[key], (key,))


def _below(annotation: object, value: object, place: Place) -> Iterator[Place]:
    if annotation in (SecretStr, SecretBytes):
        yield from _leaves(value, place)
    elif isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield from ((*place, *rest) for rest in secret_places(annotation, value))
    elif isinstance(value, dict) and get_origin(annotation) in (dict, Mapping):
        for key, child in value.items():
            yield from _below(get_args(annotation)[-1], child, (*place, key))
    elif isinstance(value, list) and get_origin(annotation) in (list, tuple, set, frozenset):
        for at, child in enumerate(value):
            yield from _below(get_args(annotation)[0], child, (*place, at))
    else:
        for choice in get_args(annotation):
            yield from _below(choice, value, place)


def _leaves(value: object, place: Place) -> Iterator[Place]:
    if isinstance(value, dict):
        for key, child in value.items():
            yield from _leaves(child, (*place, key))
    elif isinstance(value, list):
        for at, child in enumerate(value):
            yield from _leaves(child, (*place, at))
    elif value is not None:
        yield place


@dataclass(frozen=True)
class References:
    """Replaces references by what they stand for, and notes those that stand for nothing.

    Secrets that stand for nothing are noted in `absent`, where that is given.
    """

    findings: Findings
    environ: Mapping[str, str]
    absent: Findings | None = None

    def fill(self, value: Any, place: Place, secrets: frozenset[Place] = frozenset()) -> Any:
        """The value with every reference replaced; `secrets` are places that allow nothing else."""
        if isinstance(value, dict):
            return {key: self.fill(child, (*place, key), secrets) for key, child in value.items()}
        if isinstance(value, list):
            return [self.fill(child, (*place, at), secrets) for at, child in enumerate(value)]
        if place in secrets:
            return self.secret(value, place)
        return self.text(value, place) if isinstance(value, str) else value

    def text(self, written: str, place: Sequence[Step]) -> str:
        """A text with each `${VARIABLE}` in it replaced."""
        return _VARIABLE.sub(lambda found: self._variable(found[1], place), written)

    def secret(self, written: object, place: Sequence[Step]) -> str:
        """A secret, which must be one whole reference."""
        if isinstance(written, str):
            found = replace(self, findings=self.absent or self.findings)
            if _ONE_VARIABLE.fullmatch(written):
                return found.text(written, place)
            if written.startswith("file:") and len(written) > len("file:"):
                return found.file(written, place)
        self._hide(str(written))
        variable = re.sub(r"[^A-Z0-9]+", "_", "_".join(str(step) for step in place[1:]).upper())
        self.findings.add(
            place,
            f"a secret does not stand in the project file; write ${{{variable}}} or file:/path",
        )
        return ""

    def url(self, written: str, place: Sequence[Step]) -> str:
        """A source's URL: a password in it must be a reference, the rest may be."""
        if written.startswith("file:") and not written.startswith("file://"):
            return self.file(written, place)
        if any(not _ONE_VARIABLE.fullmatch(part) for part in self._credentials(written)):
            self._hide(written, *self._credentials(written))
            self.findings.add(
                place,
                "a password does not stand in the project file; write it as ${DB_PASSWORD}, "
                "or the whole URL as file:/path",
            )
            return ""
        return self.text(written, place)

    def _credentials(self, url: str) -> list[str]:
        """The parts of a URL that are secret, as written."""
        try:
            parts = urlsplit(url)
        except ValueError:
            return []
        login = parts.netloc.rpartition("@")[0]
        found = [login.partition(":")[2]] if ":" in login else []
        parameters = parse_qsl(parts.query, keep_blank_values=False)
        return found + [text for name, text in parameters if _SECRET_PARAMETER.search(name)]

    def _variable(self, name: str, place: Sequence[Step]) -> str:
        found = self.environ.get(name)
        if not found:
            trouble = "is not set" if found is None else "is empty"
            self.findings.add(place, f"the environment variable {name} {trouble}; set it")
            return ""
        self._hide(found)
        return found

    def file(self, written: str, place: Sequence[Step]) -> str:
        """What the file that `file:/path` names holds, without its last line break."""
        path = self.findings.path.parent / Path(written.removeprefix("file:")).expanduser()
        try:
            with path.open("rb") as opened:
                text = opened.read(_LARGEST_SECRET).decode("utf-8").rstrip("\r\n")
        except UnicodeError:
            self.findings.add(place, f"the file {path} is not UTF-8 text; write the secret into it")
            return ""
        except OSError as error:
            reason = error.strerror or "unknown reason"
            self.findings.add(place, f"the file {path} cannot be read: {reason}")
            return ""
        if not text:
            self.findings.add(place, f"the file {path} is empty; write the secret into it")
        self._hide(text, *text.splitlines())
        return text

    def _hide(self, *values: str) -> None:
        self.findings.hidden.update(text for text in values if len(text) >= _SHORTEST_HIDDEN)
