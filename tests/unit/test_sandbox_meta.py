"""The simulated Meta answers as Meta documents it."""

import hashlib
import hmac
from collections.abc import Iterator
from typing import Any

import pytest
import requests

from audience_sync.sandbox import META_TOKEN, running_sandbox


def digest(text: object) -> str:
    return hashlib.sha256(str(text).encode()).hexdigest()


class Meta:
    """A client of the simulated Meta with one audience."""

    def __init__(self, url: str, **definition: Any) -> None:
        self.base, self.control = f"{url}/meta/v26.0", f"{url}/_control"
        self.http = requests.Session()
        self.http.headers["Authorization"] = f"Bearer {META_TOKEN}"
        self.definition = {
            "name": "vip",
            "subtype": "CUSTOM",
            "customer_file_source": "USER_PROVIDED_ONLY",
            "description": "ours",
        } | definition
        self.audience = self.call("POST", "act_7/customaudiences", self.definition).json()["id"]

    def call(self, method: str, path: str, body: Any = None, **more: Any) -> requests.Response:
        return self.http.request(method, f"{self.base}/{path}", json=body, timeout=10, **more)

    def upload(
        self,
        schema: Any,
        rows: list[Any],
        method: str = "POST",
        edge: str = "users",
        **session: Any,
    ) -> requests.Response:
        body: dict[str, Any] = {"payload": {"schema": schema, "data": rows}}
        if session:
            body["session"] = session
        return self.call(method, f"{self.audience}/{edge}", body)

    def held(self, **more: str) -> dict[str, list[str]]:
        query = {"partner": "meta", "list": self.audience} | more
        found = self.http.get(f"{self.control}/members", params=query, timeout=10).json()
        return dict(found["identifiers"])

    def steer(self, path: str, **wish: Any) -> requests.Response:
        return self.http.post(f"{self.control}/{path}", json=wish, timeout=10)

    def close(self) -> None:
        self.http.close()


def error(response: requests.Response) -> tuple[int, int | None]:
    found = response.json()["error"]
    return found["code"], found.get("error_subcode")


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with running_sandbox() as sandbox:
        yield sandbox.url


@pytest.fixture
def meta(url: str) -> Iterator[Meta]:
    requests.post(f"{url}/_control/reset", timeout=10)
    client = Meta(url)
    yield client
    client.close()


def test_rows_are_counted_and_held(meta: Meta) -> None:
    """A row with any wrong cell is counted as invalid, named, and not held."""
    rows = [[digest(1), digest("p1")], [digest(2), ""], ["no hash", digest("p3")], ["", ""]]

    answer = meta.upload(["EMAIL", "PHONE"], rows).json()

    assert answer["num_received"] == 4
    assert answer["num_invalid_entries"] == 2
    assert sorted(answer["invalid_entry_samples"].values()) == ["", "no hash"]
    assert meta.held() == {
        "email": sorted([digest(1), digest(2)]),
        "phone": [digest("p1")],
    }


@pytest.mark.parametrize(
    ("schema", "cell"),
    [
        ("EMAIL", digest(1).upper()),
        ("EMAIL", digest("")),
        ("EMAIL", digest(1)[:-1] + "é"),
        ("EMAIL", 5),
        ("PHONE", digest(1)[:32]),
        ("MADID", "38400000-8CF0-11BD-B23E-10B96E40000D"),
        ("MADID", "00000000-0000-0000-0000-000000000000"),
        ("MADID", digest(1)),
    ],
)
def test_wrong_cells_are_invalid(meta: Meta, schema: Any, cell: Any) -> None:
    """Upper case, hashes of nothing, other lengths and hashed device IDs are invalid."""
    answer = meta.upload([schema], [[cell], [""], [cell]]).json()

    assert answer["num_invalid_entries"] == 3
    assert meta.held() == {}


def test_single_key_takes_flat_and_nested_rows(meta: Meta) -> None:
    """The documentation shows both spellings of a one-column upload."""
    meta.upload("EMAIL_SHA256", [digest(1)])
    meta.upload("PHONE_SHA256", [[digest(2)]])
    meta.upload("MOBILE_ADVERTISER_ID", ["38400000-8cf0-11bd-b23e-10b96e40000d"])

    assert meta.held() == {
        "device": ["38400000-8cf0-11bd-b23e-10b96e40000d"],
        "email": [digest(1)],
        "phone": [digest(2)],
    }


