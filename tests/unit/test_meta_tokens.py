"""Access tokens for Meta are exchanged in time, kept, and shared; proofs go with them."""

from __future__ import annotations

import hashlib
import hmac
import pickle
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import requests
from pydantic import ValidationError

from audience_sync.connector import (
    Answer,
    AuthenticationError,
    Kind,
    RefusedError,
    TemporaryPartnerError,
)
from audience_sync.delivery.client import HttpPartnerClient
from audience_sync.sandbox.server import running_sandbox
from audience_sync.testing.builders import (
    FakePartner,
    KeptInMemory,
    Sent,
    answered,
    made_up_members,
    made_up_upload,
)
from audience_sync.testing.listening import logged
from connectors.meta import MetaConnector, MetaSettings

NOW = 1_795_219_200.0
DAY = 86_400.0
SECRET = "0123456789abcdef0123456789abcdef"
APP = {"app_id": "4711", "app_secret": SECRET, "exchange": "system-user"}


class Partner(FakePartner):
    """Exchanges whichever token is good for the next, and takes any that is good."""

    def __init__(self) -> None:
        super().__init__()
        self.good = {"EAAset"}
        self.refusal: Answer | Exception | None = None
        self.life: Any = 60 * DAY

    @property
    def exchanges(self) -> list[Sent]:
        return [sent for sent in self.requests if sent.anonymous]

    def respond(self, sent: Sent) -> Answer:
        if not sent.anonymous:
            token = sent.headers["Authorization"].removeprefix("Bearer ")
            proof = hmac.new(SECRET.encode(), token.encode(), hashlib.sha256).hexdigest()
            if sent.params.get("appsecret_proof") != proof:
                return answered({"error": {"code": 100, "message": "Invalid appsecret_proof"}}, 400)
            sizes = {"num_received": 1, "num_invalid_entries": 0}
            return answered({"id": "1", **sizes}) if token in self.good else _over()
        if isinstance(self.refusal, Exception):
            raise self.refusal
        if self.refusal is not None:
            return self.refusal
        if sent.params["fb_exchange_token"] not in self.good:
            return _over()
        token = f"EAAnew{len(self.exchanges)}"
        self.good.add(token)
        return answered({"access_token": token, "expires_in": self.life})


def _over() -> Answer:
    return answered({"error": {"code": 190, "error_subcode": 463, "message": "over"}}, 400)


@pytest.fixture(autouse=True)
def now(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    at = [NOW]
    monkeypatch.setattr("connectors._meta_tokens.time.time", lambda: at[0])
    return at


def _started(partner: FakePartner | None = None, **changes: Any) -> tuple[MetaConnector, Partner]:
    usual: dict[str, Any] = {"ad_account_id": "1", "access_token": "EAAset", **APP}
    fake = partner if isinstance(partner, Partner) else Partner()
    connector = MetaConnector(MetaSettings(**(usual | changes)), fake)
    fake.bind(connector)
    return connector, fake


def _used(partner: Partner) -> list[str]:
    return [sent.headers["Authorization"].removeprefix("Bearer ") for sent in partner.uploads]


def test_an_exchange_is_the_references() -> None:
    """A GET with the app and the token at hand; its answer is used at once."""
    connector, partner = _started()
    connector.statistics("1")
    (sent,) = partner.exchanges
    assert (sent.method, sent.url, sent.body) == ("GET", "v26.0/oauth/access_token", None)
    assert sent.params == {
        "grant_type": "fb_exchange_token",
        "client_id": "4711",
        "client_secret": SECRET,
        "fb_exchange_token": "EAAset",
        "set_token_expires_in_60_days": "true",
    }
    assert "Authorization" not in sent.headers
    assert _used(partner) == ["EAAnew1"]


def test_a_persons_token_has_no_sixty_days_flag() -> None:
    """Only those of system users are asked to end."""
    connector, partner = _started(exchange="user")
    connector.statistics("1")
    assert "set_token_expires_in_60_days" not in partner.exchanges[0].params


def test_without_the_setting_nothing_is_exchanged() -> None:
    """A token that never ends is used as it is."""
    connector, partner = _started(exchange=None)
    connector.statistics("1")
    assert partner.exchanges == []
    assert _used(partner) == ["EAAset"]


def test_a_token_is_exchanged_half_way(now: list[float]) -> None:
    """Thirty days before its end, and the newest for the one after it."""
    connector, partner = _started()
    for day in (0, 29, 31, 60, 62):
        now[0] = NOW + day * DAY
        connector.statistics("1")
    assert [sent.params["fb_exchange_token"] for sent in partner.exchanges] == [
        "EAAset",
        "EAAnew1",
        "EAAnew2",
    ]
    assert _used(partner) == ["EAAnew1", "EAAnew1", "EAAnew2", "EAAnew2", "EAAnew3"]


@pytest.mark.parametrize("life", [None, 0, "soon"])
def test_a_token_without_an_end_is_taken_for_sixty_days(life: Any, now: list[float]) -> None:
    """An answer that does not say is not believed for ever."""
    connector, partner = _started()
    partner.life = life
    connector.statistics("1")
    now[0] = NOW + 31 * DAY
    connector.statistics("1")
    assert len(partner.exchanges) == 2


def test_processes_share_one_exchange() -> None:
    """The newest is kept; a copy and another process find it."""
    connector, partner = _started()
    connector.statistics("1")
    other = MetaConnector(connector.settings, partner)
    partner.bind(other)
    other.statistics("1")
    clone = pickle.loads(pickle.dumps(connector))  # noqa: S301 - our own object
    clone.statistics("1")
    assert len(partner.exchanges) == 1
    assert _used(partner) == ["EAAnew1", "EAAnew1"]


def test_threads_exchange_once() -> None:
    """Whoever comes meanwhile waits for it."""
    connector, partner = _started()
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(connector.statistics, ["1"] * 16))
    assert len(partner.exchanges) == 1


