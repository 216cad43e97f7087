"""What a command does not load: a start is felt with every command, and with every schedule."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

import pytest

from audience_sync.ledger.ledger import Ledger

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
codes = [run(words.split()) for words in sys.argv[2:]]
print([m for m in sys.argv[1].split(",") if m in sys.modules], *codes, file=sys.stderr)
"""


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project that only Meta is sent to, with a ledger that has its tables."""
    folder = tmp_path_factory.mktemp("shop")
    (folder / "audience-sync.yaml").write_text(PROJECT)
    (folder / ".env").write_text("META_TOKEN=a-token\n")
    (folder / "customers.csv").write_text("id,email,consent\n1,anna@example.com,granted\n")
    Ledger.open(f"sqlite:///{folder}/.audience-sync/ledger.sqlite").close()
    return folder


def loaded(folder: Path, modules: Iterable[str], *commands: str) -> str:
    """Which of the modules are loaded after these commands, and their exit codes."""
    ended = subprocess.run(  # noqa: S603 - our own script
        [sys.executable, "-c", _SCRIPT, ",".join(modules), *commands],
        cwd=folder,
        env={"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=True,
    )
    return ended.stderr.strip().splitlines()[-1]


def test_help_is_light(shop: Path) -> None:
    """It is there at once."""
    assert loaded(shop, HELP, "--help", "sync --help") == "[] 0 0"


def test_commands_that_read_no_customers_are_light(shop: Path) -> None:
    """A look at the ledger loads nothing of the data path."""
    assert loaded(shop, NO_CUSTOMERS, "status", "runs", "log") == "[] 0 0 0"


def test_a_sync_loads_nothing_of_partners_that_it_does_not_go_to(shop: Path) -> None:
    """Nor what only workers, servers or an old ledger need. Held, since one member is too few."""
    assert loaded(shop, NEVER, "sync --dry-run") == "[] 3"
