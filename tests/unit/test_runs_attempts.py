"""A batch that perhaps arrived is never taken for one that did not (L5, L11)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from pipeline_world import MemoryPartner, World, digest, fast_folder, granted
from pydantic import SecretStr

from audience_sync.connector import Answer, Kind, Members, Receipt, RefusedError, Upload
from audience_sync.delivery.client import HttpPartnerClient
from audience_sync.errors import AudienceSyncError, TemporaryPartnerError
from audience_sync.ledger.records.runs import BatchState, RunState
from audience_sync.runs.link import Link
from audience_sync.testing.builders import made_up_upload
from connectors.google import GoogleConnector, GoogleSettings

ANNA = digest("anna@example.com")
LATER = Answer(429, {"retry-after": "3600"}, b"")
BUSY = Answer(503, {}, b"")
NO = Answer(400, {}, b"{}")
FINE = Answer(200, {}, b"{}")
LOST = TemporaryPartnerError("the partner did not answer in time; try again later")


class Scripted:
    """A wire that gives prepared answers, one a request."""

    def __init__(self, *answers: Answer | Exception) -> None:
        self.answers = list(answers)

    def send(self, *_request: Any, **_options: Any) -> Answer:
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer


class OverHttp(MemoryPartner):
    """Sends each batch in as many requests as it is told."""

    requests = 1

    def add(self, upload: Upload, members: Members) -> Receipt:
        assert upload.consent is not None
        for _ in range(self.requests):
            self.client.request("POST", "users", body=b"{}")
        return Receipt(accepted=len(members))


def client(*answers: Answer | Exception) -> HttpPartnerClient:
    made = HttpPartnerClient("http://partner.example", sleep=lambda _seconds: None)
    made._wire = Scripted(*answers)  # type: ignore[assignment]  # the network's place
    return made


def world(*answers: Answer | Exception, requests: int = 1) -> World:
    here = World(fast_folder())
    partner = OverHttp()
    speaks = client(*answers)
    partner.client, partner.requests = speaks, requests
    speaks.bind(partner)
    here.partner = partner

    def link(destination: str) -> Link:
        return Link(
            destination=destination,
            connector=partner,
            recording=speaks.recording,
            project="test",
            purpose="advertising",
        )

    here.link = link  # type: ignore[method-assign]
    here.write([granted("1", email="anna@example.com")])
    return here


PERHAPS: Mapping[str, tuple[int, tuple[Answer | Exception, ...]]] = {
    "a server failed, then asked us to wait": (1, (BUSY, LATER)),
    "a server failed, then refused": (1, (BUSY, NO)),
    "an answer was lost, then refused": (1, (LOST, NO)),
    "the first of two requests was taken, the second refused": (2, (FINE, NO)),
    "the first of two requests was taken, the second must wait": (2, (FINE, LATER)),
}


@pytest.mark.parametrize(("requests", "answers"), PERHAPS.values(), ids=PERHAPS)
def test_l5_what_perhaps_arrived_can_be_removed(
    requests: int, answers: tuple[Answer | Exception, ...]
) -> None:
    """One attempt that may have been applied outweighs every refusal that follows it."""
    here = world(*answers, requests=requests)
    run = here.sync().run
    assert run is not None
    assert here.ledger.batches(run.id)[0].state is BatchState.UNKNOWN
    if run.state is RunState.DELIVERING:
        here.pipeline().cancel(run)
    assert here.held() == {ANNA}


@pytest.mark.parametrize(
    ("answers", "state"), [((NO,), BatchState.FAILED), ((LATER,), BatchState.WAITING)]
)
def test_l5_what_was_refused_each_time_is_not_held(
    answers: tuple[Answer, ...], state: BatchState
) -> None:
    """Definite refusals alone leave nobody in the membership."""
    here = world(*answers)
    run = here.sync().run
    assert run is not None
    assert here.ledger.batches(run.id)[0].state is state
    if run.state is RunState.DELIVERING:
        here.pipeline().cancel(run)
    assert here.held() == set()


def test_l5_one_list_of_google_takes_what_another_refuses() -> None:
    """The contact list has the member, the list of iOS devices refuses: the exchange says so."""
    speaks = client(Answer(200, {}, b'{"requestId":"r1"}'), NO)
    google = GoogleConnector(
        GoogleSettings(
            operating_account="1",
            credentials=SecretStr("{}"),
            allow_unhashed_device_ids=True,
            ios_app_id="1",
        ),
        speaks,
    )
    google.headers = dict  # type: ignore[method-assign] # no token is needed here
    speaks.bind(google)
    members = Members(
        {Kind.EMAIL: np.ones((1, 1, 32), np.uint8), Kind.IDFA: np.ones((1, 1, 16), np.uint8)}
    )
    with speaks.recording() as exchange, pytest.raises(AudienceSyncError) as caught:
        google.add(made_up_upload(remote_id="contact:11,ios:22"), members)
    assert isinstance(caught.value, RefusedError)
    assert exchange.uncertain