def test_a_new_token_in_the_settings_begins_anew() -> None:
    """What an older one was exchanged for is used no more."""
    _, partner = _started()
    first, _ = _started(partner)
    first.statistics("1")
    partner.good.add("EAAsecond")
    second, _ = _started(partner, access_token="EAAsecond")
    second.statistics("1")
    assert partner.exchanges[-1].params["fb_exchange_token"] == "EAAsecond"


@pytest.mark.parametrize(
    "trouble",
    [
        TemporaryPartnerError("the partner cannot answer now", 503),
        answered({"error": {"code": 1, "message": "Error validating client secret."}}, 400),
        answered({"id": "no token"}),
    ],
    ids=["away", "refused", "strange"],
)
def test_a_token_that_is_not_exchanged_is_used_until_its_end(
    trouble: Any, now: list[float]
) -> None:
    """Nothing stops for it; the log says so, a check fails, and it is tried again in an hour."""
    connector, partner = _started()
    partner.refusal = trouble
    with logged() as log:
        connector.statistics("1")
        connector.statistics("1")
    assert len(partner.exchanges) == 1
    assert _used(partner) == ["EAAset", "EAAset"]
    assert any("until it ends" in line for line in log)
    assert SECRET not in "".join(log)
    with pytest.raises((AuthenticationError, TemporaryPartnerError)):
        connector.check()
    partner.refusal = None
    now[0] = NOW + 3601
    connector.statistics("1")
    assert _used(partner)[-1] == "EAAnew3"


def test_a_token_that_is_over_stops_the_destination(now: list[float]) -> None:
    """It cannot be exchanged any more: a person has to make another."""
    connector, partner = _started()
    connector.statistics("1")
    partner.good.clear()
    now[0] = NOW + 61 * DAY
    with pytest.raises(AuthenticationError, match="make a new one"):
        connector.statistics("1")


def test_a_token_that_another_process_exchanged_takes_over() -> None:
    """In the middle of an upload: with a proof of its own, and the same body."""
    connector, partner = _started()
    connector.statistics("1")
    partner.good = {"EAAother"}
    (name,) = partner.credentials
    kept = partner.credentials[name]
    partner.credentials[name] = kept.replace("EAAnew1", "EAAother")
    members = made_up_members(1, (Kind.EMAIL,))
    assert connector.add(made_up_upload(total=1), members).accepted == 1
    refused, taken = partner.uploads[-2:]
    assert _used(partner)[-2:] == ["EAAnew1", "EAAother"]
    assert refused.body == taken.body
    assert len(partner.exchanges) == 1


def test_a_refused_token_without_another_is_refused_once() -> None:
    """Asking again with the same one would only be refused again."""
    connector, partner = _started()
    connector.statistics("1")
    partner.good.clear()
    with pytest.raises(AuthenticationError):
        connector.statistics("1")
    assert len(partner.uploads) == 2


def test_a_right_that_is_missing_is_not_the_tokens_fault() -> None:
    """No other token is looked for."""
    connector, partner = _started()
    partner.answers.append(answered({"error": {"code": 200}}, 403))
    with pytest.raises(AuthenticationError):
        connector.statistics("1")
    partner.answers.append(answered({"error": {"code": 2635}}, 400))
    with pytest.raises(RefusedError):
        connector.statistics("1")
    assert len(partner.uploads) == 2


@pytest.mark.parametrize("missing", ["app_id", "app_secret"])
def test_an_exchange_needs_the_app(missing: str) -> None:
    """Meta asks for both."""
    changes = {name: value for name, value in APP.items() if name != missing}
    with pytest.raises(ValidationError, match="app_id and app_secret"):
        MetaSettings(ad_account_id="1", access_token="x", **changes)


@pytest.fixture
def url() -> Iterator[str]:
    with running_sandbox(meta_app_secret=SECRET) as sandbox:
        yield sandbox.url


def test_the_sandbox_exchanges(url: str, now: list[float]) -> None:
    """Over HTTP: the old token ends, the new one goes on, until it is exchanged itself."""
    kept: dict[str, str] = {}

    def place(name: str) -> Any:
        return _Block(KeptInMemory(kept, name))

    wanted = {"token": "EAAset", "expires_in": 10 * DAY}
    requests.post(f"{url}/_control/meta/tokens", json=wanted, timeout=10).raise_for_status()
    settings = MetaSettings(base_url=f"{url}/meta", ad_account_id="1", access_token="EAAset", **APP)
    client = HttpPartnerClient(settings.base_url, kept=place, sleep=lambda _: None)
    connector = MetaConnector(settings, client)
    client.bind(connector)
    for days in (0, 20, 15, 40):
        now[0] += days * DAY  # the sandbox's clock goes by it, too
        connector.check()
    client.close()
    assert len(kept) == 1
    assert "EAAset" not in next(iter(kept.values()))


class _Block:
    """A credential as a block, without a lease."""

    def __init__(self, kept: KeptInMemory) -> None:
        self._kept = kept

    def __enter__(self) -> KeptInMemory:
        return self._kept

    def __exit__(self, *_: object) -> None:
        pass
