"""Tokens are renewed in time, kept before they are used, and never shown."""

from __future__ import annotations

import pickle
import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any
from urllib.parse import parse_qs

import pytest

from audience_sync.connector import (
    Answer,
    AuthenticationError,
    Connector,
    Grant,
    SecretStr,
    TemporaryPartnerError,
    Tokens,
)
from audience_sync.errors import StateError
from audience_sync.testing.builders import FakePartner, KeptInMemory, Sent, answered

NOW = 1_795_305_600.0
DAY = 86_400.0


class Partner(FakePartner):
    """Replaces the refresh token with each renewal, and takes the one before no more."""

    def __init__(self) -> None:
        super().__init__()
        self.good = "seed"
        self.refusal: Answer | Exception | None = None
        self.life: Any = 30 * DAY
        self.replaces = True
        self.full = False
        self.bind(_Bare())

    @property
    def renewals(self) -> int:
        return len(self.requests)

    def respond(self, sent: Sent) -> Answer:
        if isinstance(self.refusal, Exception):
            raise self.refusal
        if self.refusal is not None:
            return self.refusal
        if parse_qs((sent.body or b"").decode())["refresh_token"] != [self.good]:
            return answered({"code": 283}, 400)
        turn = len(self.requests)
        answer = {"access_token": f"access-{turn}", "expires_in": self.life}
        if self.replaces:
            self.good = f"refresh-{turn}"
            answer["refresh_token"] = self.good
        return answered(answer)

    @contextmanager
    def kept(self, name: str) -> Iterator[Any]:
        with super().kept(name) as kept:
            yield _Filling(kept, self)


class _Filling:
    """Keeps the intent and not the token, once the disk is full."""

    def __init__(self, kept: KeptInMemory, partner: Partner) -> None:
        self._kept, self._partner = kept, partner

    @property
    def value(self) -> str | None:
        return self._kept.value

    def keep(self, value: str) -> None:
        if self._partner.full and '"begun": null' in value:
            raise StateError("the state location is full")
        self._kept.keep(value)


class _Bare(Connector[Any]):
    """As much of a connector as a token request needs."""

    def __init__(self) -> None:
        """Needs no settings."""

    def check(self) -> None: ...

    def ensure_audience(self, audience: Any) -> str:
        return ""

    def add(self, upload: Any, members: Any) -> Any: ...

    def remove(self, upload: Any, members: Any) -> Any: ...


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [NOW]
    monkeypatch.setattr("audience_sync.oauth.time.time", lambda: now[0])
    return now


def _tokens(granted: str = "seed", **more: Any) -> Tokens:
    usual: dict[str, Any] = {
        "partner": "Pinterest",
        "url": "oauth/token",
        "client_id": "app",
        "client_secret": SecretStr("app-secret"),
    }
    return Tokens(Grant(refresh_token=SecretStr(granted), **(usual | more)))


def test_a_token_is_asked_for_once(clock: list[float]) -> None:
    """Until it ends soon; the renewal sends what came with the last one."""
    partner, tokens = Partner(), _tokens()
    assert [tokens.current(partner) for _ in range(3)] == ["access-1"] * 3
    clock[0] += 30 * DAY - 301
    assert tokens.current(partner) == "access-1"
    clock[0] += 2
    assert tokens.current(partner) == "access-2"
    assert b"refresh_token=refresh-1" in (partner.requests[1].body or b"")


def test_the_next_process_asks_for_none(clock: list[float]) -> None:
    """What is kept is shared: a copy, another process or a later day finds it."""
    partner, tokens = Partner(), _tokens()
    tokens.current(partner)
    later = pickle.loads(pickle.dumps(tokens))  # noqa: S301 - our own object
    assert later.current(partner) == _tokens().current(partner) == "access-1"
    clock[0] += 31 * DAY
    assert _tokens().current(partner) == "access-2"
    assert later.current(partner) == "access-2"
    assert partner.renewals == 2


def test_a_refused_token_is_replaced(clock: list[float]) -> None:
    """Unless another process has done so already."""
    partner, mine, theirs = Partner(), _tokens(), _tokens()
    assert mine.current(partner) == theirs.current(partner) == "access-1"
    mine.renew(partner)
    assert mine.current(partner) == "access-2"
    theirs.renew(partner)
    assert theirs.current(partner) == "access-2"
    assert partner.renewals == 2


