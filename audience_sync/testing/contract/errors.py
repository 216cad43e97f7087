"""What a connector makes of its partner's errors."""

# ruff: noqa: S101 - a contract is made of assertions
from __future__ import annotations

from typing import Any

import pytest

from audience_sync.connector import (
    Answer,
    AudienceSyncError,
    AuthenticationError,
    PartnerError,
    RefusedError,
    TemporaryPartnerError,
)
from audience_sync.testing.builders import Sent, answered
from audience_sync.testing.contract.bench import Bench

ERRORS: tuple[tuple[int, type[PartnerError]], ...] = (
    (400, RefusedError),
    (401, AuthenticationError),
    (404, RefusedError),
    (408, TemporaryPartnerError),
    (413, RefusedError),
    (429, TemporaryPartnerError),
    (500, TemporaryPartnerError),
    (502, TemporaryPartnerError),
    (503, TemporaryPartnerError),
)
STRANGE: tuple[Any, ...] = (
    *(None, [], 5, "no", {}, [{}]),
    *({"id": None}, {"error": 5}, {"error": ["no"]}, {"data": None}),
)
UNREADABLE = (b"", b"<!DOCTYPE html><html><body>Sorry</body></html>", b'{"id": "12')


class TellsErrors(Bench):
    """Refused, not authorised, to be tried again, or in doubt."""

    def test_errors_are_told_apart(self) -> None:
        """Refused, not authorised and try-again are three different errors."""
        for status, wanted in ERRORS:
            for body in ({}, {"error": {"message": "no"}}, {"message": "no"}):
                for name, raised in self._failures(answered(body, status)):
                    assert type(raised) is wanted, f"{name} made {raised!r} of HTTP {status}"

    def test_unreadable_answers_are_tried_again(self) -> None:
        """A web page, half an answer or none is a partner in trouble, never a success."""
        for body in UNREADABLE:
            for name, raised in self._failures(answered(body)):
                assert type(raised) is TemporaryPartnerError, f"{name} took {body!r}"

    def test_doubt_is_kept_where_something_may_have_been_done(self) -> None:
        """Neither a success, nor a server in trouble, nor an unreadable answer is a proof."""
        connector, partner = self._started()
        upload, answers, usual = self._upload(connector, self._members(3)), [], partner.respond
        partner.requests.clear()

        def respond(sent: Sent) -> Answer:
            answers.append(usual(sent))
            return answers[-1]

        partner.respond = respond  # type: ignore[method-assign]
        assert connector.add(upload, self._members(3)).accepted
        doubtful = [not connector.changed_nothing(answer) for answer in answers]
        assert any(doubtful), "members that were taken would count as never sent"
        for body in (b"{}", *UNREADABLE):
            for status in (408, 500, 502, 503):
                assert not connector.changed_nothing(answered(body, status)), f"HTTP {status}"
        for body in (*UNREADABLE, *STRANGE):
            assert not connector.changed_nothing(answered(body)), f"it took {body!r} for a proof"

    def test_strange_answers_are_no_crash(self) -> None:
        """JSON of another shape than the partner's is an error of ours, not a fault of Python."""
        for body in STRANGE:
            for name, raised in self._failures(answered(body), strict=False):
                assert isinstance(raised, AudienceSyncError), f"{name} fell over {body!r}"

    def test_broken_connections_pass_through(self) -> None:
        """The client's own error comes out as it is, and nothing is tried a second time."""
        lost = TemporaryPartnerError("the partner did not answer in time; try again later")
        for name, deed in self._deeds():
            connector, partner = self._started()
            remote_id = self._ensured(connector)
            partner.requests.clear()
            partner.always = lost
            with pytest.raises(TemporaryPartnerError) as caught:
                deed(connector, remote_id)
            assert caught.value is lost, name
            assert len(partner.uploads) == 1, f"{name} tried again; the client does that"
