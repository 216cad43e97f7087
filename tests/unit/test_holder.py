"""Who holds a lease is told from those who died, and from those who have their number now (L7)."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from audience_sync.holder import alive, this_process


def test_this_process_lives() -> None:
    """It names host, number and start, always the same."""
    assert alive(this_process())
    assert this_process() == this_process()
    assert this_process().startswith(f"{socket.gethostname()}:{os.getpid()}:")


def test_a_later_process_with_the_same_number_is_another() -> None:
    """Numbers are used again; the time of the start is not."""
    host, number, _ = this_process().split(":")
    assert not alive(f"{host}:{number}:1")


def test_other_hosts_and_strange_names_are_taken_to_live() -> None:
    """Where we cannot know, nobody is overtaken before the lease ends."""
    assert alive("elsewhere:1:1")
    assert alive(f"{socket.gethostname()}:web-1:2")
    assert alive("")


@pytest.mark.parametrize("without_proc", [False, True])
def test_another_process_lives_until_it_ends(
    without_proc: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A living neighbour is never taken for dead, not even where the system has no /proc."""
    code = "import sys; from audience_sync.holder import this_process as t; print(t(), flush=True);"
    if without_proc:
        code = "from pathlib import Path; Path.read_text = lambda *a, **k: open('/nowhere');" + code
    child = subprocess.Popen(  # noqa: S603 - our own interpreter
        [sys.executable, "-c", code + "sys.stdin.read()"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert child.stdout is not None
        holder = child.stdout.readline().strip()
        if without_proc:

            def nowhere(*_arguments: Any, **_options: Any) -> str:
                raise FileNotFoundError

            monkeypatch.setattr(Path, "read_text", nowhere)
        assert holder
        assert alive(holder)
    finally:
        child.communicate("")
    assert not alive(holder)


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="the system has no /proc")
def test_a_process_that_nobody_waited_for_is_dead() -> None:
    """The first process of a container may never ask how a killed worker ended."""
    code = "from audience_sync.holder import this_process as t; print(t(), flush=True); input()"
    child = subprocess.Popen(  # noqa: S603 - our own interpreter
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert child.stdout is not None
    holder = child.stdout.readline().strip()

    child.kill()
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)  # it has ended, and was not asked yet
    try:
        assert not alive(holder)
    finally:
        child.communicate()


def test_a_neighbour_that_the_system_hides_is_taken_to_live(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Where /proc shows only one's own processes, an unreadable one is not a dead one."""
    parent = f"{socket.gethostname()}:{os.getppid()}:123"

    def hidden(*_arguments: Any, **_options: Any) -> str:
        raise PermissionError

    monkeypatch.setattr(Path, "read_text", hidden)
    assert alive(parent)

    def foreign(_number: int, _signal: int) -> None:
        raise PermissionError

    monkeypatch.setattr(os, "kill", foreign)
    assert alive(parent)

    def gone(_number: int, _signal: int) -> None:
        raise ProcessLookupError

    monkeypatch.setattr(os, "kill", gone)
    assert not alive(parent)
