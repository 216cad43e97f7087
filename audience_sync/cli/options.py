"""Arguments and options that several commands share, and how shells complete them."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import unquote

import typer

_PROJECT_FILES = ("audience-sync.yaml", "audience-sync.yml")
_RUNS = 50  # as many of the newest are offered


def _quiet(
    names: Callable[[Path | None], Iterable[str]],
) -> Callable[[typer.Context, str], list[str]]:
    """Names that begin as typed; nothing at all where they cannot be found."""

    def complete(context: typer.Context, incomplete: str) -> list[str]:
        try:
            given = context.find_root().params.get("project")
            return [name for name in names(given) if name.startswith(incomplete)]
        except Exception:  # noqa: BLE001 - a shell that completes must never see an error
            return []

    return complete


def _named(section: str) -> Callable[[Path | None], Iterable[str]]:
    """The names below a key of the project file, read without looking any further."""

    def names(given: Path | None) -> Iterable[str]:
        import yaml  # noqa: PLC0415 - only for completion

        text = _project_file(given).read_text(encoding="utf-8")
        found: Any = yaml.safe_load(text)
        return [str(name) for name in found.get(section) or ()]

    return names


def _project_file(given: Path | None) -> Path:
    place = Path(given or os.environ.get("AUDIENCE_SYNC_PROJECT") or Path.cwd())
    if place.is_file():
        return place
    return next(place / name for name in _PROJECT_FILES if (place / name).is_file())


def _run_ids(given: Path | None) -> Iterable[str]:
    from audience_sync.ledger.ledger import Ledger  # noqa: PLC0415 - only for completion
    from audience_sync.settings import load_settings  # noqa: PLC0415 - the same

    url = load_settings(project=given).database_url.get_secret_value()
    file = url.removeprefix("sqlite:///")
    if file != url and not Path(unquote(file)).is_file():
        return []  # completing a word must not make a ledger
    with Ledger.open(url) as ledger:
        return [run.id for run in ledger.runs(limit=_RUNS)]


complete_audience = _quiet(_named("audiences"))
complete_destination = _quiet(_named("destinations"))
complete_run = _quiet(_run_ids)

Audience = Annotated[
    str,
    typer.Argument(help="The audience's name.", autocompletion=complete_audience),
]
Audiences = Annotated[
    list[str] | None,
    typer.Argument(
        help="Names of audiences; all of the project's when none is named.",
        autocompletion=complete_audience,
        show_default=False,
    ),
]
ADestination = Annotated[
    str,
    typer.Argument(help="The destination's name.", autocompletion=complete_destination),
]
OfAudience = Annotated[
    str | None,
    typer.Option("--audience", help="Only of this audience.", autocompletion=complete_audience),
]
OfDestination = Annotated[
    str | None,
    typer.Option(
        "--destination",
        help="Only at this destination.",
        autocompletion=complete_destination,
    ),
]
RunId = Annotated[
    str,
    typer.Argument(
        help="The run's id, or as much of its beginning as only it has.",
        metavar="RUN",
        autocompletion=complete_run,
    ),
]
OfRun = Annotated[
    str | None,
    typer.Option("--run", help="Only of this run.", autocompletion=complete_run),
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document instead.")]
