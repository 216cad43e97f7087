"""The simulated X answers as X documents it."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote, urlencode

import orjson
import pytest
import requests
from requests_oauthlib import OAuth1

from audience_sync.sandbox import running_sandbox
from audience_sync.sandbox import x as x_module
from audience_sync.sandbox.options import X_CREDENTIALS
from audience_sync.sandbox.x.signature import sign

ACCOUNT = "18ce54d4x5t"
DAY = 86_400


def digest(text: object) -> str:
    return hashlib.sha256(str(text).encode()).hexdigest()


def signed(**changes: Any) -> OAuth1:
    usual: dict[str, Any] = {
        "client_key": X_CREDENTIALS["consumer_key"],
        "client_secret": X_CREDENTIALS["consumer_secret"],
        "resource_owner_key": X_CREDENTIALS["access_token"],
        "resource_owner_secret": X_CREDENTIALS["access_token_secret"],
    }
    return OAuth1(**(usual | changes))


class X:
    """A client of the simulated X with one list; signed by another library than the sandbox's."""

    def __init__(self, url: str) -> None:
        self.base, self.control = f"{url}/x/12", f"{url}/_control"
        self.lists = f"accounts/{ACCOUNT}/custom_audiences"
        self.http = requests.Session()
        self.http.auth = signed()
        self.list = self.call("POST", self.lists, name="vip", description="ours").json()["data"]
        self.users = f"{self.lists}/{self.list['id']}/users"

    def call(self, method: str, path: str, body: Any = None, **params: str) -> requests.Response:
        query = f"?{urlencode(params, quote_via=quote)}" if params else ""
        sent = body if body is None or isinstance(body, bytes) else orjson.dumps(body)
        headers = {} if body is None else {"Content-Type": "application/json"}
        return self.http.request(
            method, f"{self.base}/{path}{query}", data=sent, headers=headers, timeout=10
        )

    def change(self, *operations: Any) -> requests.Response:
        return self.call("POST", self.users, list(operations))

    def held(self, number: str = "") -> dict[str, list[str]]:
        asked = {"partner": "x", "list": number or self.list["id"]}
        found = requests.get(f"{self.control}/members", params=asked, timeout=10).json()
        return dict(found["identifiers"])

    def steer(self, path: str, **wish: Any) -> requests.Response:
        return requests.post(f"{self.control}/{path}", json=wish, timeout=10)


def update(*users: Any, **params: Any) -> dict[str, Any]:
    return {"operation_type": "Update", "params": {"users": list(users), **params}}


def delete(*users: Any) -> dict[str, Any]:
    return {"operation_type": "Delete", "params": {"users": list(users)}}


def email(*texts: object) -> dict[str, list[str]]:
    return {"email": [digest(text) for text in texts]}


def error(response: requests.Response) -> str:
    return str(response.json()["errors"][0]["code"])


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with running_sandbox(match_share=1.0, x_processing_seconds=60) as sandbox:
        yield sandbox.url


@pytest.fixture
def x(url: str) -> Iterator[X]:
    requests.post(f"{url}/_control/reset", timeout=10)
    client = X(url)
    yield client
    client.http.close()


def test_users_are_counted_and_held(x: X) -> None:
    """The vendor's example: operations are many, counts are of users, both verbs in one request."""
    both = {"email": [digest(1)], "phone_number": [digest("p1")]}
    answer = x.change(update(both, email(2)), update(email(3), {"device_id": [digest("d")]}))
    assert answer.json()["data"] == {"success_count": 4, "total_count": 4}
    assert x.change(delete(email(2)), update(email(4))).json()["data"]["total_count"] == 2
    assert x.held() == {
        "email": sorted(map(digest, (1, 3, 4))),
        "phone": [digest("p1")],
        "device": [digest("d")],
    }


def test_a_request_is_taken_whole_or_not_at_all(x: X) -> None:
    """One wrong operation is told at its place, and nobody is put on the list."""
    answer = x.change(update(email(1)), {"operation_type": "Update", "params": {}})
    assert answer.status_code == 400
    assert answer.json()["errors"] == []
    [first, second] = answer.json()["operation_errors"]
    assert first == []
    assert (second[0]["code"], second[0]["parameter"]) == ("MISSING_PARAMETER", "users")
    assert x.held() == {}


