"""`demo`: the whole story in a minute, with made-up customers and simulated partners."""

from __future__ import annotations

import os
import shutil
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from audience_sync.cli import codes
from audience_sync.cli.setup import CUSTOMERS, write_demo
from audience_sync.errors import AudienceSyncError, ConfigurationError

if TYPE_CHECKING:
    from audience_sync.sandbox import RunningSandbox

_PORT = 8600
_PROCESSING = 0.5  # seconds that the simulated Google works on an upload
_NIGHT = 1.5  # between two syncs: longer than until Google is asked, which has answered by then
_PARTNERS = (
    "Meta, Google (Google Ads and Display & Video 360), TikTok, Snapchat, Pinterest,\n"
    "X, an HTTPS endpoint, and Rakuten for orders; all below"
)
_CHANGE = (  # the sqlite3 program is not everywhere, Python is
    'python3 -c \'import sqlite3; sqlite3.connect("customers.db").executescript('
    '"UPDATE customers SET ads_consent = NULL WHERE id < 500")\''
)
_WITHDRAWN, _CHANGED, _NEW = 200, 300, 100
_CANCELLED, _RETURNED, _ORDERED = 6, 6, 60


class _StepError(Exception):
    """A step ended with another exit code than 0."""

    def __init__(self, code: int) -> None:
        super().__init__(code)
        self.code = code


def register(application: typer.Typer) -> None:
    """Add the command of this file."""
    application.command()(demo)


def demo(
    context: typer.Context,
    customers: Annotated[
        int, typer.Option(min=10_000, help="How many customers are made up.")
    ] = CUSTOMERS,
    folder: Annotated[
        Path, typer.Option(help="Where the project is made; a number is added when it exists.")
    ] = Path("demo"),
    stay: Annotated[
        bool | None,
        typer.Option(
            "--stay/--no-stay",
            help="Keep the simulated partners running at the end; the default on a terminal.",
            show_default=False,
        ),
    ] = None,
) -> int:
    """Show the whole story, with made-up customers and partners."""
    place = _fresh(folder)
    on_terminal = sys.stdin.isatty() and sys.stdout.isatty()
    with _partners() as sandbox:
        try:
            _Story(place, context.obj["debug"]).tell(customers, sandbox.url)
        except _StepError as ended:
            return ended.code
        if on_terminal if stay is None else stay:
            _stay(place, sandbox.url)
    _goodbye(place, sandbox.url)
    return codes.DONE


@dataclass(frozen=True)
class _Story:
    place: Path
    debug: bool

    def tell(self, customers: int, sandbox: str) -> None:
        """Every step in one sentence, the command that a person would type, and its output."""
        project = self.place / "audience-sync.yaml"
        made_up = f"{customers:,} made-up customers of a retailer"
        _say(f"A project in {_shown(self.place)}, with {made_up}", "init --demo")
        write_demo(project, customers, sandbox)
        _say("Simulated partners on this machine", "sandbox")
        print(f"{_PARTNERS} {sandbox}")
        self._run("Is everything in order?", "check")
        self._run(
            "First sync: three audiences to seven partners, orders to one; who may not be shared "
            "is dropped",
            "sync",
        )
        self._compare(project, sandbox)
        change = self._change()
        time.sleep(_NIGHT)
        self._run(change, "sync")
        self._compare(project, sandbox)
        time.sleep(2 * _PROCESSING)  # Google answers later, and so does its simulation
        self._run("What the partners made of it, asked from them", "status --poll")
        self._run(
            "Every transfer of one list, before and after it was made; counts, no people",
            "log --audience lapsed-vip --destination meta-se",
        )
        self._run("Nobody changed the log", "log verify")

    def _compare(self, project: Path, sandbox: str) -> None:
        from audience_sync.cli.comparing import print_comparison  # noqa: PLC0415 - only here

        _say("What we believe the partners hold, and what they do hold, one by one")
        print()
        if not print_comparison(project, sandbox):
            raise _StepError(codes.FAILED)

    def _change(self) -> str:
        from audience_sync.testing.customer_base import (  # noqa: PLC0415 - keeps --help light
            change_customers,
        )
        from audience_sync.testing.project_template import DEMO_DATABASE  # noqa: PLC0415 - the same
        from audience_sync.testing.shop_orders import change_orders  # noqa: PLC0415 - the same

        base = self.place / DEMO_DATABASE
        changes = change_customers(base, withdraw=_WITHDRAWN, changed=_CHANGED, new=_NEW)
        orders = change_orders(base, cancelled=_CANCELLED, returned=_RETURNED, new=_ORDERED)
        return (
            f"{changes.withdrawn} customers withdraw their consent, {changes.changed} have a new "
            f"e-mail address, {changes.new} are new; {orders.cancelled} orders are cancelled, "
            f"{orders.returned} lose an article, {orders.new} are new: only the difference travels"
        )

    def _run(self, sentence: str, command: str) -> None:
        from audience_sync.cli.start import run  # noqa: PLC0415 - it imports this file

        _say(sentence, command)
        print(flush=True)
        debug = ["--debug"] if self.debug else []
        code = run(["--project", str(self.place), *debug, *command.split()])
        if code != codes.DONE:
            raise _StepError(code)


