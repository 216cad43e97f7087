"""The webhook over HTTP against the simulated endpoint, and the receiver that its page shows."""

from __future__ import annotations

import re
import textwrap
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
import yaml
from webhook_settings import webhook_settings

from audience_sync.connector import (
    AuthenticationError,
    Kind,
    Members,
    RefusedError,
    TemporaryPartnerError,
)
from audience_sync.delivery.client import HttpPartnerClient
from audience_sync.sandbox.options import WEBHOOK_SECRET
from audience_sync.sandbox.server import running_sandbox
from audience_sync.testing.builders import (
    FakePartner,
    answered,
    identifiers,
    made_up_audience,
    made_up_members,
    made_up_upload,
)
from connectors.webhook import WebhookConnector, WebhookSettings

PAGE = Path(__file__).resolve().parents[2] / "docs/partners/webhook.md"
KINDS = (Kind.EMAIL, Kind.PHONE, Kind.IDFA)
ANSWER = {"rejected": "rejected", "key": "index", "reason": "code", "accepted": "accepted"}


class Bench:
    """A webhook with a client that never sleeps, and a look at what the endpoint holds."""

    def __init__(self, url: str, **changes: Any) -> None:
        self.url, self.slept = url, list[float]()
        usual: dict[str, Any] = {
            "base_url": f"{url}/webhook/crm/audiences",
            "secret": WEBHOOK_SECRET,
            "identifiers": {
                "email": "email/plain",
                "phone": "phone/e164",
                "idfa": "device/raw",
            },
            "allow_unhashed_device_ids": True,
            "answer": ANSWER,
        }
        settings = webhook_settings(**usual | changes)
        self.client = HttpPartnerClient(
            settings.base_url, sleep=self.slept.append, timeout=(20, 20)
        )
        self.connector = WebhookConnector(settings, self.client)
        self.client.bind(self.connector)

    def control(self, path: str, **wish: Any) -> Any:
        return requests.post(f"{self.url}/_control/{path}", json=wish, timeout=10).json()

    def fault(self, kind: str, operation: str = "add", **more: Any) -> None:
        told = self.control("faults", partner="webhook", operation=operation, kind=kind, **more)
        assert "faults" in told, told

    def held(self, remote_id: str) -> set[str]:
        asked = {"partner": "webhook", "list": f"crm/audiences/{remote_id}"}
        told = requests.get(f"{self.url}/_control/members", params=asked, timeout=10).json()
        return set().union(*told["identifiers"].values())

    def ensure(self) -> str:
        return self.connector.ensure_audience(made_up_audience(kinds=KINDS))


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with running_sandbox() as sandbox:
        yield sandbox.url


@pytest.fixture
def bench(url: str) -> Iterator[Bench]:
    made = Bench(url)
    made.control("reset")
    yield made
    made.client.close()


def _members(count: int = 20, slots: int = 1) -> Members:
    return made_up_members(count, KINDS, slots=slots)


def test_a_list_is_made_filled_and_emptied(bench: Bench) -> None:
    """What was added is held, to the identifier, until it is removed."""
    bench.connector.check()
    remote_id = bench.ensure()
    assert bench.ensure() == remote_id
    members = _members(150, slots=2)
    receipt = bench.connector.add(made_up_upload(remote_id=remote_id), members)
    assert receipt.accepted == 150
    assert bench.held(remote_id) == identifiers(members)
    gone = made_up_upload(remote_id=remote_id, session=5, consent=None)
    assert bench.connector.remove(gone, members.take(range(100))).accepted == 100
    assert bench.held(remote_id) == identifiers(members.take(range(100, 150)))


@pytest.mark.parametrize("kind", ["5xx", "html", "empty", "half-json", "drop", "fail-after-change"])
def test_a_passing_fault_is_outlived(bench: Bench, kind: str) -> None:
    """One bad answer costs a wait and an attempt; the endpoint knows the batch again."""
    remote_id, members = bench.ensure(), _members()
    bench.fault(kind)
    with bench.client.recording() as exchange:
        receipt = bench.connector.add(made_up_upload(remote_id=remote_id), members)
    assert (receipt.accepted, exchange.attempts) == (20, 2)
    assert bench.held(remote_id) == identifiers(members)