@pytest.mark.parametrize(
    "operation",
    [
        {"operation_type": "update", "params": {"users": [email(1)]}},
        {"operation_type": "DELETE", "params": {"users": [email(1)]}},
        update({"email": [digest(1).upper()]}),
        update({"email": ["jane.doe@example.com"]}),
        update({"email": [digest("")]}),
        update({"email": digest(1)}),
        update({"e_mail": [digest(1)]}),
        update({}),
        update(),
        update(email(1), expires_at="2020-01-01T00:00:00Z"),
        update(email(1), expires_at="soon"),
        update(email(1), effective_at="2030-01-01T00:00:00Z", expires_at="2029-01-01T00:00:00Z"),
        update(email(1), surprise=1),
    ],
)
def test_what_x_does_not_understand_is_refused(x: X, operation: Any) -> None:
    """Verbs in other cases, hashes in capitals, unhashed text, times in the past."""
    answer = x.change(operation)
    assert answer.status_code == 400
    assert answer.json()["operation_errors"][0]
    assert x.held() == {}


def test_an_object_is_no_body(x: X) -> None:
    """The body is a top-level array."""
    assert error(x.call("POST", x.users, {"data": [update(email(1))]})) == "INVALID_PARAMETER"
    assert error(x.call("POST", x.users, b"[{")) == "INVALID_PARAMETER"
    assert error(x.call("POST", x.users, [])) == "INVALID_PARAMETER"


def test_2500_operations_are_taken_and_2501_are_not(x: X) -> None:
    """Operations, not users."""
    most = [update(email(number), email(-number)) for number in range(2_500)]
    assert x.change(*most).json()["data"]["success_count"] == 5_000
    assert error(x.change(*most, update(email("one more")))) == "REQUEST_TOO_COMPLEX"


def test_five_million_bytes_are_taken_and_one_more_is_not(x: X) -> None:
    """To the byte; the white space counts."""
    body = orjson.dumps([update(email(1))])
    assert x.call("POST", x.users, body + b" " * (5_000_000 - len(body))).status_code == 200
    assert error(x.call("POST", x.users, body + b" " * (5_000_001 - len(body)))) == (
        "REQUEST_TOO_COMPLEX"
    )


def test_members_are_forgotten_when_their_time_is_over(x: X) -> None:
    """Silently; whoever was added again stays as long as the last request said."""
    soon = time.strftime("%Y-%m-%dT00:00:00Z", time.gmtime(time.time() + 30 * DAY))
    late = time.strftime("%Y-%m-%dT00:00:00Z", time.gmtime(time.time() + 90 * DAY))
    x.change(update(email(1), email(2), expires_at=soon), update(email(3)))
    x.change(update(email(2), expires_at=late))
    x.steer("clock", advance_seconds=31 * DAY)
    assert x.held()["email"] == sorted(map(digest, (2, 3)))
    x.steer("clock", advance_seconds=60 * DAY)
    assert x.held()["email"] == [digest(3)]
    x.steer("clock", advance_seconds=310 * DAY)  # without a time it is thirteen months
    assert x.held() == {}


def test_the_size_comes_later(x: X) -> None:
    """And a list below a hundred matched users cannot be targeted."""

    def shown() -> dict[str, Any]:
        return dict(x.call("GET", f"{x.lists}/{x.list['id']}").json()["data"])

    x.change(update(*(email(number) for number in range(120))))
    assert shown()["audience_size"] is None
    assert shown()["reasons_not_targetable"] == ["PROCESSING", "TOO_SMALL"]
    x.steer("clock", advance_seconds=61)
    assert (shown()["audience_size"], shown()["targetable"]) == (120, True)
    x.change(delete(*(email(number) for number in range(21))))
    x.steer("clock", advance_seconds=61)
    assert (shown()["audience_size"], shown()["reasons_not_targetable"]) == (99, ["TOO_SMALL"])