def test_threads_ask_together_for_one(clock: list[float]) -> None:
    """They queue, and the second finds what the first has fetched."""
    partner, tokens = Partner(), [_tokens(), _tokens()]
    with ThreadPoolExecutor(8) as pool:
        found = set(pool.map(lambda turn: tokens[turn % 2].current(partner), range(32)))
    assert found == {"access-1"}
    assert partner.renewals == 1


def test_a_partner_may_keep_its_refresh_token(clock: list[float]) -> None:
    """Then the granted one is sent each time."""
    partner, tokens = Partner(), _tokens()
    partner.replaces = False
    tokens.current(partner)
    clock[0] += 31 * DAY
    assert tokens.current(partner) == "access-2"
    assert partner.requests[0].body == partner.requests[1].body


@pytest.mark.parametrize("life", [None, 0, "3600"])
def test_a_life_that_is_not_told_is_short(clock: list[float], life: Any) -> None:
    """Half an hour, which no partner is known to undercut."""
    partner, tokens = Partner(), _tokens()
    partner.life = life
    tokens.current(partner)
    clock[0] += 1_499
    assert tokens.current(partner) == "access-1"
    clock[0] += 2
    assert tokens.current(partner) == "access-2"


def test_the_app_names_itself_as_the_partner_wants(clock: list[float]) -> None:
    """In the form, or by HTTP Basic."""
    partner = Partner()
    _tokens(form={"scope": "a b"}).current(partner)
    sent = partner.requests[0]
    assert sent.anonymous
    assert sent.headers == {}
    assert sent.body == (
        b"grant_type=refresh_token&refresh_token=seed&scope=a+b"
        b"&client_id=app&client_secret=app-secret"
    )
    partner = Partner()
    _tokens(basic=True).current(partner)
    sent = partner.requests[0]
    assert sent.headers == {"Authorization": "Basic YXBwOmFwcC1zZWNyZXQ="}
    assert sent.body == b"grant_type=refresh_token&refresh_token=seed"


def test_a_refusal_says_what_to_do(clock: list[float]) -> None:
    """And costs nothing: once the secret is right, the same refresh token works."""
    partner, tokens = Partner(), _tokens()
    for status in (400, 401, 403):
        partner.refusal = answered({"code": 2}, status)
        with pytest.raises(AuthenticationError, match="authorise the app again") as caught:
            tokens.current(partner)
        assert caught.value.status == status
        assert "interrupted" not in str(caught.value)
    partner.refusal = None
    assert tokens.current(partner) == "access-4"


def test_a_wrong_secret_is_found_while_a_token_is_good(clock: list[float]) -> None:
    """By whoever asks for a proof; all others go on with what is kept, and nothing is lost."""
    partner, secret = Partner(), SecretStr("a typing error")
    _tokens().current(partner)
    partner.refusal = answered({"error": "invalid_client"}, 401)
    wrong = _tokens(client_secret=secret)
    assert wrong.current(partner) == "access-1"
    for _ in range(2):
        with pytest.raises(AuthenticationError, match="correct the secret, or authorise"):
            wrong.prove(partner)
    assert wrong.current(partner) == "access-1"
    partner.refusal = None
    right = _tokens()
    right.prove(partner)
    assert right.current(partner) == "access-1"


@pytest.mark.parametrize(("replaces", "renewals"), [(False, 4), (True, 2)])
def test_a_proof_costs_no_refresh_token(clock: list[float], replaces: bool, renewals: int) -> None:
    """Where a renewal would replace it, the secret that the token was got with is proof enough."""
    partner = Partner()
    partner.replaces = replaces
    for _ in range(3):
        _tokens().prove(partner)
    clock[0] += 31 * DAY
    _tokens().prove(partner)
    assert partner.renewals == renewals
    assert _tokens().current(partner) == f"access-{renewals}"


def test_a_secret_that_was_changed_at_the_partner_is_proved(clock: list[float]) -> None:
    """With a renewal, which keeps the mark of the new one; so does a token kept in former times."""
    partner = Partner()
    _tokens().current(partner)
    fresh = _tokens(client_secret=SecretStr("new secret"))
    fresh.prove(partner)
    fresh.prove(partner)
    assert (partner.renewals, fresh.current(partner)) == (2, "access-2")
    ((name, kept),) = partner.credentials.items()
    partner.credentials[name] = re.sub(r', "mark": "\w+"', "", kept)
    assert partner.credentials[name] != kept
    assert _tokens().current(partner) == "access-2"
    _tokens().prove(partner)
    assert partner.renewals == 3


