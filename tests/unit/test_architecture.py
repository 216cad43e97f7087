"""The house stands: imports point downwards only, and libraries stay in their rooms."""

from __future__ import annotations

import ast
import textwrap
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from audience_sync import connector, errors

ROOT = Path(errors.__file__).parents[1]

# Lowest first. A room imports from lower storeys only; rooms of one storey do not know each other.
STOREYS: tuple[frozenset[str], ...] = tuple(
    map(
        frozenset,
        (
            {"errors"},
            {
                "addresses",
                "crashing",
                "cron",
                "identifiers",
                "keys",
                "period",
                "retention",
                "signing",
                "stopping",
            },
            {"members", "oauth", "orders"},
            {"connector"},
            {"__init__", "journal", "plugins", "project", "settings"},
            {"customers", "membership", "delivery", "ledger"},
            {"runs"},
            {"targeting", "holder", "ordering", "processing_record", "discretion"},
            {"checking", "purging"},
            {"assembly", "fanning", "rotating"},
            {"withdrawing"},
            {"access"},
            {"app", "readiness"},
            {"worker", "cli", "web"},
            {"__main__"},
        ),
    )
)
STOREY = {room: number for number, rooms in enumerate(STOREYS) for room in rooms}
SHARED = {"ledger.records"}  # plain values, which every room beside the ledger may know
ENTRANCES = STOREYS[-2]
PIPELINE = frozenset().union(*STOREYS[5:])
BESIDE = {"sandbox", "testing"}  # import nothing of the pipeline; only the entrances import them

# Which rooms may import a library; one that is not named may be imported anywhere.
LIBRARIES = {
    "alembic": {"ledger"},
    "celery": {"worker"},
    "kombu": {"worker"},
    "polars": {"customers", "identifiers", "membership", "orders", "runs", "testing"},
    "polars_hash": {"identifiers", "runs"},
    "redis": {"delivery", "worker"},
    "requests": {"cli", "delivery"},
    "rich": {"cli"},
    "sqlalchemy": {"customers", "ledger"},
    "starlette": {"sandbox", "web"},
    "typer": {"cli"},
    "uvicorn": {"sandbox", "web"},
}
EMPTY_WORDS = {"common", "helper", "helpers", "manager", "managers", "misc", "util", "utils"}


def test_the_house_keeps_its_rules() -> None:
    """No import upwards or sideways, no library outside its rooms, no module without a name."""
    assert list(violations(ROOT)) == []


def test_the_drawing_of_the_errors_is_the_tree_of_the_errors() -> None:
    """What the docstring draws is what can be caught."""
    drawn = textwrap.indent("\n".join(_drawing(errors.AudienceSyncError)), "    ")

    assert f"\n\n{drawn}\n\n" in str(errors.__doc__)


@pytest.mark.parametrize(
    ("module", "source", "finding"),
    [
        ("audience_sync/ledger/a.py", "import audience_sync.runs.plan", "imports runs"),
        ("audience_sync/ledger/a.py", "from audience_sync import app", "imports app"),
        ("audience_sync/ledger/a.py", "from ..runs import plan", "imports runs"),
        ("audience_sync/ledger/a.py", "def f():\n    import audience_sync.runs", "imports runs"),
        ("audience_sync/delivery/a.py", "import audience_sync.ledger.runs", "imports ledger"),
        ("audience_sync/members.py", "import audience_sync.connector", "imports connector"),
        ("audience_sync/errors.py", "import audience_sync.members", "imports members"),
        ("audience_sync/sandbox/a.py", "import audience_sync.ledger.records", "imports ledger"),
        ("audience_sync/testing/a.py", "import audience_sync.customers", "imports customers"),
        ("audience_sync/runs/a.py", "import audience_sync.sandbox", "imports sandbox"),
        ("audience_sync/cellar/a.py", "", "has no storey"),
        ("audience_sync/runs/a.py", "import audience_sync.cellar", "imports cellar"),
        ("audience_sync/runs/a.py", "import requests.adapters", "imports requests"),
        ("audience_sync/runs/a.py", "from celery import Celery", "imports celery"),
        ("audience_sync/app.py", "import sqlalchemy as sa", "imports sqlalchemy"),
        ("connectors/a.py", "import requests", "imports requests"),
        ("connectors/a.py", "from audience_sync.errors import BusyError", "imports errors"),
        ("connectors/a/b.py", "import audience_sync.ledger", "imports ledger"),
        ("connectors/a.py", "from audience_sync.connector import answers", "connector.answers"),
        ("connectors/a.py", "import audience_sync.connector.base", "connector.base"),
        ("audience_sync/runs/utils.py", "", "says nothing"),
    ],
)  # fmt: skip
def test_a_broken_rule_is_found(tmp_path: Path, module: str, source: str, finding: str) -> None:
    """The checker bites: each of these is named, with its file."""
    _write(tmp_path, {module: source})

    [found] = violations(tmp_path)

    assert found.startswith(f"{module} ")
    assert finding in found


