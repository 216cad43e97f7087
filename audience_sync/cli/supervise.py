"""`migrate`, `health` and `ready`: for those who install, and for what supervises processes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import typer

from audience_sync.cli import codes, options

if TYPE_CHECKING:
    from audience_sync.readiness import Look
    from audience_sync.settings import Settings


def register(application: typer.Typer) -> None:
    """Add the commands of this file."""
    for command in (migrate, health, ready):
        application.command()(command)


def migrate(as_json: options.Json = False) -> int:
    """Bring the ledger's database to the schema of this version.

    Stop workers and beat before. A SQLite ledger is brought up to date by any command; a
    PostgreSQL only by this one. Several at once wait for each other.
    """
    from audience_sync.ledger.ledger import Ledger  # noqa: PLC0415 - keeps --help light
    from audience_sync.ledger.tables import REVISION  # noqa: PLC0415 - the same

    found = Ledger.migrate(_settings().database_url.get_secret_value())
    if as_json:
        from audience_sync.cli.written import print_json  # noqa: PLC0415 - keeps --help light

        print_json({"found": found, "schema": REVISION})
    elif found == REVISION:
        print(f"The ledger has schema {REVISION} already.")
    else:
        before = "had no tables" if found is None else f"had schema {found}"
        print(f"The ledger {before} and has schema {REVISION} now.")
    return codes.DONE


def health(as_json: options.Json = False) -> int:
    """Tell whether this installation works by itself.

    That is project, connectors, keys and forms. Asks no server, so a supervisor may restart what
    fails here.
    """
    from audience_sync.readiness import health as look  # noqa: PLC0415 - keeps --help light

    return _tell(look, as_json=as_json)


def ready(as_json: options.Json = False) -> int:
    """Tell whether all that a run needs answers.

    That is ledger, schema, state, keys and broker. Exit code 0 when it does. Upgrades nothing,
    makes no keys and asks no partner.
    """
    from audience_sync.readiness import readiness  # noqa: PLC0415 - keeps --help light

    return _tell(readiness, as_json=as_json)


def _settings() -> Settings:
    from audience_sync.settings import load_settings  # noqa: PLC0415 - keeps --help light

    return load_settings()


def _tell(look: Callable[[Settings], Sequence[Look]], *, as_json: bool) -> int:
    looks = look(_settings())
    if as_json:
        from audience_sync.cli.written import print_json  # noqa: PLC0415 - keeps --help light

        found = [
            {"subject": each.subject, "ok": each.error is None, "detail": each.detail}
            for each in looks
        ]
        print_json({"ok": all(each["ok"] for each in found), "findings": found})
    else:
        for each in looks:
            print(f"{'ok    ' if each.error is None else 'FAILED'}  {each.subject}: {each.detail}")
    wrong = [codes.of_error(each.error) for each in looks if each.error is not None]
    return codes.USAGE if codes.USAGE in wrong else max(wrong, default=codes.DONE)
