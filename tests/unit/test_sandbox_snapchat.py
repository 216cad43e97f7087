"""The simulated Snapchat answers as Snapchat documents it."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Any

import orjson
import pytest
import requests

from audience_sync.sandbox import running_sandbox
from audience_sync.sandbox.snapchat.oauth import CLIENT_ID, CLIENT_SECRET, REFRESH_TOKEN

ACCOUNT = "422ef6f5-0000-4000-8000-000000000001"
JANE = "86e0b9e56c17cc4d12387e1949b85053fbe73bc3ce5a1188713a9d300cc6133d"
DOE = "d6117306485ed0e50afab3ac871e98f81699151f30281527d63ff5f233656c69"
NOTHING = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
GRANT = {
    "grant_type": "refresh_token",
    "refresh_token": REFRESH_TOKEN,
    "client_id": CLIENT_ID,
    "client_secret": CLIENT_SECRET,
}


class Snapchat:
    """A client of the simulated Snapchat with one segment."""

    def __init__(self, url: str) -> None:
        self.base, self.control = f"{url}/snapchat", f"{url}/_control"
        self.http = requests.Session()
        self.http.headers["Authorization"] = "Bearer sandbox-token"
        self.list = self.make().json()["segments"][0]["segment"]["id"]

    def call(self, method: str, path: str, **more: Any) -> requests.Response:
        return self.http.request(method, f"{self.base}/v1/{path}", timeout=10, **more)

    def make(self, **change: Any) -> requests.Response:
        segment = {"name": "vip", "source_type": "FIRST_PARTY", "ad_account_id": ACCOUNT} | change
        return self.call("POST", f"adaccounts/{ACCOUNT}/segments", json={"segments": [segment]})

    def send(self, method: str, *values: Any, **change: Any) -> requests.Response:
        user = {"schema": ["EMAIL_SHA256"], "data": [[value] for value in values]} | change
        return self.call(method, f"segments/{self.list}/users", json={"users": [user]})

    def shown(self) -> dict[str, Any]:
        found = self.call("GET", f"segments/{self.list}").json()
        return dict(found["segments"][0]["segment"])

    def held(self) -> dict[str, list[str]]:
        query = {"partner": "snapchat", "list": self.list}
        found = self.http.get(f"{self.control}/members", params=query, timeout=10).json()
        return dict(found["identifiers"])

    def token(self, **change: str) -> requests.Response:
        url = f"{self.base}/login/oauth2/access_token"
        return requests.post(url, data=GRANT | change, timeout=10)

    def steer(self, path: str, **wish: Any) -> None:
        self.http.post(f"{self.control}/{path}", json=wish, timeout=10).raise_for_status()


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with running_sandbox(match_share=1.0, snapchat_matching_seconds=3600) as sandbox:
        yield sandbox.url


@pytest.fixture
def snapchat(url: str) -> Snapchat:
    requests.post(f"{url}/_control/reset", timeout=10)
    return Snapchat(url)


def test_a_refused_token_is_plain_text(snapchat: Snapchat) -> None:
    """No JSON, as Snapchat's own 401 may be."""
    for token in ("", "Bearer nonsense", "sandbox-token"):
        found = snapchat.call("GET", "segments/1", headers={"Authorization": token})
        assert (found.status_code, found.text) == (401, "unauthorized")
        assert found.headers["content-type"].startswith("text/plain")


def test_a_grant_gives_a_token_for_half_an_hour(snapchat: Snapchat) -> None:
    """By the sandbox's clock."""
    found = snapchat.token().json()
    assert (found["token_type"], found["expires_in"]) == ("Bearer", 1800)
    snapchat.http.headers["Authorization"] = f"Bearer {found['access_token']}"
    assert snapchat.call("GET", f"segments/{snapchat.list}").status_code == 200
    snapchat.steer("clock", advance_seconds=1801)
    assert snapchat.call("GET", f"segments/{snapchat.list}").status_code == 401


