"""The simulated TikTok answers as TikTok documents it."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Any

import pytest
import requests

from audience_sync.sandbox import running_sandbox

ADVERTISER = "7000000000000000001"
JANE = "86e0b9e56c17cc4d12387e1949b85053fbe73bc3ce5a1188713a9d300cc6133d"
DOE = "d6117306485ed0e50afab3ac871e98f81699151f30281527d63ff5f233656c69"
NOTHING = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"


def digest(text: object) -> str:
    return hashlib.sha256(str(text).encode()).hexdigest()


class TikTok:
    """A client of the simulated TikTok with one streaming audience."""

    def __init__(self, url: str) -> None:
        self.base, self.control = f"{url}/tiktok/open_api/v1.3", f"{url}/_control"
        self.http = requests.Session()
        self.http.headers["Access-Token"] = "sandbox-token"
        self.list = self.make("vip")["data"]["audience_id"]

    def call(self, method: str, path: str, **more: Any) -> Any:
        answer = self.http.request(method, f"{self.base}/{path}", timeout=10, **more)
        assert answer.status_code == 200  # whatever it says
        found = answer.json()
        assert set(found) == {"code", "message", "request_id", "data"}
        return found

    def get(self, path: str, **query: str) -> Any:
        return self.call("GET", path, params={"advertiser_id": ADVERTISER} | query)

    def post(self, path: str, **body: Any) -> Any:
        return self.call("POST", path, json={"advertiser_id": ADVERTISER} | body)

    def make(self, name: str, **change: Any) -> Any:
        body = {"custom_audience_name": name, "action": "create"} | change
        return self.post("segment/audience/", **body)

    def cell(self, value: str) -> dict[str, Any]:
        return {"id": value, "audience_ids": [self.list]}

    def map(self, *rows: list[Any], **change: Any) -> int:
        usual = {
            "advertiser_ids": [ADVERTISER],
            "action": "add",
            "id_schema": ["EMAIL_SHA256"],
            "batch_data": list(rows),
        }
        return int(self.call("POST", "segment/mapping/", json=usual | change)["code"])

    def upload(self, content: bytes, kind: str = "EMAIL_SHA256", **change: Any) -> Any:
        fields = {
            "advertiser_id": ADVERTISER,
            "calculate_type": kind,
            "file_signature": hashlib.md5(content, usedforsecurity=False).hexdigest(),
        } | change
        files = {"file": ("emails.csv", content, "text/csv")}
        return self.call("POST", "dmp/custom_audience/file/upload/", data=fields, files=files)

    def path(self, content: bytes, kind: str = "EMAIL_SHA256") -> str:
        return str(self.upload(content, kind)["data"]["file_path"])

    def create(self, *paths: str, **change: Any) -> Any:
        body = {
            "custom_audience_name": "files",
            "file_paths": list(paths),
            "calculate_type": "EMAIL_SHA256",
        }
        return self.post("dmp/custom_audience/create/", **(body | change))

    def update(self, number: str, *paths: str, **change: Any) -> int:
        body = {"custom_audience_id": number, "file_paths": list(paths)} | change
        return int(self.post("dmp/custom_audience/update/", **body)["code"])

    def held(self, number: str | None = None) -> dict[str, list[str]]:
        query = {"partner": "tiktok", "list": number or self.list}
        found = self.http.get(f"{self.control}/members", params=query, timeout=10).json()
        return dict(found["identifiers"])

    def steer(self, path: str, **wish: Any) -> None:
        self.http.post(f"{self.control}/{path}", json=wish, timeout=10).raise_for_status()


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with running_sandbox(
        match_share=1.0, tiktok_matching_seconds=3600, tiktok_people_per_request=5
    ) as sandbox:
        yield sandbox.url


@pytest.fixture
def tiktok(url: str) -> TikTok:
    requests.post(f"{url}/_control/reset", timeout=10)
    return TikTok(url)


def test_a_token_has_a_header_of_its_own(tiktok: TikTok) -> None:
    """No Authorization, no Bearer; the refusals have codes of their own."""
    for headers, code in (
        ({"Access-Token": "", "Authorization": "Bearer sandbox-token"}, 40104),
        ({"Access-Token": "expired-1"}, 40102),
        ({"Access-Token": "invalid-1"}, 40105),
        ({"Access-Token": "anything"}, 0),
    ):
        assert tiktok.call("GET", "user/info/", headers=headers)["code"] == code


@pytest.mark.parametrize(
    ("path", "code"),
    [
        ("v1.3/user/info", 40400),  # the slash at the end counts
        ("v1.3/user/infos/", 40400),
        ("v1.2/user/info/", 40006),
        ("v1.3/user/info/", 0),
    ],
)
def test_paths_are_exact(tiktok: TikTok, path: str, code: int) -> None:
    """An unknown address and an old version are told apart."""
    address = f"{tiktok.base.removesuffix('v1.3')}{path}"
    assert tiktok.http.get(address, timeout=10).json()["code"] == code


def test_an_advertiser_is_a_text_of_digits(tiktok: TikTok) -> None:
    """It does not fit a float; a number is refused, and so is an account without the right."""
    for advertiser, code in ((int(ADVERTISER), 40002), ("act_1", 40002), (ADVERTISER, 0)):
        assert tiktok.make("x", advertiser_id=advertiser)["code"] == code
    tiktok.steer("terms", partner="tiktok", account=ADVERTISER, accepted=False)
    assert tiktok.make("x")["code"] == 40001
    ids = f'["{ADVERTISER}"]'
    assert tiktok.call("GET", "advertiser/info/", params={"advertiser_ids": ids})["code"] == 40001
    tiktok.steer("terms", partner="tiktok", account=ADVERTISER)
    found = tiktok.call("GET", "advertiser/info/", params={"advertiser_ids": ids})
    assert found["data"]["list"] == [{"advertiser_id": ADVERTISER}]


def test_people_are_matched_by_position(tiktok: TikTok) -> None:
    """An empty object is an absent identifier; each kind lands under its own name."""
    schema = ["PHONE_SHA256", "EMAIL_SHA256", "AAID_SHA256"]
    row = [{}, tiktok.cell(JANE), tiktok.cell(DOE)]
    assert tiktok.map(row, id_schema=schema) == 0
    assert tiktok.held() == {"email": [JANE], "gaid": [DOE]}
    assert tiktok.map([tiktok.cell(JANE)], action="delete") == 0
    assert tiktok.held() == {"gaid": [DOE]}


def _wrong_rows(tiktok: TikTok) -> list[tuple[list[Any], int]]:
    good = tiktok.cell(JANE)
    return [
        ([], 40002),
        ([[]], 40002),
        ([[good, {}]], 40002),
        ([[{}]], 40002),
        ([good], 40002),
        ([[JANE]], 40002),
        ([[{"id": JANE}]], 40002),
        ([[good | {"x": 1}]], 40002),
        ([[good | {"audience_ids": []}]], 40002),
        ([[good | {"audience_ids": ["4711"]}]], 40007),
        ([[good | {"id": "jane.doe@example.com"}]], 40062),
        ([[good | {"id": JANE.upper()}]], 40062),
        ([[good | {"id": JANE[:32]}]], 40062),
        ([[good | {"id": NOTHING}]], 40062),
        ([[good]] * 5, 0),
        ([[good]] * 6, 40011),
    ]


def test_rows_are_as_they_should_be_or_all_are_refused(tiktok: TikTok) -> None:
    """Shape, hash, audience and number of people."""
    for rows, code in _wrong_rows(tiktok):
        assert tiktok.map([tiktok.cell(DOE)], action="delete") == 0
        assert tiktok.map(*rows) == code, rows
        assert tiktok.held() == ({} if code else {"email": [JANE]})
        assert tiktok.map([tiktok.cell(JANE)], action="delete") == 0


@pytest.mark.parametrize(
    "change",
    [
        {"action": "ADD"},
        {"action": None},
        {"id_schema": []},
        {"id_schema": ["GAID_SHA256"]},
        {"id_schema": ["EMAIL"]},
        {"advertiser_ids": []},
        {"advertiser_ids": ADVERTISER},
        {"is_raw": False},
    ],
)
def test_a_mapping_is_read_strictly(tiktok: TikTok, change: dict[str, Any]) -> None:
    """Unknown words and keys are refused; Android has another name here than in files."""
    assert tiktok.map([tiktok.cell(JANE)], **change) == 40002
    assert tiktok.held() == {}


@pytest.mark.parametrize(
    ("content", "change", "code"),
    [
        (f"{JANE}\n{DOE}\n".encode(), {}, 0),
        (f"{JANE}\n{DOE}".encode(), {}, 0),
        (f"{JANE}\n{DOE}\n".encode(), {"file_signature": "49cadaa69ec306cb49a59d518ed3e947"}, 0),
        (f"{JANE}\n".encode(), {"file_signature": "49cadaa69ec306cb49a59d518ed3e947"}, 40900),
        (b"", {}, 40906),
        (b"Email_SHA256\n" + JANE.encode() + b"\n", {}, 40062),
        (b"jane.doe@example.com\n", {}, 40062),
        (f"{JANE}\r\n{DOE}\r\n".encode(), {}, 40062),
        (f"{JANE.upper()}\n".encode(), {}, 40062),
        (f"{NOTHING}\n".encode(), {}, 40062),
        (f"{JANE}\n".encode(), {"calculate_type": "AAID_SHA256"}, 40909),
        (f"{JANE}\n".encode(), {"advertiser_id": "x"}, 40002),
        (b"a" * 50_000_001, {}, 40907),
    ],
    ids=range(13),
)
def test_a_file_is_signed_and_hashed(
    tiktok: TikTok, content: bytes, change: dict[str, str], code: int
) -> None:
    """The MD5 of the very bytes, one lower-case hash a line, no header, 50 MB at most."""
    assert tiktok.upload(content, **change)["code"] == code


def test_a_list_from_files_is_made_appended_and_taken_from(tiktok: TikTok) -> None:
    """APPEND, REMOVE, and REPLACE where no action is named."""
    first = tiktok.path(f"{JANE}\n".encode())
    made = tiktok.create(first)
    assert made["data"]["custom_audience_id"] == made["data"]["audience_id"]
    number = made["data"]["audience_id"]
    second = tiktok.path(f"{DOE}\n".encode())
    assert tiktok.update(number, second, action="APPEND") == 0
    assert tiktok.held(number) == {"email": sorted([JANE, DOE])}
    assert tiktok.update(number, first, action="REMOVE") == 0
    assert tiktok.held(number) == {"email": [DOE]}
    assert tiktok.update(number, first) == 0
    assert tiktok.held(number) == {"email": [JANE]}


def test_files_are_of_one_kind_and_good_for_a_day(tiktok: TikTok) -> None:
    """Another calculate_type, an unknown path and an old file are refused."""
    phones = tiktok.path(f"{JANE}\n".encode(), "PHONE_SHA256")
    assert tiktok.create(phones)["code"] == 40909
    emails = tiktok.path(f"{JANE}\n".encode())
    number = tiktok.create(emails)["data"]["audience_id"]
    assert tiktok.update(number, phones, action="APPEND") == 40909
    assert tiktok.update(number, "no/such.csv", action="APPEND") == 40905
    assert tiktok.update(tiktok.list, emails, action="APPEND") == 40002
    assert tiktok.update("4711", emails, action="APPEND") == 40007
    assert tiktok.update(number, emails, action="ADD") == 40002
    mapped = {"id": JANE, "audience_ids": [number]}
    assert tiktok.map([mapped]) == 40002
    tiktok.steer("clock", advance_seconds=86_401)
    assert tiktok.update(number, emails, action="APPEND") == 40910


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"custom_audience_name": "n" * 128}, 0),
        ({"custom_audience_name": "n" * 129}, 40002),
        ({"custom_audience_name": ""}, 40002),
        ({"retention_in_days": 365}, 0),
        ({"retention_in_days": 366}, 40002),
        ({"retention_in_days": 0}, 40002),
        ({"audience_sub_type": "NONE"}, 40002),
        ({"file_paths": []}, 40002),
        ({"calculate_type": "MULTIPLE_TYPES"}, 40909),
        ({"description": "x"}, 40002),
    ],
)
def test_a_list_is_described_strictly(tiktok: TikTok, change: dict[str, Any], code: int) -> None:
    """Names of 128 characters, days of a year."""
    assert tiktok.create(tiktok.path(f"{JANE}\n".encode()), **change)["code"] == code


def test_sizes_come_later(tiktok: TikTok) -> None:
    """Nothing matched at first; a thousand people make it valid."""
    content = "".join(f"{digest(n)}\n" for n in range(1_000)).encode()
    number = tiktok.create(tiktok.path(content))["data"]["audience_id"]

    def shown() -> dict[str, Any]:
        ids = f'["{number}"]'
        found = tiktok.get("dmp/custom_audience/get/", custom_audience_ids=ids, history_size="10")
        return dict(found["data"]["list"][0]["audience_details"])

    assert (shown()["cover_num"], shown()["is_valid"]) == (0, False)
    tiktok.steer("clock", advance_seconds=3_601)
    assert (shown()["cover_num"], shown()["is_valid"]) == (1_000, True)
    assert shown()["calculate_type"] == "EMAIL_SHA256"


def test_lists_come_in_pages(tiktok: TikTok) -> None:
    """Ten at a time unless asked otherwise, a hundred at most."""
    for n in range(11):
        tiktok.make(f"audience {n}")
    path = "dmp/custom_audience/list/"
    first = tiktok.get(path)["data"]
    assert len(first["list"]) == 10
    assert first["page_info"] == {
        "page": 1, "page_size": 10, "total_number": 12, "total_page": 2,
    }  # fmt: skip
    assert len(tiktok.get(path, page="2")["data"]["list"]) == 2
    assert len(tiktok.get(path, page_size="100")["data"]["list"]) == 12
    for wrong in ({"page_size": "101"}, {"page_size": "0"}, {"page": "0"}):
        assert tiktok.get(path, **wrong)["code"] == 40002


def test_audiences_are_deleted(tiktok: TikTok) -> None:
    """By either endpoint, with all they hold."""
    number = tiktok.create(tiktok.path(f"{JANE}\n".encode()))["data"]["audience_id"]
    path = "dmp/custom_audience/delete/"
    assert tiktok.post(path, custom_audience_ids=[number])["code"] == 0
    assert tiktok.post(path, custom_audience_ids=[number])["code"] == 40007
    assert tiktok.post(path, custom_audience_ids=[])["code"] == 40002
    other = tiktok.create(tiktok.path(f"{JANE}\n".encode()))["data"]["audience_id"]
    wrong = {"action": "delete", "audience_id": other}
    assert tiktok.post("segment/audience/", **wrong)["code"] == 40002  # it is from files
    gone = {"action": "delete", "audience_id": tiktok.list}
    assert tiktok.post("segment/audience/", **gone)["code"] == 0
    assert tiktok.map([tiktok.cell(JANE)]) == 40007


def test_bodies_say_what_they_are(tiktok: TikTok) -> None:
    """JSON as JSON, a file as a form with the known parts."""
    body = b'{"advertiser_id": "7000000000000000001", "custom_audience_name": "x"}'
    for kind in ("text/plain", "application/x-www-form-urlencoded", ""):
        headers = {"Content-Type": kind}
        made = tiktok.call("POST", "segment/audience/", data=body, headers=headers)
        assert made["code"] == 40002
    assert tiktok.upload(f"{JANE}\n".encode(), file_name="emails.csv")["code"] == 0
    assert tiktok.upload(f"{JANE}\n".encode(), hashed="true")["code"] == 40002
    fields = {"advertiser_id": ADVERTISER, "calculate_type": "EMAIL_SHA256"}
    found = tiktok.call("POST", "dmp/custom_audience/file/upload/", data=fields)
    assert found["code"] == 40002


def test_a_code_is_exchanged_for_a_token(tiktok: TikTok) -> None:
    """As JSON, and each code once in its life."""
    wanted = {"app_id": "1", "secret": "s", "auth_code": "code"}
    found = tiktok.call("POST", "oauth2/access_token/", json=wanted)
    assert found["data"]["access_token"]
    expired = wanted | {"auth_code": "expired-code"}
    assert tiktok.call("POST", "oauth2/access_token/", json=expired)["code"] == 40110


@pytest.mark.parametrize(
    ("kind", "code"),
    [
        ("rate-limit", 40100),
        ("5xx", 50000),
        ("conflict", 40202),
        ("expired-token", 40102),
        ("terms-not-accepted", 40001),
    ],
)
def test_faults_have_tiktoks_codes(tiktok: TikTok, kind: str, code: int) -> None:
    """In an HTTP 200 like everything else, and nothing is changed."""
    tiktok.steer("faults", partner="tiktok", kind=kind, operation="add")
    assert tiktok.map([tiktok.cell(JANE)]) == code
    assert tiktok.held() == {}
    assert tiktok.map([tiktok.cell(JANE)]) == 0


def test_the_edge_speaks_html(tiktok: TikTok) -> None:
    """A 502 with a status of its own comes from before the API."""
    tiktok.steer("faults", partner="tiktok", kind="5xx", status=502)
    found = tiktok.http.get(f"{tiktok.base}/user/info/", timeout=10)
    assert (found.status_code, found.headers["content-type"]) == (502, "text/html; charset=utf-8")


def test_a_part_is_done(tiktok: TikTok) -> None:
    """The code tells that some were left out, and not whom."""
    rejecting = {"partner": "tiktok", "kind": "reject-values", "values": [JANE]}
    tiktok.steer("faults", operation="add", **rejecting)
    assert tiktok.map([tiktok.cell(JANE)], [tiktok.cell(DOE)]) == 20001
    assert tiktok.held() == {"email": [DOE]}