def _say(sentence: str, command: str | None = None) -> None:
    from audience_sync.cli.written import console  # noqa: PLC0415 - keeps --help light

    output = console()
    output.print(f"\n[bold cyan]{sentence}[/]")
    if command is not None:
        output.print(f"[dim]$ audience-sync {command}[/]")


def _fresh(folder: Path) -> Path:
    """The folder, or the first with a number behind it that is not there yet."""
    for name in (folder.name, *(f"{folder.name}-{number}" for number in range(2, 1000))):
        place = folder.absolute().with_name(name)
        try:
            place.mkdir(parents=True)
        except FileExistsError:
            continue
        except OSError as error:
            raise ConfigurationError(f"{place} cannot be made: {error.strerror}") from None
        return place
    raise ConfigurationError(f"{folder} exists a thousand times; remove some of them")


@contextmanager
def _partners() -> Iterator[RunningSandbox]:
    """The sandbox at its usual port, or at a free one when that is taken."""
    from audience_sync.sandbox import running_sandbox  # noqa: PLC0415 - keeps --help light

    try:
        found = running_sandbox(port=_PORT, google_processing_seconds=_PROCESSING)
        sandbox = found.__enter__()
    except AudienceSyncError:
        found = running_sandbox(google_processing_seconds=_PROCESSING)
        sandbox = found.__enter__()
    try:
        yield sandbox
    finally:
        found.__exit__(None, None, None)


def _stay(place: Path, url: str) -> None:
    _say("The partners go on running. In another terminal:")
    print(f"  cd {_shown(place)}")
    print(f"  {_CHANGE}")
    print(f"  {_program(place)} sync")
    print(f"\n{url}/_control/state shows what they hold. Ctrl-C here ends them.", flush=True)
    try:
        while True:
            time.sleep(3600)
    except KeyboardInterrupt:
        print()


def _goodbye(place: Path, url: str) -> None:
    port = url.rpartition(":")[2]
    option = "" if port == str(_PORT) else f" --port {port}"
    _say(f"The project stays in {_shown(place)}. The simulated partners have ended and forgot all")
    print("they held, so let audience-sync forget it too before you begin anew:")
    print(f"  cd {_shown(place)} && rm -r .audience-sync")
    print(f"  {_program(place)} sandbox{option} &")
    print(f"  {_program(place)} sync")


def _program(place: Path) -> str:
    """How audience-sync is called from the project's folder."""
    if shutil.which("audience-sync") is not None:
        return "audience-sync"
    return os.path.relpath(sys.argv[0], place)


def _shown(place: Path) -> str:
    here = Path.cwd()
    return str(place.relative_to(here)) if place.is_relative_to(here) else str(place)
