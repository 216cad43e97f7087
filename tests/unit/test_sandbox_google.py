"""The simulated Google Data Manager answers as Google documents it."""

import base64
import hashlib
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import google.auth.transport.requests
import orjson
import pytest
import requests
from google.auth import crypt, jwt
from google.auth.exceptions import RefreshError
from google.oauth2 import credentials, service_account
from hypothesis import given, settings
from hypothesis import strategies as st

from audience_sync.sandbox import (
    GOOGLE_TOKEN,
    demo_refresh_token,
    demo_service_account,
    running_sandbox,
)
from audience_sync.sandbox.google import compact, members
from audience_sync.sandbox.google.errors import GoogleError

SCOPE = "https://www.googleapis.com/auth/datamanager"
GRANTED = {"adUserData": "CONSENT_GRANTED", "adPersonalization": "CONSENT_GRANTED"}
LISTS = "accountTypes/GOOGLE_ADS/accounts/123/userLists"


def digest(text: object) -> str:
    return hashlib.sha256(str(text).encode()).hexdigest()


def contact(*identifiers: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"compositeData": {"userData": {"userIdentifiers": list(identifiers)}}, **more}


def email(text: object) -> dict[str, Any]:
    return {"emailAddress": digest(text)}


class Google:
    """A client of the simulated Google with one contact list."""

    def __init__(self, url: str) -> None:
        self.url, self.base, self.control = url, f"{url}/google/v1", f"{url}/_control"
        self.http = requests.Session()
        self.http.headers["Authorization"] = f"Bearer {GOOGLE_TOKEN}"
        self.list = self.make("vip").json()["id"]

    def call(self, method: str, path: str, body: Any = None, **more: Any) -> requests.Response:
        return self.http.request(method, f"{self.base}/{path}", json=body, timeout=10, **more)

    def make(self, name: str, **change: Any) -> requests.Response:
        body = {
            "displayName": name,
            "ingestedUserListInfo": {
                "uploadKeyTypes": ["CONTACT_ID"],
                "contactIdInfo": {"dataSourceType": "DATA_SOURCE_TYPE_FIRST_PARTY"},
            },
        }
        return self.call("POST", LISTS, body | change)

    def request(self, *members: dict[str, Any], **change: Any) -> dict[str, Any]:
        return {
            "destinations": [
                {
                    "operatingAccount": {"accountType": "GOOGLE_ADS", "accountId": "123"},
                    "productDestinationId": self.list,
                }
            ],
            "audienceMembers": list(members),
            "consent": GRANTED,
            "termsOfService": {"customerMatchTermsOfServiceStatus": "ACCEPTED"},
            "encoding": "HEX",
        } | change

    def add(self, *members: dict[str, Any], **change: Any) -> requests.Response:
        return self.call("POST", "audienceMembers:ingest", self.request(*members, **change))

    def remove(self, *members: dict[str, Any], **change: Any) -> requests.Response:
        body = self.request(*members, **change)
        body = {k: v for k, v in body.items() if k not in ("consent", "termsOfService")}
        return self.call("POST", "audienceMembers:remove", body)

    def status(self, answer: requests.Response, later: float = 10.0) -> list[dict[str, Any]]:
        self.steer("clock", advance_seconds=later)
        query = {"requestId": answer.json()["requestId"]}
        found = self.call("GET", "requestStatus:retrieve", params=query).json()
        return list(found["requestStatusPerDestination"])

    def held(self, **more: str) -> dict[str, list[str]]:
        query = {"partner": "google", "list": self.list} | more
        found = self.http.get(f"{self.control}/members", params=query, timeout=10).json()
        return dict(found["identifiers"])

    def steer(self, path: str, **wish: Any) -> requests.Response:
        return self.http.post(f"{self.control}/{path}", json=wish, timeout=10)


def reason(answer: requests.Response) -> str:
    found = answer.json()["error"]
    assert found["code"] == answer.status_code
    return next((one["reason"] for one in found["details"] if "reason" in one), found["status"])


def fields(answer: requests.Response) -> list[str]:
    details = answer.json()["error"]["details"]
    return [one["field"] for part in details for one in part.get("fieldViolations", [])]


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with running_sandbox() as sandbox:
        yield sandbox.url


@pytest.fixture
def google_api(url: str) -> Iterator[Google]:
    requests.post(f"{url}/_control/reset", timeout=10)
    client = Google(url)
    yield client
    client.http.close()