@pytest.mark.parametrize(
    ("schema", "rows"),
    [
        (["EMAIL", "PHONE"], [[digest(1)]]),
        (["EMAIL"], [digest(1)]),
        (["EMAIL"], []),
        (["EMIAL"], [[digest(1)]]),
        (["EMAIL", "EMAIL"], [[digest(1), digest(1)]]),
        (["LOOKALIKE_VALUE"], [[1]]),
        ("UID", ["1"]),
        (["EMAIL"], [[digest(1)]] * 10_001),
    ],
)
def test_wrong_shapes_are_refused(meta: Meta, schema: Any, rows: list[Any]) -> None:
    """A row of another length, an unknown column or 10,001 rows refuse the whole request."""
    answer = meta.upload(schema, rows)

    assert (answer.status_code, error(answer)[0]) == (400, 100)
    assert meta.held() == {}


def test_samples_stop_at_a_hundred(meta: Meta) -> None:
    """At most a hundred wrong values are named; all are counted."""
    answer = meta.upload("EMAIL", ["x"] * 250).json()

    assert answer["num_invalid_entries"] == 250
    assert len(answer["invalid_entry_samples"]) == 100


def test_delete_takes_a_body_or_an_override(meta: Meta) -> None:
    """Members are removed by DELETE with a body, or by POST with method=DELETE, as JSON or form."""
    meta.upload("EMAIL", [digest(n) for n in range(4)])

    meta.upload("EMAIL", [digest(0)], method="DELETE")
    body = {"method": "DELETE", "payload": {"schema": "EMAIL", "data": [digest(1)]}}
    meta.call("POST", f"{meta.audience}/users", body)
    form = {"method": "DELETE", "payload": f'{{"schema":"EMAIL","data":["{digest(2)}"]}}'}
    meta.call("POST", f"{meta.audience}/users", data=form)

    assert meta.held() == {"email": [digest(3)]}


def test_form_multipart_and_query_are_read(meta: Meta) -> None:
    """Nested objects may come as JSON text in a form; the token by query or form."""
    payload = f'{{"schema":["EMAIL"],"data":[["{digest(1)}"]]}}'
    path = f"{meta.base}/{meta.audience}/users"
    form = {"payload": payload, "access_token": META_TOKEN}

    plain = requests.post(path, data=form, timeout=10)
    files = {"payload": (None, payload.replace(digest(1), digest(2)))}
    multipart = requests.post(f"{path}?access_token={META_TOKEN}", files=files, timeout=10)

    assert (plain.status_code, multipart.status_code) == (200, 200)
    assert meta.held() == {"email": sorted([digest(1), digest(2)])}


def test_people_reading_loses_the_whole_row(meta: Meta) -> None:
    """In the stricter reading a removed phone takes the person with it, until sent again."""
    meta.upload(["EMAIL", "PHONE"], [[digest(1), digest("old")], [digest(2), ""]])
    meta.upload(["PHONE"], [[digest("old")]], method="DELETE")
    meta.upload(["PHONE"], [[digest("new")]])

    assert meta.held() == {"email": sorted([digest(1), digest(2)]), "phone": [digest("new")]}
    assert meta.held(reading="people") == {"email": [digest(2)], "phone": [digest("new")]}


def test_session_counts_on(meta: Meta) -> None:
    """The counters of a session grow from batch to batch, and are read back."""
    first = meta.upload(["EMAIL"], [[digest(1)]], session_id=9, batch_seq=1)
    last = meta.upload(["EMAIL"], [["x"]], session_id=9, batch_seq=2, last_batch_flag=True)
    found = meta.call("GET", f"{meta.audience}/sessions?session_id=9").json()["data"]

    assert (first.json()["num_received"], last.json()["num_received"]) == (1, 2)
    assert last.json()["num_invalid_entries"] == 1
    assert [(one["num_received"], one["progress"]) for one in found] == [("2", "100")]


def test_finished_session_takes_only_repetitions(meta: Meta) -> None:
    """After the last batch, the same bytes are taken again and anything else is refused."""
    last = {"session_id": 9, "batch_seq": 1, "last_batch_flag": True}
    meta.upload(["EMAIL"], [[digest(1)]], **last)

    again = meta.upload(["EMAIL"], [[digest(1)]], **last)
    late = meta.upload(["EMAIL"], [[digest(2)]], session_id=9, batch_seq=2)

    assert again.status_code == 200
    assert error(late) == (2650, 1870159)


def test_session_closes_after_ninety_minutes(meta: Meta) -> None:
    """A session without a last batch takes nothing more after 90 minutes."""
    meta.upload(["EMAIL"], [[digest(1)]], session_id=9, batch_seq=1)
    meta.steer("clock", advance_seconds=5400)

    late = meta.upload(["EMAIL"], [[digest(2)]], session_id=9, batch_seq=2)

    assert error(late) == (2650, 1870158)


