"""The simulated Pinterest answers as Pinterest documents it."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Any

import orjson
import pytest
import requests

from audience_sync.sandbox import running_sandbox
from audience_sync.sandbox.options import PINTEREST_CREDENTIALS

APP = (PINTEREST_CREDENTIALS["app_id"], PINTEREST_CREDENTIALS["app_secret"])
SCOPE = "ads:read,ads:write"


def digest(text: object) -> str:
    return hashlib.sha256(str(text).encode()).hexdigest()


def records(*texts: object) -> str:
    return ",".join(map(digest, texts))


class Pinterest:
    """A client of the simulated Pinterest with one list."""

    def __init__(self, url: str) -> None:
        self.base, self.control = f"{url}/pinterest/v5", f"{url}/_control"
        self.http = requests.Session()
        self.refresh_token = PINTEREST_CREDENTIALS["refresh_token"]
        self.renew()
        self.lists = "ad_accounts/549756359984/customer_lists"
        self.audiences = "ad_accounts/549756359984/audiences"
        wanted = {"name": "vip", "records": records(0)}
        self.list = self.call("POST", self.lists, wanted).json()["id"]

    def token(self, refresh_token: str, **more: Any) -> requests.Response:
        form = {"grant_type": "refresh_token", "refresh_token": refresh_token, "scope": SCOPE}
        usual: dict[str, Any] = {"auth": APP, "data": form}
        return requests.post(f"{self.base}/oauth/token", timeout=10, **(usual | more))

    def renew(self) -> None:
        found = self.token(self.refresh_token).json()
        self.refresh_token = found["refresh_token"]
        self.http.headers["Authorization"] = f"Bearer {found['access_token']}"

    def call(self, method: str, path: str, body: Any = None, **params: Any) -> requests.Response:
        return self.http.request(
            method, f"{self.base}/{path}", json=body, params=params, timeout=10
        )

    def change(self, operation: str, text: Any) -> requests.Response:
        wanted = {"operation_type": operation, "records": text}
        return self.call("PATCH", f"{self.lists}/{self.list}", wanted)

    def held(self) -> dict[str, list[str]]:
        asked = {"partner": "pinterest", "list": self.list}
        found = requests.get(f"{self.control}/members", params=asked, timeout=10).json()
        return dict(found["identifiers"])

    def steer(self, path: str, **wish: Any) -> None:
        assert requests.post(f"{self.control}/{path}", json=wish, timeout=10).ok


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with running_sandbox(match_share=1.0, pinterest_processing_seconds=60) as sandbox:
        yield sandbox.url


@pytest.fixture
def pinterest(url: str) -> Iterator[Pinterest]:
    requests.post(f"{url}/_control/reset", timeout=10)
    client = Pinterest(url)
    yield client
    client.http.close()


def error(response: requests.Response) -> tuple[int, int]:
    return response.status_code, response.json()["code"]


def test_records_are_counted_and_held(pinterest: Pinterest) -> None:
    """Counters rise with each record, whether it was there already or not."""
    found = pinterest.change("ADD", records(1, 2, 2)).json()
    assert (found["num_batches"], found["num_uploaded_user_records"]) == (2, 4)
    assert pinterest.change("ADD", records(1)).json()["num_uploaded_user_records"] == 5
    found = pinterest.change("REMOVE", records(0, 1, 9)).json()
    assert (found["num_removed_user_records"], found["num_batches"]) == (3, 4)
    assert found["exceptions"] == {}
    assert pinterest.held() == {"email": [digest(2)]}


def test_what_is_no_record_is_not_counted(pinterest: Pinterest) -> None:
    """Plain addresses and other hashes are taken; text, and the hash of nothing, are skipped."""
    text = f"jane@example.com,{digest(1)[:40]},{digest(2)[:32]},{digest('')},nonsense,{digest(3)}"
    assert pinterest.change("ADD", text).json()["num_uploaded_user_records"] == 1 + 4


@pytest.mark.parametrize("text", [[digest(1)], "", None, 5, {"records": digest(1)}])
def test_records_are_one_string(pinterest: Pinterest, text: Any) -> None:
    """An array is refused, at creation too."""
    assert error(pinterest.change("ADD", text)) == (400, 1)
    assert error(pinterest.call("POST", pinterest.lists, {"name": "x", "records": text})) == (
        400,
        1,
    )
    assert pinterest.held() == {"email": [digest(0)]}


@pytest.mark.parametrize(
    "change",
    [{"name": ""}, {"name": None}, {"list_type": "PHONE"}, {"list_type": "email"}],
)
def test_a_list_needs_a_name_and_a_type(pinterest: Pinterest, change: dict[str, Any]) -> None:
    """Enumerations are case-sensitive."""
    wanted = {"name": "x", "records": records(1)} | change
    assert error(pinterest.call("POST", pinterest.lists, wanted)) == (400, 1)


def test_bodies_are_json_of_known_words(pinterest: Pinterest) -> None:
    """A form, or a word that the endpoint does not have, is refused."""
    one = f"{pinterest.lists}/{pinterest.list}"
    wanted = {"operation_type": "ADD", "records": records(1)}
    strange = {"hashed": True}
    assert error(pinterest.call("PATCH", one, wanted | strange)) == (400, 1)
    named = {"name": "x", "records": records(1)}
    assert error(pinterest.call("POST", pinterest.lists, named | strange)) == (400, 1)
    assert error(pinterest.call("POST", pinterest.audiences, _top(pinterest) | strange)) == (400, 1)
    for kind in ("text/plain", "application/x-www-form-urlencoded"):
        found = pinterest.http.patch(
            f"{pinterest.base}/{one}",
            data=orjson.dumps(wanted),
            headers={"Content-Type": kind},
            timeout=10,
        )
        assert error(found) == (400, 1)
    assert pinterest.held() == {"email": [digest(0)]}


@pytest.mark.parametrize("operation", ["add", "REPLACE", "", None])
def test_an_operation_is_add_or_remove(pinterest: Pinterest, operation: Any) -> None:
    """There is no replacing."""
    assert error(pinterest.change(operation, records(1))) == (400, 1)


def test_lists_are_found_page_by_page(pinterest: Pinterest) -> None:
    """Names need not differ; the bookmark of the last page is none."""
    for number in range(3):
        wanted = {"name": "vip", "records": records(number), "list_type": "MAID"}
        pinterest.call("POST", pinterest.lists, wanted)
    first = pinterest.call("GET", pinterest.lists, page_size=3).json()
    second = pinterest.call("GET", pinterest.lists, page_size=3, bookmark=first["bookmark"]).json()
    assert [one["name"] for one in first["items"] + second["items"]] == ["vip"] * 4
    assert second["bookmark"] is None
    for size in (0, 251, "many"):
        assert error(pinterest.call("GET", pinterest.lists, page_size=size)) == (400, 1)
    other = "ad_accounts/1/customer_lists"
    assert pinterest.call("GET", other).json()["items"] == []
    assert error(pinterest.call("GET", f"{other}/{pinterest.list}")) == (404, 404)
    assert error(pinterest.call("GET", "ad_accounts/x/customer_lists")) == (404, 404)
    assert error(pinterest.call("DELETE", f"{pinterest.lists}/{pinterest.list}")) == (404, 404)


def _top(pinterest: Pinterest, **change: Any) -> dict[str, Any]:
    usual = {
        "ad_account_id": "549756359984",
        "name": "VIP buyers",
        "rule": {"customer_list_id": pinterest.list},
        "audience_type": "CUSTOMER_LIST",
    }
    return usual | change


def test_an_audience_waits_for_a_hundred_people(pinterest: Pinterest) -> None:
    """A list is at work, then too small or ready; an audience is refused until it is ready."""

    def status() -> str:
        found = pinterest.call("GET", f"{pinterest.lists}/{pinterest.list}").json()
        return str(found["status"])

    pinterest.change("ADD", records(*range(99)))
    assert status() == "PROCESSING"
    pinterest.steer("clock", advance_seconds=61)
    assert status() == "TOO_SMALL"
    assert error(pinterest.call("POST", pinterest.audiences, _top(pinterest))) == (400, 1)
    pinterest.change("ADD", records(99))
    pinterest.steer("clock", advance_seconds=61)
    assert status() == "READY"
    made = pinterest.call("POST", pinterest.audiences, _top(pinterest)).json()
    assert (made["size"], made["status"], made["rule"]) == (
        100,
        "READY",
        {"customer_list_id": pinterest.list},
    )
    pinterest.change("REMOVE", records(99))
    pinterest.steer("clock", advance_seconds=61)
    [listed] = pinterest.call("GET", pinterest.audiences).json()["items"]
    assert (listed["id"], listed["size"], listed["status"]) == (made["id"], 0, "TOO_SMALL")
    changed = f"{pinterest.audiences}/{made['id']}"
    renamed = pinterest.call("PATCH", changed, {"operation_type": "UPDATE", "name": "new"})
    assert renamed.json()["name"] == "new"
    assert error(pinterest.call("PATCH", changed, {"operation_type": "remove"})) == (400, 1)
    assert pinterest.call("PATCH", changed, {"operation_type": "REMOVE"}).ok
    assert error(pinterest.call("GET", changed)) == (404, 404)


@pytest.mark.parametrize(
    ("change", "wanted"),
    [
        ({"audience_type": "customer_list"}, (400, 1)),
        ({"name": ""}, (400, 1)),
        ({"rule": {}}, (400, 1)),
        ({"rule": {"customer_list_id": "1"}}, (404, 404)),
    ],
)
def test_an_audience_needs_its_list(
    pinterest: Pinterest, change: dict[str, Any], wanted: tuple[int, int]
) -> None:
    """And the exact words of its type."""
    assert error(pinterest.call("POST", pinterest.audiences, _top(pinterest, **change))) == wanted


def test_a_refresh_token_is_good_once(pinterest: Pinterest) -> None:
    """Each renewal gives another one, for sixty days; access tokens end after thirty."""
    used = pinterest.refresh_token
    found = pinterest.token(used).json()
    assert (found["token_type"], found["expires_in"]) == ("bearer", 2_592_000)
    assert found["refresh_token_expires_in"] == 5_184_000
    assert pinterest.token(used).status_code == 400
    assert pinterest.token(PINTEREST_CREDENTIALS["refresh_token"]).status_code == 400
    pinterest.steer("clock", advance_seconds=30 * 86_400)
    assert error(pinterest.call("GET", pinterest.lists)) == (401, 1104)
    pinterest.refresh_token = found["refresh_token"]
    pinterest.renew()
    assert pinterest.call("GET", pinterest.lists).ok
    pinterest.steer("clock", advance_seconds=61 * 86_400)
    assert pinterest.token(pinterest.refresh_token).status_code == 400


def test_the_token_before_may_live_on(url: str) -> None:
    """Nobody documents how long; the sandbox can do either."""
    with running_sandbox(pinterest_previous_token_seconds=60) as lenient:
        client = Pinterest(lenient.url)
        seed = PINTEREST_CREDENTIALS["refresh_token"]
        assert client.token(seed).ok
        client.steer("clock", advance_seconds=61)
        assert client.token(seed).status_code == 400
        client.http.close()


def test_a_sandbox_started_anew_takes_the_last_token(url: str, pinterest: Pinterest) -> None:
    """It remembers none, so a project that was kept goes on; made-up ones are refused."""
    last = pinterest.refresh_token
    pinterest.steer("reset")
    assert pinterest.token("pinr.made.up").status_code == 400
    assert pinterest.token(last).ok
    assert pinterest.token(PINTEREST_CREDENTIALS["refresh_token"]).status_code == 400


def test_the_app_and_the_token_are_checked(pinterest: Pinterest) -> None:
    """HTTP Basic at the token endpoint, a bearer everywhere else."""
    token = pinterest.refresh_token
    for auth in (None, ("sandbox-app", "wrong"), ("wrong", APP[1])):
        assert pinterest.token(token, auth=auth).status_code == 401
    for form in ({"grant_type": "password"}, {"scope": "ads:read"}):
        usual = {"grant_type": "refresh_token", "refresh_token": token, "scope": SCOPE}
        assert pinterest.token(token, data=usual | form).status_code == 400
    pinterest.http.headers["Authorization"] = "Bearer made-up"
    assert error(pinterest.call("GET", pinterest.lists)) == (401, 2)


def test_an_account_can_be_closed(pinterest: Pinterest) -> None:
    """It can be read then, and not changed."""
    pinterest.steer("terms", partner="pinterest", account="549756359984", accepted=False)
    assert error(pinterest.change("ADD", records(1))) == (403, 29)
    assert pinterest.call("GET", pinterest.lists).ok


def test_what_is_too_large_is_413(pinterest: Pinterest) -> None:
    """The real limit is not documented; a million bytes by default."""
    most = (1_000_000 - 60) // 65
    assert pinterest.change("ADD", records(*range(most))).ok
    assert error(pinterest.change("ADD", records(*range(most + 10)))) == (413, 413)


@pytest.mark.parametrize(
    ("kind", "wanted"),
    [
        ("rate-limit", (429, 8)),
        ("5xx", (503, 4197)),
        ("expired-token", (401, 1104)),
        ("terms-not-accepted", (403, 29)),
    ],
)
def test_faults_are_pinterests_own(
    pinterest: Pinterest, kind: str, wanted: tuple[int, int]
) -> None:
    """Each in Pinterest's words, and nothing is done."""
    pinterest.steer("faults", partner="pinterest", operation="add", kind=kind, minutes=2)
    answer = pinterest.change("ADD", records(1))
    assert error(answer) == wanted
    assert pinterest.held() == {"email": [digest(0)]}
    if kind == "rate-limit":
        assert answer.headers["X-RateLimit-Reset"] == "120"


def test_refused_records_are_only_not_counted(pinterest: Pinterest) -> None:
    """By value or by share, Pinterest names none of them."""
    values = {"values": [digest(1)]}
    pinterest.steer("faults", partner="pinterest", kind="reject-values", **values)
    assert pinterest.change("ADD", records(1, 2)).json()["num_uploaded_user_records"] == 2
    pinterest.steer("faults", partner="pinterest", kind="reject-share", share=0.5)
    assert pinterest.change("ADD", records(3, 4)).json()["num_uploaded_user_records"] == 3


def test_quotas_and_accounts_are_enforced_on_request() -> None:
    """400 changes a minute, and only the accounts that are named."""
    options = {"strict_quotas": True, "pinterest_accounts": ("549756359984",)}
    with running_sandbox(**options) as sandbox:
        client = Pinterest(sandbox.url)
        assert error(client.call("GET", "ad_accounts/1/customer_lists")) == (404, 404)
        answers = [client.change("ADD", records(1)).status_code for _ in range(400)]
        assert answers == [200] * 399 + [429]
        assert client.call("GET", client.lists).ok
        client.http.close()