def test_members_are_held_and_counted(google_api: Google) -> None:
    """Members are held from acceptance; the status tells their counts by kind."""
    members = [contact(email(n), {"phoneNumber": digest(-n)}) for n in range(1, 301)]

    answer = google_api.add(*members)
    early = google_api.status(answer, later=0)
    late = google_api.status(answer)

    assert early[0]["requestStatus"] == "PROCESSING"
    assert late[0]["requestStatus"] == "SUCCESS"
    assert late[0]["audienceMembersIngestionStatus"]["compositeDataIngestionStatus"] == {
        "recordCount": "300",
        "dataTypeCounts": [
            {"type": "EMAIL", "count": "300"},
            {"type": "PHONE_NUMBER", "count": "300"},
        ],
        "uploadMatchRateRange": "MATCH_RATE_RANGE_61_TO_70",
    }
    assert google_api.held() == {
        "email": sorted(digest(n) for n in range(1, 301)),
        "phone": sorted(digest(-n) for n in range(1, 301)),
    }


def test_removal_takes_no_consent(google_api: Google) -> None:
    """A removal names identifiers; consent and terms are unknown fields there."""
    google_api.add(contact(email(1)), contact(email(2)))

    removed = google_api.remove(contact(email(1)))
    refused = google_api.call(
        "POST", "audienceMembers:remove", google_api.request(contact(email(2)))
    )

    assert google_api.status(removed)[0]["audienceMembersRemovalStatus"] == {
        "userDataRemovalStatus": {"recordCount": "1", "userIdentifierCount": "1"}
    }
    assert refused.status_code == 400
    assert 'Unknown name "consent"' in refused.json()["error"]["message"]
    assert google_api.held() == {"email": [digest(2)]}


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("x" * 64, "INVALID_HEX_ENCODING"),
        (digest(1)[:32], "INVALID_SHA256_FORMAT"),
        (digest(""), "INVALID_SHA256_FORMAT"),
        ("", "INVALID_SHA256_FORMAT"),
        ("é" * 64, "INVALID_HEX_ENCODING"),
    ],
)
def test_one_wrong_hash_refuses_all(google_api: Google, value: str, expected: str) -> None:
    """Validation is all or nothing, and names the row in the doubled notation."""
    wrong = contact({"emailAddress": value})

    answer = google_api.add(contact(email(1)), wrong, contact(email(3)), wrong)

    assert reason(answer) == expected
    assert fields(answer) == [
        f"audience_members.audience_members[{row}].composite_data.user_data.user_identifiers"
        for row in (1, 3)
    ]
    assert google_api.held() == {}


def test_base64_and_upper_case_are_the_same_hash(google_api: Google) -> None:
    """However a hash is encoded, it is the same identifier."""
    coded = base64.b64encode(bytes.fromhex(digest(1))).decode()

    google_api.add(contact({"emailAddress": coded}), encoding="BASE64")
    google_api.add(contact({"emailAddress": digest(2).upper()}))
    wrong = google_api.add(contact({"emailAddress": digest(3)}), encoding="BASE64")

    assert google_api.held() == {"email": sorted([digest(1), digest(2)])}
    assert reason(wrong) == "INVALID_SHA256_FORMAT"


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"encoding": "ENCODING_UNSPECIFIED"}, "REQUIRED_FIELD_MISSING"),
        ({"encoding": "ROT13"}, "INVALID_ENUM_VALUE"),
        ({"termsOfService": {}}, "TERMS_AND_CONDITIONS_NOT_SIGNED"),
        ({"consent": {"adUserData": "GRANTED"}}, "INVALID_ENUM_VALUE"),
        ({"destinations": []}, "REQUIRED_FIELD_MISSING"),
        ({"audienceMembers": []}, "REQUIRED_FIELD_MISSING"),
        ({"audienceMembers": [contact(email(1))] * 10_001}, "TOO_MANY_AUDIENCE_MEMBERS"),
        ({"audienceMembers": [contact(*[email(1)] * 11)]}, "TOO_MANY_USER_IDENTIFIERS"),
        ({"audienceMembers": [contact()]}, "NO_IDENTIFIERS_PROVIDED"),
        (
            {"audienceMembers": [contact(email(1)), {"userIdData": {"userId": "1"}}]},
            "MULTIPLE_DATA_TYPES_NOT_ALLOWED",
        ),
        ({"audienceMembers": [{"userIdData": {"userId": "1"}}]}, "INVALID_USER_LIST_TYPE"),
        (
            {"audienceMembers": [contact({"address": {"givenName": digest(1)}})]},
            "REQUIRED_FIELD_MISSING",
        ),
        (
            {"audienceMembers": [contact(email(1), destinationReferences=["x"])]},
            "INVALID_DESTINATION",
        ),
    ],
)
def test_wrong_requests_are_refused(
    google_api: Google, change: dict[str, Any], expected: str
) -> None:
    """Each documented limit and rule has its reason."""
    answer = google_api.add(contact(email(1)), **change)

    assert (answer.status_code, reason(answer)) == (400, expected)
    assert google_api.held() == {}


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"productDestinationId": "1"}, "INVALID_USER_LIST_ID"),
        ({"productDestinationId": ""}, "REQUIRED_FIELD_MISSING"),
        ({"productDestinationId": "a-b"}, "INVALID_NUMBER_FORMAT"),
        (
            {"operatingAccount": {"accountType": "GOOGLE_ADS", "accountId": "12-3"}},
            "INVALID_NUMBER_FORMAT",
        ),
        (
            {"operatingAccount": {"accountType": "TELEVISION", "accountId": "123"}},
            "INVALID_ENUM_VALUE",
        ),
    ],
)
def test_wrong_destinations_are_refused(
    google_api: Google, change: dict[str, Any], expected: str
) -> None:
    """A destination names an account in digits and a list that it has."""
    request = google_api.request(contact(email(1)))
    request["destinations"][0] |= change

    assert reason(google_api.call("POST", "audienceMembers:ingest", request)) == expected