@pytest.mark.parametrize(
    "session",
    [
        {"session_id": 0, "batch_seq": 1},
        {"session_id": 2**63, "batch_seq": 1},
        {"session_id": 1, "batch_seq": 0},
        {"session_id": 1},
        {"session_id": 1, "batch_seq": 1, "last_batch_flag": "yes"},
    ],
)
def test_wrong_sessions_are_refused(meta: Meta, session: dict[str, Any]) -> None:
    """Ids are positive 64-bit numbers and batches count from one."""
    assert error(meta.upload(["EMAIL"], [[digest(1)]], **session))[0] == 100


def test_session_keeps_its_schema_and_purpose(meta: Meta) -> None:
    """A session has one schema and one operation."""
    meta.upload(["EMAIL"], [[digest(1)]], session_id=9, batch_seq=1)

    other = meta.upload(["PHONE"], [[digest(1)]], session_id=9, batch_seq=2)
    removal = meta.upload(["EMAIL"], [[digest(1)]], "DELETE", session_id=9, batch_seq=2)

    assert (error(other)[0], error(removal)[0]) == (100, 100)


def replace(meta: Meta, row: object, **session: Any) -> requests.Response:
    return meta.upload(["EMAIL"], [[digest(row)]], edge="usersreplace", **session)


def test_replace_swaps_the_list_at_its_last_batch(meta: Meta) -> None:
    """A list is as before while it is replaced (status 414), and new after the last batch."""
    meta.upload(["EMAIL"], [[digest("old")]])
    replace(meta, "a", session_id=4, batch_seq=1)
    status = meta.call("GET", f"{meta.audience}?fields=operation_status").json()
    during = meta.held()
    edit = meta.upload(["EMAIL"], [[digest("x")]])
    replace(meta, "b", session_id=4, batch_seq=2, last_batch_flag=True)

    assert status["operation_status"]["code"] == 414
    assert during == {"email": [digest("old")]}
    assert error(edit) == (2650, 1870145)
    assert meta.held() == {"email": sorted([digest("a"), digest("b")])}
    assert meta.held(reading="people") == meta.held()


def test_replace_has_its_own_refusals(meta: Meta) -> None:
    """The order of a replacement is held: first batch, one at a time, none after the end."""
    no_first = replace(meta, 1, session_id=4, batch_seq=2)
    replace(meta, 1, session_id=5, batch_seq=1)
    first_again = replace(meta, 1, session_id=5, batch_seq=1)
    second = replace(meta, 1, session_id=6, batch_seq=1)
    replace(meta, 1, session_id=5, batch_seq=2, last_batch_flag=True)
    finished = replace(meta, 1, session_id=5, batch_seq=3)
    without = meta.upload(["EMAIL"], [[digest(1)]], edge="usersreplace")

    assert error(no_first) == (2650, 1870147)
    assert error(first_again) == error(second) == (2650, 1870145)
    assert error(finished) == (2650, 1870159)
    assert error(without)[0] == 100


def test_replace_ends_after_ninety_minutes(meta: Meta) -> None:
    """What arrived in time replaces the list; a late batch is refused."""
    replace(meta, "a", session_id=4, batch_seq=1)
    meta.steer("clock", advance_seconds=5400)

    late = replace(meta, "b", session_id=4, batch_seq=2)

    assert error(late) == (2650, 1870158)
    assert meta.held() == {"email": [digest("a")]}


def test_replace_by_nothing_fails(meta: Meta) -> None:
    """A replacement without a usable row leaves the list and its status says so."""
    meta.upload(["EMAIL"], [[digest("old")]])
    failed = meta.upload(
        ["EMAIL"], [["x"]], edge="usersreplace", session_id=4, batch_seq=1, last_batch_flag=True
    )
    status = meta.call("GET", f"{meta.audience}?fields=operation_status").json()

    assert error(failed) == (2650, 1870148)
    assert status["operation_status"]["code"] == 415
    assert meta.held() == {"email": [digest("old")]}


def test_remove_everywhere_reaches_every_list_of_the_account(meta: Meta) -> None:
    """One request removes a person from all lists of an ad account."""
    meta.upload("EMAIL", [digest(1), digest(2)])
    body = {"payload": {"schema": "EMAIL", "data": [digest(1)]}}

    answer = meta.call("DELETE", "act_7/usersofanyaudience", body)

    assert answer.json()["num_received"] == 1
    assert meta.held() == {"email": [digest(2)]}


