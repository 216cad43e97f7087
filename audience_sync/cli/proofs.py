"""`log verify`, `log export` and `log prove`: what the transfer log proves, here and elsewhere."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, BinaryIO

import typer

from audience_sync.cli import codes, options
from audience_sync.cli.session import opened
from audience_sync.cli.written import number, print_json, tell
from audience_sync.errors import ConfigurationError

if TYPE_CHECKING:
    from audience_sync.ledger.offline import Evidence
    from audience_sync.ledger.records.log import Verification

_TOLD = (
    "lines",
    "broken_at",
    "finding",
    "head",
    "checkpoints",
    "signed",
    "purged",
    "broken_checkpoint",
)
_SHOWN = ("event", "at", "audience", "destination", "recipient", "operation", "sent", "accepted")

Exported = Annotated[
    Path | None,
    typer.Argument(
        help="What `log export` or `log prove` wrote; it needs no project. "
        "Without it, the project's own log.",
        show_default=False,
    ),
]
Signers = Annotated[
    list[str] | None,
    typer.Option(
        help="The public key that must have signed, as you were told it in another way; "
        "may be given several times.",
        show_default=False,
    ),
]
Since = Annotated[
    str | None,
    typer.Option(help="From this time on: 2026-05-01, 12h, 7d, 4w.", show_default=False),
]
Until = Annotated[
    str | None, typer.Option(help="Up to this time; default: now.", show_default=False)
]
Output = Annotated[Path, typer.Option("--output", "-o", help="The file to write; never over one.")]


def verify(
    context: typer.Context,
    file: Exported = None,
    key: Signers = None,
    as_json: options.Json = False,
) -> int:
    """Verify that the log is as it was written.

    That is: no line was changed, deleted or inserted, and every signature is right.
    """
    if file is not None:
        return _verify_file(file, key, as_json=as_json)
    with opened(debug=context.obj["debug"]) as app:
        signer = app.signer_and_made[0]
        own = signer.trusted if signer is not None else None
        found = app.ledger.verify_log(key or own)
    if as_json:
        _print_json(found, public_key=None if signer is None else signer.public_key)
    elif found.sound:
        _print_sound(found)
        if signer is not None and found.checkpoints:
            print(f"The public key is {signer.public_key}")
    else:
        tell([f"The transfer log is not as it was written: {found.finding}."])
    return codes.DONE if found.sound else codes.FAILED


def _print_sound(found: Verification) -> None:
    print(f"{number(found.lines)} lines, none changed, deleted or inserted.")
    if found.purged:
        tell([f"Older lines, up to {number(found.purged)}, were purged; a checkpoint says so."])
    if found.checkpoints:
        print(f"Lines up to {number(found.signed)} are signed, at checkpoints.")
    if found.head is not None:
        later = "proves later that none of them was rewritten"
        tell([f"The hash of the last one, noted elsewhere, {later}:", found.head])


def _verify_file(file: Path, keys: list[str] | None, *, as_json: bool) -> int:
    from audience_sync.ledger.offline import verify_file  # noqa: PLC0415 - keeps --help light

    evidence = verify_file(file, keys or None)
    if as_json:
        facts = {"kind": evidence.kind, "public_key": evidence.public_key}
        _print_json(evidence.found, **facts, about=evidence.facts)
    elif evidence.found.sound:
        _print_evidence(evidence)
        print(f"It is signed with the key {evidence.public_key}")
        if not keys:
            tell(["Compare that with what the sender told you in another way, or give --key."])
    else:
        tell([f"This {evidence.kind} does not prove anything: {evidence.found.finding}."])
    return codes.DONE if evidence.found.sound else codes.FAILED


def _print_evidence(evidence: Evidence) -> None:
    found, facts = evidence.found, evidence.facts
    if evidence.kind == "bundle":
        whose = f"{facts.get('project')} of {facts.get('controller')}"
        lines = f"{number(found.lines)} lines, {facts['first']} to {facts['last']}"
        under = f"all under {_checkpoints(found.checkpoints)}"
        tell([f"{lines}, of the project {whose}:\nnone changed, deleted or inserted, {under}."])
        return
    line = facts["line"]
    tell([f"Line {line['sequence']} stands in the transfer log as it is shown here:"])
    for name in _SHOWN:
        print(f"  {name:<12} {line.get(name)}")
    print(f"Checkpoint {facts['checkpoint']} of {facts['at']} signed it.")


def _print_json(found: Verification, **more: Any) -> None:
    fields = {name: getattr(found, name) for name in _TOLD}
    print_json({"sound": found.sound, **fields, **more})


def export(context: typer.Context, output: Output, since: Since = None, until: Until = None) -> int:
    """Write a part of the log into one file that proves itself.

    Any machine can check it. It holds whole checkpoints, so it may begin a little earlier and end a
    little later.
    """
    from audience_sync.cli.transfers import moment  # noqa: PLC0415 - it registers this command
    from audience_sync.ledger.bundle import write_bundle  # noqa: PLC0415 - the same

    from_time, to_time = moment(since), moment(until)
    with opened(debug=context.obj["debug"]) as app, _written(output) as file:
        facts = {"project": app.project.name, "controller": app.project.controller}
        lines, checkpoints = write_bundle(app.ledger, file, app.signer, facts, from_time, to_time)
        key = app.signer.public_key
    tell([f"Wrote {number(lines)} lines under {_checkpoints(checkpoints)} to {output}."])
    _tell_how_to_check(output, key)
    return codes.DONE


def _tell_how_to_check(output: Path, key: str) -> None:
    tell(
        [
            f"`audience-sync log verify {output} --key {key}` checks it on any machine;",
            "tell the key in another way than the one that the file goes.",
        ]
    )


def _checkpoints(count: int) -> str:
    return "1 checkpoint" if count == 1 else f"{number(count)} checkpoints"


def prove(
    context: typer.Context,
    sequence: Annotated[
        int,
        typer.Argument(
            help="The line's number, as `log` shows it where 110 columns fit, and `log --json`."
        ),
    ],
    output: Output,
) -> int:
    """Write a proof that one line stands in the log.

    It tells nothing of the others.
    """
    from audience_sync.ledger.chain import canonical  # noqa: PLC0415 - keeps --help light
    from audience_sync.ledger.inclusion import prove as proof_of  # noqa: PLC0415 - the same

    with opened(debug=context.obj["debug"]) as app, _written(output) as file:
        file.write(canonical(proof_of(app.ledger, sequence, app.signer)) + b"\n")
        key = app.signer.public_key
    tell([f"Wrote the proof of line {sequence} to {output}."])
    _tell_how_to_check(output, key)
    return codes.DONE


@contextmanager
def _written(path: Path) -> Iterator[BinaryIO]:
    """A new file; nothing is left of it when the block does not end well."""
    try:
        with path.open("xb") as file:
            try:
                yield file
            except BaseException:
                path.unlink(missing_ok=True)
                raise
    except FileExistsError:
        raise ConfigurationError(f"{path} exists already; choose another name") from None
    except OSError as error:
        raise ConfigurationError(f"{path} cannot be written: {error.strerror}") from None