def test_unknown_names_are_refused(google_api: Google) -> None:
    """A field that does not exist is refused by the JSON reader, with its place."""
    answer = google_api.add(contact({"addressInfo": {}}))

    message = answer.json()["error"]["message"]
    assert 'Unknown name "addressInfo"' in message
    assert "audience_members[0].composite_data.user_data.user_identifiers[0]" in message


def test_consent_decides_row_by_row(google_api: Google) -> None:
    """A row without full consent is accepted, not held, and counted in the status."""
    denied = {"adUserData": "CONSENT_DENIED", "adPersonalization": "CONSENT_GRANTED"}
    unknown = dict.fromkeys(GRANTED, "CONSENT_STATUS_UNSPECIFIED")

    answer = google_api.add(
        contact(email(1)),
        contact(email(2), consent=denied),
        contact(email(3), consent={"adUserData": "CONSENT_GRANTED"}),
        contact(email(4), consent=unknown),
        contact(email(5), consent=GRANTED),
    )
    found = google_api.status(answer)[0]
    nobody = google_api.status(google_api.add(contact(email(6)), consent={}))[0]

    assert found["requestStatus"] == "PARTIAL_SUCCESS"
    assert {
        one["reason"][24:]: one["recordCount"] for one in found["errorInfo"]["errorCounts"]
    } == {
        "DENIED_CONSENT": "1",
        "NO_CONSENT": "1",
        "UNKNOWN_CONSENT": "1",
    }
    ingested = found["audienceMembersIngestionStatus"]["compositeDataIngestionStatus"]
    assert ingested["recordCount"] == "5"
    assert nobody["requestStatus"] == "FAILED"
    assert google_api.held() == {"email": sorted([digest(1), digest(5)])}


def test_device_lists_take_device_ids_only(google_api: Google) -> None:
    """Device IDs go to a list of their own; a wrong one shows in the status only."""
    info = {
        "uploadKeyTypes": ["MOBILE_ID"],
        "mobileIdInfo": {
            "dataSourceType": "DATA_SOURCE_TYPE_FIRST_PARTY",
            "keySpace": "ANDROID",
            "appId": "com.example",
        },
    }
    google_api.list = google_api.make("devices", ingestedUserListInfo=info).json()["id"]
    device = "38400000-8cf0-11bd-b23e-10b96e40000d"

    answer = google_api.add(
        {"mobileData": {"mobileIds": [device]}}, {"mobileData": {"mobileIds": ["nonsense"]}}
    )
    found = google_api.status(answer)[0]

    assert reason(google_api.add(contact(email(1)))) == "INVALID_USER_LIST_TYPE"
    assert found["requestStatus"] == "PARTIAL_SUCCESS"
    assert found["errorInfo"]["errorCounts"] == [
        {"recordCount": "1", "reason": "PROCESSING_ERROR_REASON_INVALID_MOBILE_ID_FORMAT"}
    ]
    assert google_api.held() == {"device": [device]}