@pytest.mark.parametrize(
    ("change", "status", "error"),
    [
        ({"refresh_token": "x"}, 400, "invalid_grant"),
        ({"client_secret": "x"}, 401, "invalid_client"),
        ({"grant_type": "password"}, 400, "unsupported_grant_type"),
        ({"grant_type": "authorization_code", "code": "x"}, 400, "invalid_request"),
        (
            {"grant_type": "authorization_code", "code": "x", "redirect_uri": "u"},
            400,
            "invalid_grant",
        ),
        (
            {"grant_type": "authorization_code", "code": "sandbox-code", "redirect_uri": "u"},
            200,
            None,
        ),
    ],
)
def test_grants_are_checked(
    snapchat: Snapchat, change: dict[str, str], status: int, error: str | None
) -> None:
    """App, grant and code."""
    found = snapchat.token(**change)
    assert (found.status_code, found.json().get("error")) == (status, error)


@pytest.mark.parametrize(
    ("change", "status"),
    [
        ({"name": "n" * 375}, 200),
        ({"name": "n" * 376}, 400),
        ({"name": ""}, 400),
        ({"source_type": "THIRD_PARTY"}, 400),
        ({"retention_in_days": 0}, 400),
        ({"retention_in_days": 9_999}, 200),
        ({"retention_in_days": 10_000}, 400),
        ({"ad_account_id": "another"}, 400),
        ({"lookalike": True}, 400),
    ],
)
def test_a_segment_is_described_strictly(
    snapchat: Snapchat, change: dict[str, Any], status: int
) -> None:
    """An error is an envelope with a code."""
    found = snapchat.make(**change)
    assert found.status_code == status
    body = found.json()
    assert body["request_status"] == ("SUCCESS" if status == 200 else "ERROR")
    assert status == 200 or body["error_code"].startswith("E")


def test_one_hash_a_row_and_one_schema_a_request(snapchat: Snapchat) -> None:
    """Whatever is not so is refused whole."""
    rows: list[dict[str, Any]] = [
        {"data": [JANE]},
        {"data": [[JANE, DOE]]},
        {"data": []},
        {"data": [[JANE.upper()]]},
        {"data": [["jane.doe@example.com"]]},
        {"data": [[JANE[:63]]]},
        {"data": [[NOTHING]]},
        {"data": [[JANE], [None]]},
        {"schema": ["EMAIL_SHA256", "PHONE_SHA256"]},
        {"schema": "EMAIL_SHA256"},
        {"schema": ["EMAIL"]},
        {"schema": []},
        {"id": "4711"},
        {"is_raw": False},
    ]
    for change in rows:
        assert snapchat.send("POST", JANE, **change).status_code == 400, change
    assert snapchat.held() == {}
    assert snapchat.send("POST", JANE, id=snapchat.list).status_code == 200


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", ""])
def test_a_body_says_that_it_is_json(snapchat: Snapchat, kind: str) -> None:
    """For members and for segments alike; nothing is taken."""
    body = orjson.dumps({"users": [{"schema": ["EMAIL_SHA256"], "data": [[JANE]]}]})
    headers = {"Content-Type": kind}
    path = f"segments/{snapchat.list}/users"
    assert snapchat.call("POST", path, data=body, headers=headers).status_code == 400
    assert snapchat.held() == {}


@pytest.mark.parametrize(("count", "status"), [(100_000, 200), (100_001, 400)])
def test_a_request_holds_a_hundred_thousand(snapchat: Snapchat, count: int, status: int) -> None:
    """One more is refused."""
    assert snapchat.send("POST", *[JANE] * count).status_code == status


def test_users_are_added_deleted_and_cleared(snapchat: Snapchat) -> None:
    """A DELETE has a body; what was taken is a count."""
    found = snapchat.send("POST", JANE, DOE).json()
    part = {"sub_request_status": "SUCCESS", "user": {"number_uploaded_users": 2}}
    assert found["users"] == [part]
    snapchat.send("POST", DOE, schema=["MOBILE_AD_ID_SHA256"])
    assert snapchat.held() == {"device": [DOE], "email": sorted([JANE, DOE])}
    assert snapchat.send("DELETE", JANE).status_code == 200
    assert snapchat.held() == {"device": [DOE], "email": [DOE]}
    assert snapchat.call("DELETE", f"segments/{snapchat.list}/all_users").status_code == 200
    assert snapchat.held() == {}