def test_external_ids_are_remembered_for_ninety_days(meta: Meta) -> None:
    """Then they name nobody any more, unless they came again; the people stay."""
    rows = [[digest(1), "cust-1"], [digest(2), "cust-2"]]
    meta.upload(["EMAIL", "EXTERN_ID"], rows)
    meta.steer("clock", advance_seconds=89 * 86_400)
    meta.upload(["EMAIL", "EXTERN_ID"], rows[1:])
    meta.steer("clock", advance_seconds=2 * 86_400)
    meta.upload("EXTERN_ID", ["cust-1", "cust-2"], method="DELETE")

    assert meta.held() == {"email": sorted([digest(1), digest(2)])}
    assert digest(1) in meta.held(reading="people")["email"]


def test_names_are_not_unique_but_can_be_fetched(meta: Meta) -> None:
    """Two creations make twins, unless the existing list is asked for."""
    twin = meta.call("POST", "act_7/customaudiences", meta.definition).json()["id"]
    wish = meta.definition | {"enable_fetch_or_create": True}
    fetched = meta.call("POST", "act_7/customaudiences", wish).json()["id"]

    assert twin != meta.audience
    assert fetched == meta.audience


def test_lists_are_paged_with_cursors(meta: Meta) -> None:
    """Every list is met once when the cursors are followed."""
    wish = ("POST", "act_7/customaudiences", meta.definition)
    made = [meta.audience, *(meta.call(*wish).json()["id"] for _ in range(4))]
    met: list[str] = []
    after, more = "", True
    while more:
        query = {"limit": "2", "fields": "id,description", "after": after}
        page = meta.call("GET", "act_7/customaudiences", params=query).json()
        met += [one["id"] for one in page["data"]]
        more = "next" in page["paging"]
        after = page["paging"]["cursors"]["after"]

    assert met == made
    assert page["data"][0]["description"] == "ours"


def test_lists_are_changed_and_deleted(meta: Meta) -> None:
    """An update is seen by the next reading; a deleted list is code 100/33."""
    meta.call("POST", meta.audience, {"description": "new"})
    found = meta.call("GET", f"{meta.audience}?fields=description").json()
    deleted = meta.call("DELETE", meta.audience)
    gone = meta.call("GET", meta.audience)

    assert found["description"] == "new"
    assert deleted.json() == {"success": True}
    assert error(gone) == (100, 33)


@pytest.mark.parametrize(
    "change",
    [
        {"name": ""},
        {"customer_file_source": None},
        {"customer_file_source": "BROKER"},
        {"subtype": "LOOKALIKE"},
        {"retention_days": 181},
    ],
)
def test_wrong_definitions_are_refused(meta: Meta, change: dict[str, Any]) -> None:
    """A list needs a name, a source, and at most 180 days."""
    answer = meta.call("POST", "act_7/customaudiences", meta.definition | change)

    assert error(answer)[0] == 100


def test_sizes_are_a_range_and_small_lists_unusable(meta: Meta) -> None:
    """An empty list has no size; 1,000 people are known as about 650, and usable."""
    fields = "approximate_count_lower_bound,approximate_count_upper_bound,delivery_status"
    before = meta.call("GET", f"{meta.audience}?fields={fields},operation_status").json()
    meta.upload("EMAIL", [digest(n) for n in range(1000)])
    after = meta.call("GET", f"{meta.audience}?fields={fields}").json()

    assert before["approximate_count_lower_bound"] == -1
    assert before["operation_status"]["code"] == 410
    assert before["delivery_status"]["code"] == 300
    assert after["approximate_count_lower_bound"] <= 650
    assert after["approximate_count_upper_bound"] > 650
    assert after["delivery_status"]["code"] == 200


def test_terms_are_needed_to_create_and_add(meta: Meta) -> None:
    """Without accepted terms nothing is created or added; the probe says so."""
    meta.steer("terms", partner="meta", account="7", accepted=False)

    probe = meta.call("GET", "act_7?fields=tos_accepted").json()
    create = meta.call("POST", "act_7/customaudiences", meta.definition)
    add = meta.upload("EMAIL", [digest(1)])

    assert probe["tos_accepted"] == {"custom_audience_tos": 0}
    assert error(create) == error(add) == (200, 1870090)


def test_flagged_lists_refuse_uploads(meta: Meta) -> None:
    """A list that policy has flagged takes no members."""
    meta.steer("meta/status", list=meta.audience, status=471)

    assert error(meta.upload("EMAIL", [digest(1)])) == (100, 1713230)


