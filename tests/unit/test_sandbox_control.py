"""`/_control` shows what the partners hold and makes them misbehave."""

import hashlib
import logging
import time
from collections.abc import Iterator
from typing import Any

import pytest
import requests

from audience_sync.sandbox import META_TOKEN, running_sandbox


def digest(text: object) -> str:
    return hashlib.sha256(str(text).encode()).hexdigest()


class Tries:
    """A client of the sandbox with a Meta audience."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.http = requests.Session()
        self.http.headers["Authorization"] = f"Bearer {META_TOKEN}"
        definition = {
            "name": "vip",
            "subtype": "CUSTOM",
            "customer_file_source": "USER_PROVIDED_ONLY",
        }
        made = self.http.post(
            f"{url}/meta/v26.0/act_7/customaudiences", json=definition, timeout=10
        )
        self.audience = made.json()["id"]

    def add(self, *names: object, timeout: float = 10) -> requests.Response:
        body = {"payload": {"schema": ["EMAIL"], "data": [[digest(name)] for name in names]}}
        path = f"{self.url}/meta/v26.0/{self.audience}/users"
        return self.http.post(path, json=body, timeout=timeout)

    def fault(self, **wish: Any) -> requests.Response:
        wish = {"partner": "meta", "operation": "add"} | wish
        return self.http.post(f"{self.url}/_control/faults", json=wish, timeout=10)

    def held(self) -> list[str]:
        query = {"partner": "meta", "list": self.audience}
        found = self.http.get(f"{self.url}/_control/members", params=query, timeout=10).json()
        return list(found["identifiers"].get("email", []))

    def journal(self) -> list[dict[str, Any]]:
        found = self.http.get(f"{self.url}/_control/journal?operation=add", timeout=10).json()
        return list(found["requests"])


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with running_sandbox() as sandbox:
        yield sandbox.url


@pytest.fixture
def tries(url: str) -> Iterator[Tries]:
    requests.post(f"{url}/_control/reset", timeout=10)
    client = Tries(url)
    yield client
    client.http.close()


@pytest.mark.parametrize(
    ("wish", "status", "start"),
    [
        ({"kind": "5xx"}, 500, b'{"error"'),
        ({"kind": "5xx", "status": 200, "code": 1}, 200, b'{"error"'),
        ({"kind": "rate-limit", "status": 429}, 429, b'{"error"'),
        ({"kind": "expired-token"}, 400, b'{"error"'),
        ({"kind": "terms-not-accepted"}, 403, b'{"error"'),
        ({"kind": "conflict"}, 400, b'{"error"'),
        ({"kind": "html"}, 503, b"<!DOCTYPE"),
        ({"kind": "empty"}, 200, b""),
        ({"kind": "half-json"}, 200, b'{"requestId": "'),
        ({"kind": "huge"}, 200, b'{"filler":"xxx'),
    ],
)
def test_answers_go_wrong_before_the_change(
    tries: Tries, wish: dict[str, Any], status: int, start: bytes
) -> None:
    """The fault answers once and changes nothing; the next call goes well."""
    tries.fault(**wish)

    wrong = tries.add(1)
    assert tries.held() == []
    right = tries.add(1)

    assert wrong.status_code == status
    assert wrong.content.startswith(start)
    assert right.status_code == 200
    assert tries.held() == [digest(1)]


def test_huge_answers_have_ten_megabytes(tries: Tries) -> None:
    """A huge answer is 10 MB long unless told otherwise."""
    tries.fault(kind="huge")

    assert len(tries.add(1).content) > 10_000_000


def test_dropped_connections_change_nothing(tries: Tries) -> None:
    """The connection is closed without an answer and without a change."""
    tries.fault(kind="drop")

    with pytest.raises(requests.ConnectionError):
        tries.add(1)

    assert tries.held() == []


def test_answers_that_never_come(tries: Tries) -> None:
    """A hanging call ends with the caller's patience, and nothing is changed."""
    tries.fault(kind="hang")

    with pytest.raises(requests.ReadTimeout):
        tries.add(1, timeout=0.1)

    assert tries.held() == []


def test_a_hanging_call_does_not_keep_the_sandbox_up() -> None:
    """The sandbox stops although a call hangs."""
    with running_sandbox() as sandbox:
        tries = Tries(sandbox.url)
        tries.fault(kind="hang")
        with pytest.raises(requests.ReadTimeout):
            tries.add(1, timeout=0.1)
        tries.http.close()
        began = time.monotonic()

    assert time.monotonic() - began < 20


def test_late_answers(tries: Tries) -> None:
    """A late answer is the right one, after some seconds."""
    tries.fault(kind="timeout", seconds=0.1)

    assert tries.add(1).elapsed.total_seconds() >= 0.1
    assert tries.held() == [digest(1)]


@pytest.mark.parametrize("then", ["5xx", "drop"])
def test_failure_after_the_change(tries: Tries, then: str) -> None:
    """The change is made although the caller is told of a failure."""
    tries.fault(kind="fail-after-change", then=then)

    if then == "drop":
        with pytest.raises(requests.ConnectionError):
            tries.add(1)
    else:
        assert tries.add(1).status_code == 500

    assert tries.held() == [digest(1)]


def test_a_share_is_rejected_by_count_only(tries: Tries) -> None:
    """Rows refused by share are counted without a name."""
    tries.fault(kind="reject-share", share=0.2)

    answer = tries.add(*range(10)).json()

    assert (answer["num_received"], answer["num_invalid_entries"]) == (10, 2)
    assert answer["invalid_entry_samples"] == {}
    assert len(tries.held()) == 8


