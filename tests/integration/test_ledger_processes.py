"""Several processes on one ledger, as with Celery: one schema, one chain, on both databases."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from ledger_contract.builders import line

from audience_sync.ledger.ledger import Ledger
from audience_sync.ledger.tables import REVISION

PROCESSES = 3
LINES = 30

# Each makes the ledger, which is empty at first, and appends beside the others.
WRITER = f"""
import sys
from audience_sync.ledger.ledger import Ledger
from audience_sync.ledger.records.log import Event, TransferLine
line = TransferLine(event=Event.INTENT, run="r1", audience="vip", destination="meta-se",
                    recipient="Meta", recipient_country="IE", purpose="advertising")
print(Ledger.migrate(sys.argv[1]), flush=True)
with Ledger.open(sys.argv[1]) as ledger:
    for _ in range({LINES}):
        ledger.record([line])
    if sys.argv[2] == "die":
        print("dying", flush=True)
        while True:
            ledger.record([line])
"""


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An empty database."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/ledger.db"
    return str(request.getfixturevalue("postgresql_url"))


def _start(url: str, end: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", WRITER, url, end]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)  # noqa: S603 - ourselves


@pytest.mark.postgres
def test_processes_that_start_together_make_one_ledger(url: str) -> None:
    """They race for the tables, which one of them makes, and for every line; no number is lost."""
    writers = [_start(url, "finish") for _ in range(PROCESSES)]

    told = [writer.communicate(timeout=60)[0].strip() for writer in writers]
    assert [writer.returncode for writer in writers] == [0] * PROCESSES
    assert sorted(told) == sorted(["None"] + [REVISION] * (PROCESSES - 1))
    with Ledger.open(url) as ledger:
        found = ledger.verify_log()
    assert found.lines == PROCESSES * LINES
    assert found.sound


@pytest.mark.postgres
def test_a_killed_writer_leaves_a_sound_log(url: str) -> None:
    """Whatever it was doing: the line is there or it is not, and the next one fits (law L6)."""
    with _start(url, "die") as writer:
        assert writer.stdout is not None
        assert [writer.stdout.readline() for _ in range(2)] == ["None\n", "dying\n"]
        writer.kill()

    with Ledger.open(url) as ledger:
        before = ledger.verify_log()
        assert before.sound
        assert before.lines >= LINES
        ledger.record([line()])
        assert ledger.verify_log().sound
        assert ledger.verify_log().lines == before.lines + 1