def test_members_choose_among_destinations(google_api: Google) -> None:
    """A member reaches the destinations that it names, or all."""
    first, second = google_api.list, google_api.make("other").json()["id"]
    given = google_api.request()["destinations"][0]
    destinations = [
        given | {"reference": "a"},
        given | {"reference": "b", "productDestinationId": second},
    ]

    answer = google_api.add(
        contact(email(1), destinationReferences=["a"]),
        contact(email(2)),
        destinations=destinations,
    )
    twice = google_api.add(contact(email(1)), destinations=[destinations[0]] * 2)

    counts = [
        one["audienceMembersIngestionStatus"]["compositeDataIngestionStatus"]["recordCount"]
        for one in google_api.status(answer)
    ]
    assert counts == ["2", "1"]
    assert google_api.held(list=first) == {"email": sorted([digest(1), digest(2)])}
    assert google_api.held(list=second) == {"email": [digest(2)]}
    assert reason(twice) == "DUPLICATE_DESTINATION_REFERENCE"


def test_validate_only_stores_nothing(google_api: Google) -> None:
    """A validation changes nothing, and its id cannot be polled."""
    answer = google_api.add(contact(email(1)), validateOnly=True)
    query = {"requestId": answer.json()["requestId"]}

    polled = google_api.call("GET", "requestStatus:retrieve", params=query)

    assert reason(polled) == "INVALID_REQUEST_ID"
    assert google_api.held() == {}


def test_remove_all_goes_by_the_last_add(google_api: Google) -> None:
    """Only members last added before the time are removed; the future is refused."""
    google_api.add(contact(email(1)), contact(email(2)))
    google_api.steer("clock", advance_seconds=60)
    moment = time.time() + 30
    google_api.add(contact(email(2)))
    body = google_api.request()
    wish = {"destinations": body["destinations"]}

    def written(seconds: float) -> str:
        return datetime.fromtimestamp(seconds, UTC).isoformat().replace("+00:00", "Z")

    future = google_api.call(
        "POST", "audienceMembers:removeAll", wish | {"removeAsOfTime": written(moment + 9999)}
    )
    done = google_api.call(
        "POST", "audienceMembers:removeAll", wish | {"removeAsOfTime": written(moment)}
    )

    assert reason(future) == "INVALID_REMOVE_AS_OF_TIME"
    assert google_api.status(done)[0]["removeAllAudienceMembersStatus"] == {}
    assert google_api.held() == {"email": [digest(2)]}
    assert google_api.held(reading="people") == {"email": [digest(2)]}


def test_unknown_requests_are_not_found(google_api: Google) -> None:
    """An id that nobody gave is 404; one of fifty days ago is too old."""
    answer = google_api.add(contact(email(1)))
    query = {"requestId": answer.json()["requestId"]}
    google_api.steer("clock", advance_seconds=51 * 86_400)

    old = google_api.call("GET", "requestStatus:retrieve", params=query)
    unknown = google_api.call("GET", "requestStatus:retrieve?requestId=nobody")

    assert reason(old) == "REQUEST_TOO_OLD"
    assert (unknown.status_code, reason(unknown)) == (404, "NOT_FOUND")


def test_lists_are_found_by_filter_and_pages(google_api: Google) -> None:
    """A filter finds a list by its name, in snake or camel case; pages meet each list once."""
    names = ["vip"] + [f"list {n}" for n in range(4)]
    for name in names[1:]:
        google_api.make(name, description='said "so"', integrationCode=name)

    def ask(**query: Any) -> Any:
        return google_api.call("GET", LISTS, params=query).json()

    met, token = [], ""
    while True:
        page = ask(pageSize=2, pageToken=token)
        met += [one["displayName"] for one in page["userLists"]]
        token = page.get("nextPageToken", "")
        if not token:
            break

    assert met == names
    for text in ('display_name="list 2"', 'displayName = "list 2" AND description:"so"'):
        assert [one["displayName"] for one in ask(filter=text)["userLists"]] == ["list 2"]
    among = ask(filter='IN(integration_code, "list 1", "list 3")')["userLists"]
    assert [one["displayName"] for one in among] == ["list 1", "list 3"]
    assert ask(filter='display_name="nobody"') == {}
    assert reason(google_api.call("GET", LISTS, params={"filter": "nonsense"})) == "INVALID_FILTER"