def test_a_signature_is_never_older_than_its_attempt(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An attempt that comes after a long pause is signed anew, and taken."""
    remote_id, start = bench.ensure(), time.time()
    bench.fault("5xx")
    monkeypatch.setattr(time, "time", lambda: start + 600 * len(bench.slept))
    receipt = bench.connector.add(made_up_upload(remote_id=remote_id), _members())
    assert (receipt.accepted, len(bench.slept)) == (20, 1)


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"secret": "another-secret-than-theirs"}, AuthenticationError),
        ({"signature_header": "X-Proof"}, AuthenticationError),
        ({"idempotency_header": "X-Batch"}, RefusedError),
        ({"operations": {"check": "hello"}}, RefusedError),
        ({"body": {"rows": "{{members}}"}}, RefusedError),
    ],
)
def test_settings_that_the_endpoint_does_not_know(
    url: str, changes: dict[str, Any], error: type[Exception]
) -> None:
    """The simulated endpoint is strict: a check tells at once that both do not agree."""
    made = Bench(url, **changes)
    made.control("reset")
    with pytest.raises(error):
        made.connector.check()
    made.client.close()


def test_an_old_signature_is_refused(bench: Bench) -> None:
    """A request that is replayed later finds the door closed."""
    bench.control("clock", advance_seconds=301)
    with pytest.raises(AuthenticationError):
        bench.connector.check()


def test_a_batch_whose_name_is_used_again_is_refused(bench: Bench) -> None:
    """One idempotency key stands for one body."""
    remote_id = bench.ensure()
    upload = made_up_upload(remote_id=remote_id)
    bench.connector.add(upload, _members(3))
    with pytest.raises(RefusedError):
        bench.connector.add(upload, _members(4))


def test_unknown_lists_closed_doors_and_missing_consent(bench: Bench) -> None:
    """What the endpoint refuses is never sent again unchanged."""
    with pytest.raises(RefusedError):
        bench.connector.add(made_up_upload(remote_id="nobody-knows"), _members())
    bench.control("terms", partner="webhook", account="crm/audiences", accepted=False)
    with pytest.raises(RefusedError):
        bench.connector.check()


def test_a_throttle_is_handed_up_with_its_wait(bench: Bench) -> None:
    """A wait that outlasts our patience belongs to the task queue."""
    remote_id = bench.ensure()
    bench.fault("rate-limit", minutes=7)
    with pytest.raises(TemporaryPartnerError) as caught:
        bench.connector.add(made_up_upload(remote_id=remote_id), _members())
    assert caught.value.retry_after == 420.0


def test_refused_members_are_named_or_counted(bench: Bench) -> None:
    """A named member is rejected, a counted one unattributed; the others arrive."""
    remote_id, members = bench.ensure(), _members()
    bad = identifiers(members.take([4]))
    bench.fault("reject-values", values=sorted(bad))
    receipt = bench.connector.add(made_up_upload(remote_id=remote_id), members)
    assert [rejection.position for rejection in receipt.rejected] == [4]
    assert bench.held(remote_id) == identifiers(members) - bad
    bench.fault("reject-share", share=0.1)
    again = made_up_upload(remote_id=remote_id, session=5)
    receipt = bench.connector.add(again, members)
    assert (receipt.accepted, receipt.unattributed) == (18, 2)


def test_values_that_are_no_hash_are_named(bench: Bench) -> None:
    """The endpoint looks at each value; the hash of nothing is none."""
    remote_id = bench.ensure()
    members = made_up_members(3, [Kind.EMAIL])
    nothing = bytes.fromhex("e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855")
    members.values[Kind.EMAIL][1, 0] = list(nothing)
    receipt = bench.connector.add(made_up_upload(remote_id=remote_id), members)
    told = [(rejection.position, rejection.reason) for rejection in receipt.rejected]
    assert told == [(1, "INVALID_HASH")]


def test_the_settings_of_the_page_are_settings() -> None:
    """What the page shows can be copied; its own body and member write what it says they do."""
    found = re.findall(r"```yaml\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    whole, more = (yaml.safe_load(block) for block in found)
    settings = whole["destinations"]["clinic-ads"] | more | {"secret": "a-secret-of-the-page"}
    assert settings.pop("connector") == WebhookConnector.name
    partner = FakePartner(answered({"accepted": 2, "rejected": []}))
    connector = WebhookConnector(WebhookSettings(**settings), partner)
    partner.bind(connector)
    members = made_up_members(2, KINDS[:2])
    assert connector.ensure_audience(made_up_audience())
    assert connector.add(made_up_upload(remote_id="L1"), members).accepted == 2
    [sent] = partner.requests
    told = sent.json()
    assert told.pop("users")[0][1] == {"type": "MSISDN", "sha256": members.column(Kind.PHONE)[0]}
    assert told == {"action": "UPSERT", "segment": "L1", "size": 2}


def _receiver() -> Callable[..., bool]:
    """The receiver of the page, as it stands there."""
    [code] = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    found: dict[str, Any] = {}
    exec(textwrap.dedent(code), found)  # noqa: S102 - our own page
    receiver: Callable[..., bool] = found["genuine"]
    return receiver


def test_the_receiver_of_the_page_verifies_what_we_sign(monkeypatch: pytest.MonkeyPatch) -> None:
    """It takes ours, and refuses another secret, a changed body, an old time and rubbish."""
    genuine, settings = _receiver(), webhook_settings()
    connector = WebhookConnector(settings, FakePartner())
    body = b'{"operation":"add"}'
    header = connector.sign("POST", settings.base_url, {}, body)["X-Audience-Sync-Signature"]
    secret = settings.secret.get_secret_value().encode()
    assert genuine(secret, header, body)
    assert not genuine(b"another", header, body)
    assert not genuine(secret, header, body + b" ")
    assert not genuine(secret, header.replace("v1=", "v1=0"), body)
    for rubbish in ("", "t=1", "t=x,v1=y", "v1=y"):
        assert not genuine(secret, rubbish, body)
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now + 301)
    assert not genuine(secret, header, body)
