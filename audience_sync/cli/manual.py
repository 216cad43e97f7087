"""`python -m audience_sync.cli.manual` writes docs/command-line.md from what --help says."""

from __future__ import annotations

import contextlib
import io
import os
from collections.abc import Iterator, Mapping

_COMMANDS = (
    "init", "check", "plan", "sync", "approve", "cancel", "resume", "forget", "withdraw",
    "withdrawals", "status", "runs",
    "run", "log", "log verify", "log export", "log prove",
    "orders", "orders arrived", "orders lost", "canaries",
    "subject", "subject find", "subject erase",
    "keys", "keys show", "keys rotate", "keys drop", "purge", "records",
    "connectors", "connectors show", "connectors new", "schema",
    "migrate", "health", "ready", "serve", "sandbox", "worker", "beat", "demo",
)  # fmt: skip
_TERMINAL = {"COLUMNS": "80", "LINES": "24", "TERM": "dumb", "NO_COLOR": "1"}
_BEGINNING = """\
# The command line

`audience-sync` finds the project file in the current folder, by `--project`, or by
`AUDIENCE_SYNC_PROJECT`. `--project` and `--debug` may stand anywhere in a command.

* **Exit codes**: 0 done; 1 failed; 2 wrong usage or configuration; 3 held by a guard, a person
  decides; 4 done in part, some destinations failed; 130 stopped by Ctrl-C.
* **`--json`** prints one JSON document on stdout and nothing else. Where a command fails, the
  document is `{"error": "…"}`. Sentences for people, logs and progress bars go to stderr.
* **Errors** are one sentence. `--debug` shows where one came from; without it there is never a
  traceback, since a traceback can hold values.
* **Ctrl-C** during a delivery waits for the requests under way and names the run, which
  `audience-sync resume RUN` or the next `sync` goes on with. A second Ctrl-C ends it at once.
  Nothing is lost by that, nor by a kill: what was sent without an answer is sent again, and the
  transfer log tells it as unknown.
* **Runs** may be named by the beginning of their id.
* **Logs** go to stderr, as text or JSON (`AUDIENCE_SYNC_LOG_FORMAT`), from
  `AUDIENCE_SYNC_LOG_LEVEL` on. Libraries are heard from WARNING on, whatever the level.
* **Completion** of commands, audiences, destinations and runs:
  `audience-sync --install-completion`.

This page is written by `python -m audience_sync.cli.manual > docs/command-line.md`.
"""


def page() -> str:
    """The whole page."""
    parts = [_BEGINNING, _section("audience-sync", [])]
    parts += [_section(f"audience-sync {name}", name.split()) for name in _COMMANDS]
    return "\n".join(parts)


def _section(title: str, words: list[str]) -> str:
    return f"## {title}\n\n```text\n{_help(words)}\n```\n"


def _help(words: list[str]) -> str:
    from audience_sync.cli.start import run  # noqa: PLC0415 - it is heavy, and only needed here

    told = io.StringIO()
    with _terminal(_TERMINAL), contextlib.redirect_stdout(told):
        run([*words, "--help"])
    return "\n".join(line.rstrip() for line in told.getvalue().strip().splitlines())


@contextlib.contextmanager
def _terminal(like: Mapping[str, str]) -> Iterator[None]:
    before = dict(os.environ)
    os.environ.update(like)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


if __name__ == "__main__":
    print(page(), end="")