def test_tokens_end_and_are_exchanged(meta: Meta) -> None:
    """A token ends by the sandbox's clock; one exchanged before that is good for 60 days."""
    meta.steer("meta/tokens", token="short", expires_in=60)
    query = {
        "grant_type": "fb_exchange_token",
        "client_id": "1",
        "client_secret": "2",
        "fb_exchange_token": "short",
    }
    fresh = meta.call("GET", "oauth/access_token", params=query).json()["access_token"]
    meta.steer("clock", advance_seconds=61)

    def ask(token: str) -> requests.Response:
        return requests.get(
            f"{meta.base}/act_7?fields=tos_accepted&access_token={token}", timeout=10
        )

    assert error(ask("short")) == (190, 463)
    assert ask(fresh).status_code == 200
    assert error(ask("invalid")) == (190, None)
    assert error(requests.get(f"{meta.base}/act_7", timeout=10)) == (104, None)


def test_proofs_are_checked() -> None:
    """With an app secret, a call needs the HMAC of its token, plain or with a fresh time."""
    secret, token = "0123456789abcdef0123456789abcdef", "EAATESTTOKEN"
    plain = "99cbac345910084e738e780a0d5a02f2421ea86e53d6f64eff41e367a76944c6"
    with running_sandbox(meta_app_secret=secret) as sandbox:
        now = int(sandbox.world.clock.now())

        def ask(**proof: Any) -> int:
            query = {"access_token": token} | proof
            return requests.get(
                f"{sandbox.url}/meta/v26.0/act_7", params=query, timeout=10
            ).status_code

        def timed(moment: int) -> str:
            text = f"{token}|{moment}".encode()
            return hmac.new(secret.encode(), text, hashlib.sha256).hexdigest()

        assert ask(appsecret_proof=plain) == 200
        assert ask(appsecret_proof=timed(now), appsecret_time=now) == 200
        assert ask() == ask(appsecret_proof="0" * 64) == 400
        assert ask(appsecret_proof=timed(now - 400), appsecret_time=now - 400) == 400


def test_accounts_and_tokens_can_be_fixed() -> None:
    """A sandbox may know some tokens and accounts only."""
    with running_sandbox(meta_tokens=("good",), meta_accounts=("act_7",)) as sandbox:

        def ask(account: str, token: str) -> requests.Response:
            url = f"{sandbox.url}/meta/{account}?access_token={token}"
            return requests.get(url, timeout=10)

        assert ask("act_7", "good").status_code == 200
        assert error(ask("act_7", "other")) == (190, None)
        assert error(ask("act_8", "good")) == (100, 33)


def test_usage_is_told_and_the_limit_reached_at_its_end(meta: Meta) -> None:
    """Every reply tells how much of the limit is used; a throttle tells the minutes."""
    usual = meta.call("GET", "act_7?fields=tos_accepted")
    meta.steer("faults", partner="meta", kind="rate-limit", minutes=7)
    throttled = meta.call("GET", "act_7?fields=tos_accepted")

    assert '"call_count":0' in usual.headers["X-Business-Use-Case-Usage"]
    assert (throttled.status_code, error(throttled)) == (400, (80003, 2446079))
    assert "is_transient" not in throttled.json()["error"]
    usage = throttled.headers["X-Business-Use-Case-Usage"]
    assert '"estimated_time_to_regain_access":7' in usage


def test_old_versions_are_over(meta: Meta) -> None:
    """A version that has ended is refused; the unversioned path is taken."""
    old = meta.http.get(meta.base.replace("v26.0", "v19.0") + "/act_7", timeout=10)
    bare = meta.http.get(meta.base.replace("/v26.0", "") + "/act_7", timeout=10)

    assert error(old)[0] == 2635
    assert bare.status_code == 200


def test_value_based_lists_need_values(url: str) -> None:
    """A value-based list takes no upload without a value, and an ordinary list none with one."""
    valued, plain = Meta(url, is_value_based=True), Meta(url)

    refused = valued.upload(["EMAIL"], [[digest(1)]])
    taken = valued.upload(["EMAIL", "LOOKALIKE_VALUE"], [[digest(1), 3.5], [digest(2), -1]])
    wrong = plain.upload(["EMAIL", "LOOKALIKE_VALUE"], [[digest(1), 3.5]])
    valued.close()
    plain.close()

    assert (error(refused)[0], error(wrong)[0]) == (100, 100)
    assert taken.json()["num_invalid_entries"] == 1