def test_a_segment_becomes_ready(snapchat: Snapchat) -> None:
    """Nothing uploaded, at work, too few, ready."""
    states = [snapchat.shown()]
    for number in (999, 1_000):
        hashes = [hashlib.sha256(f"{n}".encode()).hexdigest() for n in range(number)]
        snapchat.send("POST", *hashes)
        states.append(snapchat.shown())
        snapchat.steer("clock", advance_seconds=3_601)
        states.append(snapchat.shown())
    seen = [(one["status"], one["targetable_status"], one["upload_status"]) for one in states]
    assert seen == [
        ("PENDING", "NOT_READY", "NO_UPLOAD"),
        ("PENDING", "NOT_READY", "PROCESSING"),
        ("ACTIVE", "TOO_FEW_USERS", "COMPLETE"),
        ("PENDING", "NOT_READY", "PROCESSING"),
        ("ACTIVE", "READY", "COMPLETE"),
    ]
    assert states[-1]["approximate_number_users"] == 1_000


def test_members_are_forgotten_in_time(snapchat: Snapchat) -> None:
    """After as many days as the segment was made with."""
    made = snapchat.make(retention_in_days=7).json()
    snapchat.list = made["segments"][0]["segment"]["id"]
    snapchat.send("POST", JANE)
    snapchat.steer("clock", advance_seconds=6 * 86_400)
    snapchat.send("POST", DOE)
    assert snapchat.held() == {"email": sorted([JANE, DOE])}
    snapchat.steer("clock", advance_seconds=86_401)
    assert snapchat.held() == {"email": [DOE]}


def test_segments_come_in_pages(snapchat: Snapchat) -> None:
    """The next page is a link."""
    for number in range(4):
        snapchat.make(name=f"segment {number}")
    path = f"adaccounts/{ACCOUNT}/segments"
    first = snapchat.call("GET", path, params={"limit": "3"}).json()
    assert len(first["segments"]) == 3
    second = snapchat.http.get(first["paging"]["next_link"], timeout=10).json()
    assert len(second["segments"]) == 2
    assert second["paging"] == {}
    for limit in ("0", "1001", "x"):
        assert snapchat.call("GET", path, params={"limit": limit}).status_code == 400


def test_a_segment_is_changed_and_deleted(snapchat: Snapchat) -> None:
    """By PUT with its id, and by DELETE."""
    path = f"adaccounts/{ACCOUNT}/segments"
    change = {"segments": [{"id": snapchat.list, "name": "other"}]}
    assert snapchat.call("PUT", path, json=change).status_code == 200
    assert snapchat.shown()["name"] == "other"
    gone = snapchat.call("DELETE", f"segments/{snapchat.list}").json()
    assert (gone["request_status"], gone["segments"]) == ("SUCCESS", [])
    assert snapchat.call("GET", f"segments/{snapchat.list}").status_code == 404
    assert snapchat.send("POST", JANE).status_code == 404


@pytest.mark.parametrize(
    ("kind", "status"),
    [("rate-limit", 429), ("5xx", 500), ("expired-token", 401), ("terms-not-accepted", 403)],
)
def test_faults_have_snapchats_shape(snapchat: Snapchat, kind: str, status: int) -> None:
    """And nothing is changed."""
    snapchat.steer("faults", partner="snapchat", kind=kind, operation="add")
    assert snapchat.send("POST", JANE).status_code == status
    assert snapchat.held() == {}
    assert snapchat.send("POST", JANE).status_code == 200


def test_refused_rows_are_only_counted(snapchat: Snapchat) -> None:
    """There are no errors row by row."""
    rejecting = {"partner": "snapchat", "kind": "reject-values", "values": [JANE]}
    snapchat.steer("faults", operation="add", **rejecting)
    found = snapchat.send("POST", JANE, DOE).json()
    assert found["users"][0]["user"]["number_uploaded_users"] == 1
    assert snapchat.held() == {"email": [DOE]}


def test_ten_requests_a_second_are_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where quotas are strict, the eleventh waits."""
    with running_sandbox(strict_quotas=True) as sandbox:
        clock = sandbox.world.clock
        monkeypatch.setattr(clock, "now", lambda: clock.advanced)
        snapchat = Snapchat(sandbox.url)
        path = f"segments/{snapchat.list}"
        assert [snapchat.call("GET", path).status_code for _ in range(10)] == [200] * 9 + [429]
        clock.advanced += 1.0
        assert snapchat.call("GET", path).status_code == 200