def test_lists_are_changed_and_deleted(google_api: Google) -> None:
    """A patch changes the fields of its mask; a deleted list is 404."""
    path = f"{LISTS}/{google_api.list}"
    changed = google_api.call(
        "PATCH", f"{path}?updateMask=description", {"description": "new", "displayName": "x"}
    )
    google_api.call("DELETE", path)

    assert changed.json()["description"] == "new"
    assert changed.json()["displayName"] == "vip"
    assert google_api.call("GET", path).status_code == 404


@pytest.mark.parametrize(
    ("change", "status", "expected"),
    [
        ({"displayName": "vip"}, 409, "DISPLAY_NAME_ALREADY_USED"),
        ({"displayName": " "}, 400, "REQUIRED_FIELD_MISSING"),
        ({"membershipDuration": "46742400s"}, 400, "MEMBERSHIP_DURATION_TOO_LONG"),
        ({"membershipDuration": "100s"}, 400, "INVALID_ARGUMENT"),
        ({"ingestedUserListInfo": {"uploadKeyTypes": []}}, 400, "REQUIRED_FIELD_MISSING"),
    ],
)
def test_wrong_lists_are_refused(
    google_api: Google, change: dict[str, Any], status: int, expected: str
) -> None:
    """Names are unique, durations whole days up to 540, and the kind of members is one."""
    answer = google_api.make("new", **change)

    assert (answer.status_code, reason(answer)) == (status, expected)


def test_service_account_and_refresh_token_open_the_door(url: str) -> None:
    """Google's own library gets tokens with both demo credentials; the signature is verified."""
    with requests.Session() as http:
        ask = google.auth.transport.requests.Request(http)
        found = demo_service_account(url)
        account = service_account.Credentials.from_service_account_info(found, scopes=[SCOPE])
        account.refresh(ask)
        known = demo_refresh_token(url)
        known.pop("type")
        user = credentials.Credentials(None, **known)
        user.refresh(ask)
        wrong = credentials.Credentials(None, **(known | {"refresh_token": "revoked"}))
        with pytest.raises(RefreshError, match="invalid_grant"):
            wrong.refresh(ask)

        for token in (account.token, user.token):
            header = {"Authorization": f"Bearer {token}"}
            answer = http.get(f"{url}/google/v1/{LISTS}", headers=header, timeout=10)
            assert answer.status_code == 200


def test_forged_assertions_are_refused(url: str) -> None:
    """An assertion of another key, or with another audience, gets no token."""
    with running_sandbox() as other:
        stranger = crypt.RSASigner.from_service_account_info(demo_service_account(other.url))
    own = crypt.RSASigner.from_service_account_info(demo_service_account(url))
    now = int(time.time())
    claims = {
        "iss": "audience-sync@sandbox.iam.gserviceaccount.com",
        "scope": SCOPE,
        "aud": f"{url}/google/token",
        "iat": now,
        "exp": now + 3600,
    }

    def ask(signer: Any, **change: Any) -> requests.Response:
        form = {
            "grant_type": "urn:ietf:params:oauth:grant-type:jwt-bearer",
            "assertion": jwt.encode(signer, claims | change).decode(),
        }
        return requests.post(f"{url}/google/token", data=form, timeout=10)

    assert ask(own).status_code == 200
    for refused in (ask(stranger), ask(own, aud="https://x"), ask(own, exp=now + 9000)):
        assert (refused.status_code, refused.json()["error"]) == (400, "invalid_grant")


def test_tokens_end_and_need_the_scope(google_api: Google) -> None:
    """A token ends after an hour of the sandbox's clock, and one of another scope is refused."""
    with requests.Session() as http:
        ask = google.auth.transport.requests.Request(http)
        found = demo_service_account(google_api.url)
        account = service_account.Credentials.from_service_account_info(found, scopes=[SCOPE])
        account.refresh(ask)
        other = service_account.Credentials.from_service_account_info(found, scopes=["email"])
        other.refresh(ask)

        def try_with(token: str) -> requests.Response:
            header = {"Authorization": f"Bearer {token}"}
            return http.get(f"{google_api.base}/{LISTS}", headers=header, timeout=10)

        assert try_with(account.token).status_code == 200
        google_api.steer("clock", advance_seconds=3600)
        ended, scopeless = try_with(account.token), try_with("nobody's")
        other.refresh(ask)
        assert (ended.status_code, reason(ended)) == (401, "ACCESS_TOKEN_EXPIRED")
        assert scopeless.status_code == 401
        assert reason(try_with(other.token)) == "ACCESS_TOKEN_SCOPE_INSUFFICIENT"