def test_lists_are_found_page_by_page(x: X) -> None:
    """A name is there once; `q` is the beginning of one; deleted ones are gone."""
    for number in range(4):
        x.call("POST", x.lists, name=f"list {number}")
    assert error(x.call("POST", x.lists, name="list 2")) == "INVALID_PARAMETER"
    first = x.call("GET", x.lists, count="3").json()
    second = x.call("GET", x.lists, count="3", cursor=first["next_cursor"]).json()
    assert [one["name"] for one in first["data"] + second["data"]] == [
        "vip",
        *(f"list {number}" for number in range(4)),
    ]
    assert second["next_cursor"] is None
    assert len(x.call("GET", x.lists, q="list").json()["data"]) == 4
    by_id = {"custom_audience_ids": f"{x.list['id']},4711"}
    assert [one["name"] for one in x.call("GET", x.lists, **by_id).json()["data"]] == ["vip"]
    assert x.call("DELETE", f"{x.lists}/{x.list['id']}").json()["data"]["deleted"] is True
    assert error(x.call("GET", f"{x.lists}/{x.list['id']}")) == "NOT_FOUND"
    assert error(x.change(update(email(1)))) == "NOT_FOUND"
    assert len(x.call("GET", x.lists).json()["data"]) == 4
    many = {"custom_audience_ids": ",".join(map(str, range(201)))}
    wrongs = (
        {"count": "0"},
        {"count": "1001"},
        {"permission_scope": "MINE"},
        {"name": "vip"},
        many,
    )
    for wrong in wrongs:
        assert error(x.call("GET", x.lists, **wrong)) == "INVALID_PARAMETER"


def test_a_list_is_made_of_known_words(x: X) -> None:
    """By query or form; JSON holds none of them."""
    assert error(x.call("POST", x.lists, name="new", list_type="EMAIL")) == "INVALID_PARAMETER"
    made = x.call("POST", x.lists, {"name": "new"})
    assert error(made) == "MISSING_PARAMETER"
    assert len(x.call("GET", x.lists).json()["data"]) == 1


def test_a_list_can_be_renamed(x: X) -> None:
    """By query, as everything but users."""
    shown = x.call("PUT", f"{x.lists}/{x.list['id']}", name="other name").json()["data"]
    assert (shown["name"], shown["description"]) == ("other name", "ours")


def test_the_signature_is_verified(x: X) -> None:
    """Wrong secrets, an unsigned request and a changed query are all 401."""
    for auth in (
        signed(client_secret="wrong"),
        signed(resource_owner_secret="wrong"),
        signed(client_key="wrong"),
        signed(resource_owner_key="wrong"),
        signed(timestamp=str(int(time.time()) - 400)),
        signed(signature_method="PLAINTEXT"),
    ):
        answer = requests.get(f"{x.base}/{x.lists}", auth=auth, timeout=10)
        assert (answer.status_code, error(answer)) == (401, "UNAUTHORIZED_ACCESS")
    assert requests.get(f"{x.base}/{x.lists}", timeout=10).status_code == 401
    right = requests.Request("GET", f"{x.base}/{x.lists}?count=5", auth=signed()).prepare()
    right.url = str(right.url).replace("count=5", "count=6")
    assert x.http.send(right, timeout=10).status_code == 401


def test_a_nonce_is_good_once(x: X) -> None:
    """The very same request is a copy that somebody kept."""
    prepared = requests.Request("GET", f"{x.base}/{x.lists}", auth=signed()).prepare()
    assert [x.http.send(prepared, timeout=10).status_code for _ in range(2)] == [200, 401]


def test_the_sandbox_signs_as_the_reference(monkeypatch: pytest.MonkeyPatch) -> None:
    """The published vector of the query, which shows that the simulation has the rule right."""
    secrets = {"consumer_secret": "csecret", "access_token_secret": "tsecret"}
    for name, value in secrets.items():
        monkeypatch.setitem(X_CREDENTIALS, name, value)
    said = {
        "oauth_consumer_key": "ckey",
        "oauth_token": "tkey",
        "oauth_nonce": "nonce123",
        "oauth_timestamp": "1795305600",
        "oauth_signature_method": "HMAC-SHA1",
        "oauth_version": "1.0",
    }
    words = {"name": "VIP buyers", "description": "Q4 list"}
    lists = f"https://ads-api.x.com/12/accounts/{ACCOUNT}/custom_audiences"
    assert sign("POST", lists, said | words) == "uKAIrfB409h3LVyllaV4BrcGj+E="
    assert sign("POST", f"{lists}/2906h/users", said) == "Al7CFICmlE2fh9ghSgYvlkYTTvo="