def test_values_are_rejected_by_name(tries: Tries) -> None:
    """Rows refused by value are named."""
    tries.fault(kind="reject-values", values=[digest(2)])

    answer = tries.add(1, 2, 3).json()

    assert list(answer["invalid_entry_samples"].values()) == [digest(2)]
    assert tries.held() == sorted([digest(1), digest(3)])


def test_faults_wait_are_counted_and_end(tries: Tries) -> None:
    """A fault begins after some calls and lasts for some; DELETE ends all."""
    tries.fault(kind="5xx", after=1, times=2)
    codes = [tries.add(1).status_code for _ in range(4)]
    tries.fault(kind="5xx", times=None)
    forever = [tries.add(1).status_code for _ in range(3)]
    tries.http.delete(f"{tries.url}/_control/faults", timeout=10)

    assert codes == [200, 500, 500, 200]
    assert forever == [500, 500, 500]
    assert tries.add(1).status_code == 200


@pytest.mark.parametrize("wish", [{"kind": "gremlins"}, {"kind": "5xx", "colour": "red"}])
def test_unknown_wishes_are_explained(tries: Tries, wish: dict[str, Any]) -> None:
    """A wrong wish is answered with what would be right."""
    answer = tries.fault(**wish)

    assert answer.status_code == 400
    assert "known are" in answer.json()["error"]


def test_the_journal_names_no_identifier(tries: Tries) -> None:
    """The journal has counts and the hash of the body, never what is in it."""
    answer = tries.add("a", "b")
    entry = tries.journal()[-1]

    body = answer.request.body
    assert (entry["rows"], entry["status"], entry["outcome"]) == (2, 200, "ok")
    assert entry["body_sha256"] == hashlib.sha256(body).hexdigest()
    assert digest("a") not in str(tries.journal())


def test_state_shows_lists_without_identifiers(tries: Tries) -> None:
    """The state has names and counts."""
    tries.add("a", "b")

    state = tries.http.get(f"{tries.url}/_control/state", timeout=10).text

    assert '"identifiers":{"email":2}' in state
    assert digest("a") not in state


def test_latency_is_added(tries: Tries) -> None:
    """Every answer waits as long as it was told."""
    tries.http.post(f"{tries.url}/_control/latency", json={"milliseconds": 50}, timeout=10)

    assert tries.add(1).elapsed.total_seconds() >= 0.05


def test_discard_counts_without_keeping() -> None:
    """In discard mode uploads are validated and counted, and no identifier is kept."""
    with running_sandbox(discard=True) as sandbox:
        tries = Tries(sandbox.url)
        tries.add(1, 2, 3)
        held, state = tries.held(), sandbox.app.state
        listed = tries.http.get(f"{sandbox.url}/_control/state", timeout=10).json()
        tries.http.close()

    assert held == []
    assert listed["meta"]["lists"][0]["people"] == 3
    assert state.world.options.discard


def test_nothing_is_logged(tries: Tries, caplog: pytest.LogCaptureFixture) -> None:
    """No identifier and no token reaches a log."""
    with caplog.at_level(logging.DEBUG):
        tries.add("a")

    assert digest("a") not in caplog.text
    assert META_TOKEN not in caplog.text


def test_final_failure_and_slow_results_at_google() -> None:
    """An accepted upload may fail at the end, or be known later."""
    with running_sandbox() as sandbox, requests.Session() as http:
        http.headers["Authorization"] = "Bearer sandbox-token"
        base = f"{sandbox.url}/google/v1"
        wish = {
            "displayName": "vip",
            "ingestedUserListInfo": {
                "uploadKeyTypes": ["CONTACT_ID"],
                "contactIdInfo": {"dataSourceType": "DATA_SOURCE_TYPE_FIRST_PARTY"},
            },
        }
        path = f"{base}/accountTypes/GOOGLE_ADS/accounts/1/userLists"
        made = http.post(path, json=wish, timeout=10).json()["id"]
        member = {"compositeData": {"userData": {"userIdentifiers": [{"emailAddress": digest(1)}]}}}
        body = {
            "destinations": [
                {
                    "operatingAccount": {"accountType": "GOOGLE_ADS", "accountId": "1"},
                    "productDestinationId": made,
                }
            ],
            "audienceMembers": [member] * 4,
            "consent": dict.fromkeys(("adUserData", "adPersonalization"), "CONSENT_GRANTED"),
            "termsOfService": {"customerMatchTermsOfServiceStatus": "ACCEPTED"},
            "encoding": "HEX",
        }

        def upload(**fault: Any) -> str:
            wish = {"partner": "google", "operation": "add"} | fault
            http.post(f"{sandbox.url}/_control/faults", json=wish, timeout=10)
            answer = http.post(f"{base}/audienceMembers:ingest", json=body, timeout=10)
            return str(answer.json()["requestId"])

        def status(request: str) -> dict[str, Any]:
            path = f"{base}/requestStatus:retrieve?requestId={request}"
            found = http.get(path, timeout=10).json()["requestStatusPerDestination"]
            return dict(found[0])

        failed = upload(kind="final-failure")
        held = http.get(
            f"{sandbox.url}/_control/members?partner=google&list={made}", timeout=10
        ).json()["identifiers"]
        slow = upload(kind="slow-processing", seconds=600)
        partly = upload(kind="reject-share", share=0.25, record_indices=True)
        sandbox.world.clock.advanced += 60
        found = {name: status(one) for name, one in zip("fsp", (failed, slow, partly), strict=True)}

    assert held == {}
    assert found["f"]["requestStatus"] == "FAILED"
    assert found["s"]["requestStatus"] == "PROCESSING"
    assert found["p"]["requestStatus"] == "PARTIAL_SUCCESS"
    assert found["p"]["errorInfo"]["errorCounts"][0]["recordIndices"] == [0]