def test_logins_are_checked_in_header_and_body() -> None:
    """A login account that does not manage the operating account is denied; so is a bad header."""
    with running_sandbox(google_logins=("999",)) as sandbox:
        head = {"Authorization": f"Bearer {GOOGLE_TOKEN}"}

        def ask(login: str) -> requests.Response:
            header = head | {"login-account": login}
            return requests.get(f"{sandbox.url}/google/v1/{LISTS}", headers=header, timeout=10)

        assert ask("accountTypes/GOOGLE_ADS/accounts/999").status_code == 200
        assert ask("accountTypes/GOOGLE_ADS/accounts/998").status_code == 403
        assert ask("999").status_code == 400


def test_quotas_are_enforced_when_strict() -> None:
    """The 301st request of a minute is refused by the name of its quota; a minute later not."""
    with running_sandbox(strict_quotas=True) as sandbox, requests.Session() as http:
        sandbox.world.clock.advanced = 60 - sandbox.world.clock.now() % 60
        http.headers["Authorization"] = f"Bearer {GOOGLE_TOKEN}"
        path = f"{sandbox.url}/google/v1/requestStatus:retrieve?requestId=x"
        codes = [http.get(path, timeout=10).status_code for _ in range(300)]
        over = http.get(path, timeout=10)
        sandbox.world.clock.advanced += 60
        later = http.get(path, timeout=10)

    assert set(codes) == {404}
    assert over.status_code == 429
    metadata = over.json()["error"]["details"][0]["metadata"]
    assert metadata["quota_limit"] == "IngestionReadRequestsPerMinutePerProject"
    assert later.status_code == 404


IDENTIFIER = st.tuples(
    st.sampled_from(["emailAddress", "phoneNumber"]), st.integers(0, 3).map(digest)
).map(lambda pair: {pair[0]: pair[1]})
ODD = st.sampled_from(
    [
        contact({"emailAddress": ""}),
        contact({"emailAddress": digest("")}),
        contact({"emailAddress": digest(1).upper()}),
        contact({"emailAddress": "x" * 64}),
        contact({digest(1): digest(1)}),
        contact(email(1), consent=GRANTED),
        contact(email(1), destinationReferences=[digest(1)]),
        contact({"emailAddress": digest(1), "phoneNumber": digest(2)}),
        contact(),
        {"userData": {"userIdentifiers": [email(1)]}},
        {"userIdData": {"userId": digest(1)}},
        {"compositeData": {"userData": {}}},
        {},
    ]
)


def read_in_full(body: bytes) -> Any:
    try:
        batch = members.read(orjson.loads(body))
    except GoogleError as refusal:
        return refusal.reason
    return flat(batch)


def flat(batch: members.Batch) -> Any:
    return batch.shape, batch.rows, {k: (list(v), list(r)) for k, (v, r) in batch.columns.items()}


@given(
    shape=st.lists(IDENTIFIER, min_size=1, max_size=3),
    others=st.lists(st.one_of(st.lists(IDENTIFIER, min_size=1).map(lambda i: contact(*i)), ODD)),
    tail=st.sampled_from([{}, {"encoding": "HEX"}, {"encoding": "HEX", "consent": GRANTED}]),
)
@settings(max_examples=60, deadline=None)
def test_the_quick_reading_agrees_with_the_full_one(
    shape: list[Any], others: list[Any], tail: dict[str, Any]
) -> None:
    """Where the quick reading answers at all, it finds what the full reading finds."""
    every = [contact(*shape)] * 120 + others + [contact(*shape)]
    body = orjson.dumps({"destinations": [], "audienceMembers": every} | tail)

    quick = compact.read(body)

    if quick is not None:
        assert flat(quick[1]) == read_in_full(body)
        assert quick[0] == {"destinations": [], "audienceMembers": []} | tail


def test_the_usual_request_is_read_quickly() -> None:
    """Members of a few shapes with hashes alone take the quick way."""
    usual = [contact(email(1)), contact(email(2), {"phoneNumber": digest(3)})] * 60
    body = orjson.dumps({"audienceMembers": usual, "encoding": "HEX"})

    assert compact.read(body) is not None
