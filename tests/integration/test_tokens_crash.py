"""Wherever a process dies while a token is renewed, the next one works or says what to do."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType
from typing import Any
from urllib.parse import parse_qs

import pytest
from membership_model import keyring
from pipeline_world import fast_folder

from audience_sync import oauth
from audience_sync.connector import AuthenticationError, Grant, RefusedError, SecretStr, Tokens
from audience_sync.ledger.ledger import Ledger
from audience_sync.membership import location
from audience_sync.runs import vault
from audience_sync.runs.vault import Vault
from audience_sync.testing.builders import answered

WATCHED = {module.__file__ for module in (oauth, vault, location)}
KILLED = 9


class Partner:
    """A partner whose memory is a file, so that it outlives whoever asked it.

    A `lenient` one takes the refresh token before the last one too.
    """

    def __init__(
        self, folder: Path, ledger: Ledger, *, lenient: bool, everybody_lives: bool = False
    ) -> None:
        folder.mkdir(exist_ok=True)
        self.folder, self.ledger, self.lenient = folder, ledger, lenient
        self.everybody_lives = everybody_lives
        self.memory = folder / "partner.json"

    def kept(self, name: str) -> Any:
        return Vault(
            destination=f"pinterest-{self.folder.name}",
            ledger=self.ledger,
            location=location.FolderLocation(self.folder / "state"),
            keyring=keyring(),
            holder=f"process {os.getpid()}",
            alive=lambda _holder: self.everybody_lives,
        ).kept(name)

    def given(self) -> list[str]:
        """Every refresh token there was, the last one last."""
        return list(json.loads(self.memory.read_text())) if self.memory.exists() else ["seed"]

    def request(self, _method: str, _url: str, *, body: bytes = b"", **_: Any) -> Any:
        given = self.given()
        [token] = parse_qs(body.decode())["refresh_token"]
        if token not in given[-2 if self.lenient else -1 :]:
            raise RefusedError("no", 400)
        given.append(f"refresh-{len(given)}")
        self.memory.write_text(json.dumps(given))
        said = {"access_token": f"access-{len(given)}", "refresh_token": given[-1]}
        return answered(said | {"expires_in": 3600})


def _tokens() -> Tokens:
    secret = SecretStr("app-secret")
    seed = SecretStr("seed")
    return Tokens(
        Grant(
            partner="Pinterest",
            url="oauth/token",
            client_id="app",
            client_secret=secret,
            refresh_token=seed,
        )
    )


def _dies_after(lines: int, partner: Partner) -> bool:
    """Renew in a process that is killed after so many lines of ours; whether it was."""
    left = [lines]

    def trace(frame: FrameType, event: str, _argument: object) -> Any:
        if frame.f_code.co_filename not in WATCHED:
            return None
        if event == "line":
            left[0] -= 1
            if left[0] < 0:
                os._exit(KILLED)
        return trace

    def work() -> bool:
        sys.settrace(trace)
        return bool(_tokens().current(partner))

    return os.waitstatus_to_exitcode(os.waitpid(_child(work), 0)[1]) == KILLED


def _child(work: Callable[[], bool]) -> int:
    """A process that does this; it ends with 0 when it was done, and tidies nothing up."""
    child = os.fork()
    if not child:
        code = 1
        try:
            code = 0 if work() else 2
        finally:
            os._exit(code)
    return child


@pytest.fixture
def ledger() -> Iterator[Ledger]:
    with Ledger.open(f"sqlite:///{fast_folder()}/ledger.sqlite") as opened:
        yield opened


@pytest.mark.parametrize(("lenient", "step"), [(True, 13), (False, 7)])
def test_a_crash_anywhere_leaves_a_token_or_a_remedy(
    ledger: Ledger, lenient: bool, step: int
) -> None:
    """Killed before line after line; with a partner that forgives, no crash costs anything.

    `step` saves time; all two hundred lines were tried with a step of 1.
    """
    folder, lost, lines, died = fast_folder(), list[str](), 0, True
    while died:
        partner = Partner(folder / str(lines), ledger, lenient=lenient)
        died = _dies_after(lines, partner)
        try:
            assert _tokens().current(partner) == f"access-{len(partner.given())}"
        except AuthenticationError as error:
            assert len(partner.given()) == 2, "nothing was renewed, so nothing was lost"
            lost.append(str(error))
        assert len(partner.given()) <= 3
        lines += step
    assert lines > 50
    assert (lost == []) is lenient
    for told in lost:
        assert "was interrupted on" in told
        assert "authorise the app again and set its refresh_token" in told


def test_processes_renew_one_token_together(ledger: Ledger) -> None:
    """Each begins without one; one of them asks, and the others find what it was given."""
    partner = Partner(fast_folder(), ledger, lenient=False, everybody_lives=True)
    children = [_child(lambda: _tokens().current(partner) == "access-2") for _ in range(3)]
    assert [os.waitstatus_to_exitcode(os.waitpid(one, 0)[1]) for one in children] == [0, 0, 0]
    assert partner.given() == ["seed", "refresh-1"]
