"""The page of the command line says what the command says."""

from __future__ import annotations

import re
from pathlib import Path

from audience_sync.cli.commands import application
from audience_sync.cli.manual import _COMMANDS, page

PAGE = Path(__file__).resolve().parents[2] / "docs/command-line.md"


def test_the_page_is_current() -> None:
    """Otherwise: python -m audience_sync.cli.manual > docs/command-line.md."""
    assert PAGE.read_text(encoding="utf-8") == page()


def test_every_command_is_on_the_page() -> None:
    """None is left out."""
    made = application()
    names = {command.callback.__name__ for command in made.registered_commands if command.callback}
    for group in made.registered_groups:
        below = group.typer_instance.registered_commands if group.typer_instance else []
        names |= {
            f"{group.name} {command.callback.__name__}" for command in below if command.callback
        }
        names.add(str(group.name))
    assert names == set(_COMMANDS)


def test_no_summary_is_cut() -> None:
    """A list of commands says what each does in whole words, in 80 columns."""
    assert [line for line in page().splitlines() if re.match(r"  \w+ .*\.\.\.$", line)] == []
