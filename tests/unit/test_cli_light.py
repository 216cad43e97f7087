"""What a command does not load: a start is felt with every command, and with every schedule."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PROJECT = """\
project: corner-shop
controller: Corner Shop AB
source:
  url: customers.csv
  columns: {customer_id: id, email: email, consent: consent}
destinations:
  meta-se:
    connector: meta
    ad_account_id: "1234567890"
    access_token: ${META_TOKEN}
audiences:
  everyone: {destinations: [meta-se]}
"""
# Of other partners, of servers, of Celery, of a database that has its tables: for nobody here.
NEVER = (
    "adbc_driver_manager",
    "alembic",
    "celery",
    "connectors.google",
    "google.auth",
    "jsonschema",
    "kombu",
    "redis",
    "starlette",
    "uvicorn",
)
# What looks at no customer does without the libraries of the data path.
NO_CUSTOMERS = (*NEVER, "polars_hash", "pyarrow", "phonenumbers", "requests")
# Typer reads a command's own arguments with pydantic, so that is not here.
HELP = (*NO_CUSTOMERS, "connectors", "numpy", "polars", "rich", "sqlalchemy", "yaml")

_SCRIPT = """
import sys
from audience_sync.cli.start import run
code = run(sys.argv[2:])
print([m for m in sys.argv[1].split(",") if m in sys.modules], code, file=sys.stderr)
"""


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project that only Meta is sent to, with a ledger that has its tables."""
    folder = tmp_path_factory.mktemp("shop")
    (folder / "audience-sync.yaml").write_text(PROJECT)
    (folder / ".env").write_text("META_TOKEN=a-token\n")
    (folder / "customers.csv").write_text("id,email,consent\n1,anna@example.com,granted\n")
    loaded(folder, "", "status")
    return folder


def loaded(folder: Path, modules: str, *words: str) -> str:
    """Which of the modules a command has loaded at its end, and its exit code."""
    ended = subprocess.run(  # noqa: S603 - our own script
        [sys.executable, "-c", _SCRIPT, modules, *words],
        cwd=folder,
        env={"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=True,
    )
    return ended.stderr.strip().splitlines()[-1]


@pytest.mark.parametrize(
    ("modules", "words"),
    [
        (HELP, ["--help"]),
        (HELP, ["sync", "--help"]),
        (NO_CUSTOMERS, ["status"]),
        (NO_CUSTOMERS, ["runs"]),
        (NO_CUSTOMERS, ["log"]),
    ],
    ids=lambda given: " ".join(given) if isinstance(given, list) else "",
)
def test_commands_that_read_no_customers_are_light(
    shop: Path, modules: tuple[str, ...], words: list[str]
) -> None:
    """Help is there at once; a look at the ledger loads nothing of the data path."""
    assert loaded(shop, ",".join(modules), *words) == "[] 0"


def test_a_sync_loads_nothing_of_partners_that_it_does_not_go_to(shop: Path) -> None:
    """Nor what only workers, servers or an old ledger need. Held, since one member is too few."""
    assert loaded(shop, ",".join(NEVER), "sync", "--dry-run") == "[] 3"