def test_what_is_allowed_is_not_found(tmp_path: Path) -> None:
    """Downwards, within a room, the shared values, and libraries at home."""
    _write(
        tmp_path,
        {
            "audience_sync/__init__.py": "",
            "audience_sync/delivery/a.py": (
                "import requests, redis\n"
                "from audience_sync.ledger.records import Run\n"
                "from audience_sync.ledger import records\n"
                "from audience_sync.delivery import b\n"
                "from . import b\n"
            ),
            "audience_sync/cli/a.py": "import audience_sync.sandbox, audience_sync.app, typer",
            "audience_sync/testing/a.py": "import polars, audience_sync.sandbox.google",
            "connectors/a.py": (
                "import audience_sync.connector, connectors.b, json\n"
                "from audience_sync.connector import Answer, Connector\n"
            ),
        },
    )

    assert list(violations(tmp_path)) == []


def violations(root: Path) -> Iterator[str]:
    """Each broken rule in one sentence, with the file's path."""
    for top in ("audience_sync", "connectors"):
        for path in sorted((root / top).rglob("*.py")):
            parts = path.relative_to(root).with_suffix("").parts
            room = parts[1] if top == "audience_sync" else "connectors"
            for told in _broken(room, parts, path):
                yield f"{path.relative_to(root)} {told}"


def _broken(room: str, parts: tuple[str, ...], path: Path) -> Iterator[str]:
    if path.stem in EMPTY_WORDS:
        yield f"has a name that says nothing: {path.stem}"
    if room not in {*STOREY, *BESIDE, "connectors"}:
        yield f"is in a room that has no storey: {room}; give it one in STOREYS"
        return
    for module in sorted(set(_imported(path, parts))):
        library, _, inner = module.partition(".")
        if library == "audience_sync":
            other = inner.partition(".")[0]
            if other and not _may_import(room, other, inner):
                yield f"imports {inner}, which {room} may not know"
        elif room not in LIBRARIES.get(library, {room}):
            yield f"imports {library}, which belongs in {', '.join(sorted(LIBRARIES[library]))}"


def _may_import(room: str, other: str, inner: str) -> bool:
    if room == "connectors":
        return inner in {"connector", *(f"connector.{name}" for name in connector.__all__)}
    if room in BESIDE:
        return other in BESIDE or (other in STOREY and other not in PIPELINE)
    if other in BESIDE:
        return room in ENTRANCES
    if other not in STOREY:
        return False
    shared = ".".join(inner.split(".")[:2]) in SHARED and STOREY[room] == STOREY[other]
    return room == other or shared or STOREY[other] < STOREY[room]


def _imported(path: Path, parts: tuple[str, ...]) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = [*parts[: -node.level]] if node.level else []
            base += [node.module] if node.module else []
            yield from (".".join([*base, name.name]) for name in node.names)


def _drawing(kind: type) -> Iterator[str]:
    yield kind.__name__
    below = [child for child in kind.__subclasses__() if child.__module__ == errors.__name__]
    for child in below:
        last = child is below[-1]
        first, *rest = _drawing(child)
        yield ("└── " if last else "├── ") + first
        yield from (("    " if last else "│   ") + line for line in rest)


def _write(root: Path, modules: Mapping[str, str]) -> None:
    for name, source in modules.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(source)