def test_a_new_grant_begins_anew(clock: list[float]) -> None:
    """What was kept for the old refresh token does not stand in its way, nor is it lost."""
    partner = Partner()
    _tokens().current(partner)
    partner.good = "granted again"
    assert _tokens("granted again").current(partner) == "access-2"
    assert _tokens().current(partner) == "access-1"


@pytest.mark.parametrize("body", [{}, [], None, {"access_token": ""}, {"access_token": 5}])
def test_an_answer_without_a_token_is_tried_again(clock: list[float], body: Any) -> None:
    """It is no refusal: nobody is asked to authorise the app."""
    partner, tokens = Partner(), _tokens()
    partner.refusal = answered(body)
    with pytest.raises(TemporaryPartnerError, match="without a token"):
        tokens.current(partner)
    partner.refusal = None
    assert tokens.current(partner) == "access-2"


def test_an_interrupted_renewal_is_told(clock: list[float]) -> None:
    """When the answer was lost and the old token is used up, the message says since when."""
    partner = Partner()
    _tokens().current(partner)
    clock[0] += 31 * DAY
    partner.refusal = TemporaryPartnerError("the partner did not answer in time")
    with pytest.raises(TemporaryPartnerError):
        _tokens().current(partner)
    partner.refusal, partner.good = None, "an answer that nobody heard"
    clock[0] += DAY
    for _ in range(2):
        with pytest.raises(AuthenticationError) as caught:
            _tokens().current(partner)
        assert str(caught.value).startswith(
            "the renewal of Pinterest's refresh token was interrupted on 2026-12-23 at 00:00 UTC, "
            "and the token before is used up; authorise the app again and set its refresh_token"
        )


def test_an_interrupted_renewal_may_have_cost_nothing(clock: list[float]) -> None:
    """The old token is tried; when it works, the interruption is forgotten."""
    partner = Partner()
    partner.refusal = TemporaryPartnerError("the partner did not answer in time")
    with pytest.raises(TemporaryPartnerError):
        _tokens().current(partner)
    partner.refusal = None
    assert _tokens().current(partner) == "access-2"
    partner.refusal = answered({"code": 2}, 401)
    tokens = _tokens()
    clock[0] += 31 * DAY
    with pytest.raises(AuthenticationError) as caught:
        tokens.current(partner)
    assert "interrupted" not in str(caught.value)


def test_a_token_that_cannot_be_kept_is_held_until_it_can(clock: list[float]) -> None:
    """A full disk stops the work, and the only copy of the token waits in memory."""
    partner, tokens = Partner(), _tokens()
    partner.full = True
    for _ in range(2):
        with pytest.raises(StateError):
            tokens.current(partner)
    assert partner.renewals == 1
    partner.full = False
    assert tokens.current(partner) == "access-1"
    clock[0] += 31 * DAY
    assert _tokens().current(partner) == "access-2"


def test_a_token_that_could_not_be_kept_gives_way_to_a_later_one(clock: list[float]) -> None:
    """Meanwhile another process ended the renewal: what it kept is the newest, and stays."""
    partner, tokens = Partner(), _tokens()
    partner.full = True
    with pytest.raises(StateError):
        tokens.current(partner)
    partner.full, partner.good = False, "seed"  # the partner still takes the token before
    assert _tokens().current(partner) == "access-2"
    assert tokens.current(partner) == "access-2"
    clock[0] += 31 * DAY
    assert _tokens().current(partner) == "access-3"


def test_nothing_prints_a_token(clock: list[float]) -> None:
    """Not the grant, not what holds the token, not an error."""
    partner, tokens = Partner(), _tokens()
    tokens.current(partner)
    partner.refusal = answered({"code": 2}, 401)
    clock[0] += 31 * DAY
    with pytest.raises(AuthenticationError) as caught:
        tokens.current(partner)
    said = repr(tokens) + repr(tokens.__dict__) + repr(tokens._grant) + repr(caught.value)
    for secret in ("seed", "app-secret", "access-1", "refresh-1"):
        assert secret not in said
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None