def test_the_do_not_reach_list(x: X) -> None:
    """One an account, below /batch, e-mail and phone only, and under thirteen months."""
    lists = f"accounts/{ACCOUNT}/do_not_reach_lists"
    assert x.call("GET", lists).json()["data"] == []
    number = x.call("POST", lists, name="Do Not Reach List").json()["data"]["id"]
    assert error(x.call("POST", lists, name="another")) == "INVALID_PARAMETER"
    users = f"batch/{lists}/{number}/users"
    both = {"email": [digest(1)], "phone_number": [digest("p")]}
    counts = [{"success_count": 1, "total_count": 1}]
    until = time.strftime("%Y-%m-%dT00:00:00Z", time.gmtime(time.time() + 390 * DAY))
    assert x.call("POST", users, [update(both, expires_at=until)]).json()["data"] == counts
    assert x.held(number) == {"email": [digest(1)], "phone": [digest("p")]}
    for wrong in (
        update({"device_id": [digest("d")]}, expires_at=until),
        update(both, expires_at="2099-01-01T00:00:00Z"),
        update(both, effective_at="2026-01-01T00:00:00Z", expires_at=until),
        update(both),
    ):
        assert x.call("POST", users, [wrong]).json()["operation_errors"][0]
    assert x.call("POST", users, [delete(email(1))]).json()["data"] == counts
    assert x.held(number) == {"phone": [digest("p")]}
    assert x.call("POST", f"{lists}/{number}/users", [update(both)]).status_code == 404
    assert x.call("POST", f"batch/{x.users}", [update(both)]).status_code == 404


def test_other_accounts_and_addresses(x: X) -> None:
    """An account that is none, another version, and an address that is a web page."""
    assert error(x.call("GET", "accounts/ABC/custom_audiences")) == "INVALID_PARAMETER"
    for path in (f"accounts/{ACCOUNT}/tweets", f"../11/{x.lists}", x.users):
        answer = x.call("GET", path)
        assert answer.status_code == 404
        assert answer.headers["content-type"].startswith("text/html")
    with running_sandbox(x_accounts=("abc",)) as strict:
        auth = signed()
        mine = f"{strict.url}/x/12/accounts/{{}}/custom_audiences"
        assert requests.get(mine.format("abc"), auth=auth, timeout=10).status_code == 200
        assert error(requests.get(mine.format("def"), auth=auth, timeout=10)) == (
            "ACCOUNT_NOT_FOUND"
        )


def test_terms_are_needed_to_make_and_fill_a_list(x: X) -> None:
    """And not to take somebody off one."""
    x.change(update(email(1), email(2)))
    x.steer("terms", partner="x", account=ACCOUNT, accepted=False)
    assert error(x.change(update(email(3)))) == "ACTION_NOT_ALLOWED"
    assert error(x.call("POST", x.lists, name="new")) == "ACTION_NOT_ALLOWED"
    assert x.change(delete(email(1))).status_code == 200
    assert x.held() == email(2)


@pytest.mark.parametrize(
    ("kind", "status", "code"),
    [
        ("rate-limit", 429, "TOO_MANY_REQUESTS"),
        ("5xx", 503, "SERVICE_UNAVAILABLE"),
        ("conflict", 423, "LOCK_ACQUISITION_TIMEOUT"),
        ("expired-token", 401, "UNAUTHORIZED_ACCESS"),
        ("terms-not-accepted", 403, "ACTION_NOT_ALLOWED"),
    ],
)
def test_faults_are_xs_own(x: X, kind: str, status: int, code: str) -> None:
    """Each in X's words, and nothing is done."""
    x.steer("faults", partner="x", operation="add", kind=kind, minutes=2)
    answer = x.change(update(email(1)))
    assert (answer.status_code, error(answer)) == (status, code)
    assert x.held() == {}
    if kind == "rate-limit":
        reset = int(answer.headers["x-account-rate-limit-reset"])
        assert 60 < reset - time.time() <= 121


def test_counts_can_fall_short(x: X) -> None:
    """A success whose counts differ, and nobody is on the list."""
    x.steer("faults", partner="x", operation="add", kind="reject-share", share=0.5)
    counts = x.change(update(email(1), email(2))).json()["data"]
    assert counts == {"success_count": 1, "total_count": 2}
    assert x.held() == {}


def test_quotas_are_enforced_on_request(monkeypatch: pytest.MonkeyPatch) -> None:
    """1,500 requests a minute and account for users, told with every answer; here they are 15."""
    assert x_module.REQUESTS == 1_500
    monkeypatch.setattr(x_module, "REQUESTS", 15)
    with running_sandbox(strict_quotas=True) as sandbox:
        x = X(sandbox.url)
        first = x.change(update(email(1)))
        assert first.headers["x-account-rate-limit-remaining"] == "14"
        for _ in range(14):
            last = x.change(update(email(1)))
        assert last.headers["x-account-rate-limit-remaining"] == "0"
        assert x.change(update(email(2))).status_code == 429
        assert x.held() == email(1)
        x.http.close()
