"""`keys show`, `keys rotate`, `keys drop`: new keys for the state without a stop. Prints no key."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any

import typer

from audience_sync.cli import codes, options
from audience_sync.cli.progress import working
from audience_sync.cli.session import opened

if TYPE_CHECKING:
    from audience_sync.app import App
    from audience_sync.rotating import Rotation

Name = Annotated[str, typer.Argument(help="The key's name, as `keys show` tells it.")]


def register(application: typer.Typer) -> None:
    """Add the commands of this file."""
    group = typer.Typer(help="New keys for the state, without a stop.", no_args_is_help=True)
    for command in (show, rotate, drop):
        group.command()(command)
    application.add_typer(group, name="keys")


def show(context: typer.Context, as_json: options.Json = False) -> int:
    """Show the keys by name, and how many files need each.

    Tells since when the state knows them, and never the keys themselves.
    """
    with opened(debug=context.obj["debug"]) as app:
        _print(app, _rotation(app).shown(), as_json=as_json)
    return codes.DONE


def rotate(
    context: typer.Context,
    fingerprint: Annotated[
        bool,
        typer.Option("--fingerprint", help="Make a new fingerprint key, and no new state key."),
    ] = False,
    as_json: options.Json = False,
) -> int:
    """Make a new state key, and write the whole state anew under it.

    Syncs and workers go on meanwhile. Where files still need an older key, no new one is made:
    the command goes on with what an earlier one left. Ends with 4 where files are left.

    With keys from the environment, put the new key first there and start the workers anew; then
    this command writes the files.
    """
    with opened(watched=not as_json, debug=context.obj["debug"]) as app:
        keys = _rotation(app)
        if fingerprint:
            keys.fingerprint_key()
            _print(app, keys.shown(), as_json=as_json)
            return codes.DONE
        with working(app.progress):
            done = keys.state_keys()
        _print(app, {"rewritten": done.written, **keys.shown()}, as_json=as_json)
    return codes.PARTLY if done.left else codes.DONE


def drop(
    context: typer.Context,
    name: Name,
    destroy: Annotated[
        bool,
        typer.Option("--destroy", help="Even where files need it: nobody will read them again."),
    ] = False,
    as_json: options.Json = False,
) -> int:
    """Take an older key out of the key file.

    Refused while anything needs it.
    """
    with opened(debug=context.obj["debug"]) as app:
        keys = _rotation(app)
        keys.drop(name, destroy=destroy)
        _print(app, keys.shown(), as_json=as_json)
    return codes.DONE


def _rotation(app: App) -> Rotation:
    from audience_sync.rotating import Rotation  # noqa: PLC0415 - keeps --help light

    return Rotation(
        settings=app.settings,
        ledger=app.ledger,
        location=app.location,
        keyring=app.keyring_and_fingerprint_key[0],
        progress=app.progress,
    )


def _print(app: App, document: Mapping[str, Any], *, as_json: bool) -> None:
    from audience_sync.cli.whole import plain_table  # noqa: PLC0415 - keeps --help light
    from audience_sync.cli.written import (  # noqa: PLC0415 - the same
        ago,
        console,
        number,
        print_json,
        tell,
    )

    if as_json:
        print_json(document)
        return
    if "rewritten" in document:
        print(f"{number(document['rewritten'])} files were written anew.\n")
    table = plain_table("key", "what it does", "known", "files", right=["files"])
    for key in document["keys"]:
        since = key["since"]
        known = "-" if since is None else ago(since, app.now())
        files = "" if key["files"] is None else number(key["files"])
        table.add_row(key["name"], key["use"], known, files)
    console().print(table)
    for advice in document["advice"]:
        tell([f"\n{advice}"])
