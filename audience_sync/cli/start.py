"""From the arguments of a process to its exit code: one sentence for whatever goes wrong."""

from __future__ import annotations

import errno
import os
import sys
import traceback
from collections.abc import Sequence
from functools import cache
from typing import Any, TextIO

import typer
from typer.main import get_command

from audience_sync.cli import codes, ending
from audience_sync.cli.commands import application
from audience_sync.cli.loading import loading
from audience_sync.cli.stdin import SURROGATE
from audience_sync.errors import AudienceSyncError, ConfigurationError

_TAKES_VALUE = "--project"
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)
_GLOBAL_FLAGS = ("--debug",)


def run_and_exit() -> None:
    """Run the command that the process was called with; never returns."""
    code = run(sys.argv[1:])
    wrong = _flushed(sys.stdout)
    if wrong is not None and code == codes.DONE:
        ending.say(f"audience-sync: {wrong}")
        code = codes.FAILED
    _flushed(sys.stderr)
    if code == codes.INTERRUPTED:
        os._exit(code)  # threads may still wait for a partner; nobody waits for them
    sys.exit(code)


def _flushed(stream: TextIO) -> str | None:
    """Write what is left of a stream, or drop it; what to tell where it cannot be written."""
    try:
        stream.flush()
    except (OSError, ValueError) as error:
        # Without this the interpreter would complain once more.
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
        return _unwritten(error) if isinstance(error, OSError) else None
    return None


def _unwritten(error: OSError) -> str | None:
    """What to tell of output for which there is no room; a reader that has gone wants no words."""
    if error.errno not in _NO_ROOM:
        return None
    return (
        "a disk is full or fails, that of the output or of the state; what the command did stays "
        "done: make room, then run it again"
    )


def run(arguments: Sequence[str]) -> int:
    """Run one command; its exit code. Prints one sentence, never a traceback without --debug."""
    words = globals_first(arguments)
    debug = "--debug" in words
    as_json = "--json" in words
    try:
        _refuse_torn(words)
        with loading():
            commands = _commands()
        found = commands.main(args=words, prog_name="audience-sync", standalone_mode=False)
    except typer.TyperException as wrong:
        _tell_usage(wrong, words, as_json=as_json)
        return codes.USAGE
    except typer.Abort:
        return codes.INTERRUPTED
    except SystemExit as ended:
        return ended.code if isinstance(ended.code, int) else codes.FAILED
    except AudienceSyncError as error:
        _trace(debug)
        ending.tell(str(error), as_json=as_json)
        return codes.of_error(error)
    except Exception as error:  # noqa: BLE001 - the last resort: a sentence instead of a traceback
        _trace(debug)
        ending.tell(_unexpected(error, debug=debug), as_json=as_json)
        return codes.FAILED
    if found == codes.INTERRUPTED and not ending.BEGUN.is_set():
        ending.say("audience-sync: interrupted; nothing was sent")
    return found if isinstance(found, int) else codes.DONE


def _refuse_torn(words: Sequence[str]) -> None:
    """Refuse a word that is no text, unless it is a file that is there: those have any name."""
    for word in words:
        value = word.partition("=")[2] if word.startswith("--") else word
        if SURROGATE.search(word) and not os.path.exists(value):  # noqa: PTH110 - never raises
            raise ConfigurationError(
                "a word of the command is given in bytes that are not UTF-8; type it anew, in a "
                "terminal that writes UTF-8"
            )


@cache
def _commands() -> Any:
    """Every command as the parser knows it; who runs several in a process builds it once."""
    return get_command(application())


def globals_first(arguments: Sequence[str]) -> list[str]:
    """The arguments with --project and --debug moved to the front: they may stand anywhere."""
    front: list[str] = []
    rest: list[str] = []
    words = iter(arguments)
    for word in words:
        if word == "--":
            return [*front, *rest, word, *words]
        if word == _TAKES_VALUE:
            value = next(words, None)
            front += [word] if value is None else [word, value]
        elif word in _GLOBAL_FLAGS or word.startswith(f"{_TAKES_VALUE}="):
            front.append(word)
        else:
            rest.append(word)
    return [*front, *rest]


def _tell_usage(wrong: typer.TyperException, words: Sequence[str], *, as_json: bool) -> None:
    """One sentence; but who names no command at all sees them all."""
    show = getattr(wrong, "show", None)
    if not words and show is not None:
        show()
        return
    context = getattr(wrong, "ctx", None)
    path = _command(words) if context is None else context.command_path
    told = wrong.format_message().strip().rstrip(".").replace("\n", " ")
    told = told.removeprefix("Invalid value: ")
    ending.tell(f"{told[:1].lower()}{told[1:]}; see `{path} --help`", as_json=as_json)


def _command(words: Sequence[str]) -> str:
    """The command that the words name, as far as they name one: a parser does not tell."""
    found: Any = _commands()
    path = ["audience-sync"]
    for word in words:
        below = getattr(found, "commands", {})
        if word in below:
            found = below[word]
            path.append(word)
    return " ".join(path)


def _trace(debug: bool) -> None:
    if debug:
        traceback.print_exc()


def _unexpected(error: Exception, *, debug: bool) -> str:
    """The class only: the text of a stranger's exception may hold anything."""
    if isinstance(error, OSError) and error.filename is None and (wrong := _unwritten(error)):
        return wrong
    more = "please report it" if debug else "run again with --debug to see where, and report it"
    return f"something unexpected stopped the command ({type(error).__name__}); {more}"
