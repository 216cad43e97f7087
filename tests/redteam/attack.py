"""Runs commands against the target, keeps all that they say, and searches whatever was written."""

from __future__ import annotations

import io
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any
from unittest import mock

from redteam.ears import Ears, listening
from redteam.mirror import Mirror, mirrored
from redteam.search import Hit, Needles
from redteam.target import KEYS, SECRETS, Target, new_target, partners_with_canaries, values
from shop import Ended
from typer.main import get_command

from audience_sync.cli.commands import application
from audience_sync.sandbox import RunningSandbox
from audience_sync.sandbox.rakuten.files import FileServer, running_files

WELL = {0, 3, 4}  # exit codes of a command that did something


@cache
def command_names() -> frozenset[str]:
    """Every command that there is, groups that are none themselves left out."""
    found: set[str] = set()
    made = application()
    found |= {str(one.callback.__name__) for one in made.registered_commands if one.callback}
    for group in made.registered_groups:
        assert group.typer_instance is not None
        below = group.typer_instance.registered_commands
        found |= {f"{group.name} {one.callback.__name__}" for one in below if one.callback}
        if group.typer_instance.registered_callback is not None:
            found.add(str(group.name))
    return frozenset(found)


@cache
def _commands() -> Any:
    return get_command(application())


@cache
def takes_json(words: tuple[str, ...]) -> bool:
    """Whether a command prints JSON where it is asked to."""
    command = _commands()
    for word in words:
        command = getattr(command, "commands", {}).get(word, command)
    return any("--json" in option.opts for option in command.params)


@dataclass
class Attack:
    """A target under attack: what it is, who watches, and what its commands said."""

    root: Path
    target: Target
    ears: Ears
    mirror: Mirror
    partners: RunningSandbox
    files: FileServer
    said: dict[str, str] = field(default_factory=dict)
    codes: dict[str, set[int]] = field(default_factory=dict)

    def run(self, *words: str, stdin: str = "") -> Ended:
        """Run a command in this process, with these lines on its stdin."""
        given = io.TextIOWrapper(io.BytesIO(stdin.encode()))
        with mock.patch.object(sys, "stdin", given):
            ended = self.target.run(*words)
        name = max((n for n in command_names() if _names(words, n)), key=len, default="")
        self.codes.setdefault(name, set()).add(ended.code)
        self.said[f"{len(self.said)} {words}"] = ended.out + ended.err
        return ended

    def both(self, *words: str, stdin: str = "") -> Ended:
        """Run it for people, and for programs with tracebacks where it can; the latter's end."""
        ended = self.run(*words, stdin=stdin)
        if not takes_json(words):
            return ended
        return self.run(*words, "--json", "--debug", stdin=stdin)

    def newest(self, audience: str, destination: str) -> str:
        """The id of the newest run of a list."""
        asked = ("runs", "--audience", audience, "--destination", destination, "--json")
        return str(self.target.must(*asked).json["runs"][0]["id"])

    def elsewhere(self, name: str) -> Attack:
        """Another project of the same people, watched by the same ears."""
        made = new_target(self.root / name, self.target.url, self.files.settings())
        return replace(self, target=made)

    @property
    def needles(self) -> Needles:
        """Everything that may stand nowhere, and the tokens that partners gave meanwhile."""
        given = {f"token {at} of a partner": token for at, token in enumerate(self.mirror.tokens)}
        return Needles(values() | given, KEYS)

    def hits(self, *more: Path) -> list[Hit]:
        """Whatever is found in logs, outputs, files that are there, files that went again."""
        needles = self.needles
        found = needles.hits("the logs", self.ears.said)
        for command, said in self.said.items():
            found += needles.hits(f"what was printed by {command[:80]}", said)
        for name, content in self.ears.gone.items():
            found += needles.hits(f"a file that went again, {name}", content)
        given = [path for shop in self.root.glob("*/") for path in Target(shop, "").given]
        return found + needles.in_files(self.root, but=[*given, *more])

    def sent(self) -> list[Hit]:
        """What the partners themselves were sent: there it belongs, and a search must find it."""
        return self.needles.hits("a request", b"\n".join(self.mirror.sent))


def _names(words: tuple[str, ...], name: str) -> bool:
    return tuple(name.split()) == words[: len(name.split())]


@contextmanager
def attacked(root: Path) -> Iterator[Attack]:
    """A new target at partners that know it, and everybody listening."""
    with (
        partners_with_canaries() as partners,
        mirrored(partners.url) as (mirror, url),
        running_files(password=SECRETS["SFTP_PASSWORD"]) as files,
        listening(root) as ears,
    ):
        target = new_target(root / "shop", url, files.settings())
        yield Attack(root, target, ears, mirror, partners, files)
