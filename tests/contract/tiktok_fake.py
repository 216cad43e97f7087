"""As much of TikTok as the contract needs, in memory."""

from __future__ import annotations

import hashlib
from email.parser import BytesParser
from typing import Any

import orjson

from audience_sync.connector import Answer
from audience_sync.testing.builders import FakePartner, Sent, answered

NOBODY = hashlib.sha256(b"audience-sync").hexdigest()  # makes an audience, and is no person's
MOST_PEOPLE, MOST_BYTES = 10_000, 50_000_000


class TikTokFake(FakePartner):
    """One advertiser; refused identifiers are left out, and TikTok says that it did a part."""

    def __init__(self, *answers: Answer | Exception) -> None:
        super().__init__(*answers)
        self.files: dict[str, tuple[str, list[str]]] = {}
        self.types: dict[str, str] = {}

    def plant(self, name: str) -> None:
        self._make(name, "MULTIPLE_TYPES")
        self._make(f"{name} EMAIL_SHA256", "EMAIL_SHA256")

    def respond(self, sent: Sent) -> Answer:
        path = sent.url.removeprefix("open_api/v1.3/")
        if sent.headers.get("Access-Token") != "tiktok-canary":
            return _answer(40105)
        if path == "dmp/custom_audience/file/upload/":
            return self._uploaded(sent)
        if sent.method == "GET":
            return self._asked(path, sent)
        return self._changed(path, sent.json())

    def _asked(self, path: str, sent: Sent) -> Answer:
        if path == "advertiser/info/":
            return _answer(0, {"list": [{"advertiser_id": "7000000000000000001"}]})
        assert sent.params["advertiser_id"] == "7000000000000000001"
        if path == "dmp/custom_audience/list/":
            return _answer(0, {"list": [self._row(n) for n in self.lists], "page_info": _PAGE})
        wanted = orjson.loads(sent.params["custom_audience_ids"])
        return _answer(0, {"list": [{"audience_details": self._row(n)} for n in wanted]})

    def _row(self, number: str) -> dict[str, Any]:
        name, kind = self.lists[number], self.types[number]
        sizes = {"cover_num": 8200, "is_valid": True}
        return {"audience_id": number, "name": name, "calculate_type": kind} | sizes

    def _changed(self, path: str, wanted: dict[str, Any]) -> Answer:
        if path == "dmp/custom_audience/delete/":
            return self._deleted(wanted["custom_audience_ids"])
        if path == "segment/audience/":
            return self._segment(wanted)
        if path == "segment/mapping/":
            return self._mapped(wanted)
        found = [self.files[name] for name in wanted["file_paths"]]
        if path == "dmp/custom_audience/create/":
            kind = wanted["calculate_type"]
            number = self._make(wanted["custom_audience_name"], kind)
            return _answer(0, {"custom_audience_id": number}) if found[0][0] == kind else _BAD
        if any(kind != self.types[wanted["custom_audience_id"]] for kind, _ in found):
            return _BAD
        values = [value for _, lines in found for value in lines]
        return self._held(values, wanted["action"] == "REMOVE")

    def _segment(self, wanted: dict[str, Any]) -> Answer:
        if wanted["action"] == "delete":
            return self._deleted([wanted["audience_id"]])
        number = self._make(wanted["custom_audience_name"], "MULTIPLE_TYPES")
        return _answer(0, {"audience_id": number})

    def _deleted(self, numbers: list[str]) -> Answer:
        if not self.lists.keys() >= set(numbers):
            return _answer(40007)
        for number in numbers:
            del self.lists[number]
        return _answer(0)

    def _mapped(self, wanted: dict[str, Any]) -> Answer:
        rows = wanted["batch_data"]
        if len(rows) > MOST_PEOPLE:
            return _answer(40011)
        if {len(row) for row in rows} != {len(wanted["id_schema"])}:
            return _BAD
        values = [cell["id"] for row in rows for cell in row if cell]
        return self._held(values, wanted["action"] == "delete")

    def _held(self, values: list[str], leave: bool) -> Answer:
        if leave:
            self.held -= set(values)
            return _answer(0)
        self.held |= set(values) - self.refused - {NOBODY}
        return _answer(20001 if self.refused & set(values) else 0)

    def _uploaded(self, sent: Sent) -> Answer:
        head = f"Content-Type: {sent.content_type}\r\n\r\n".encode()
        parts: dict[str, bytes] = {}
        for part in BytesParser().parsebytes(head + (sent.body or b"")).walk():
            name = part.get_param("name", header="content-disposition")
            content = part.get_payload(decode=True)
            if isinstance(name, str) and isinstance(content, bytes):
                parts[name] = content
        content = parts["file"]
        if hashlib.md5(content).hexdigest().encode() != parts["file_signature"]:  # noqa: S324 - TikTok's own signature
            return _answer(40900)
        if len(content) > MOST_BYTES:
            return _answer(40907)
        path = f"{parts['file_signature'].decode()}/members.csv"
        self.files[path] = (parts["calculate_type"].decode(), content.decode().splitlines())
        return _answer(0, {"file_path": path})

    def _make(self, name: str, kind: str) -> str:
        number = str(7_100_000_000_000_000_001 + len(self.types))
        self.lists[number], self.types[number] = name, kind
        return number


_PAGE = {"page": 1, "page_size": 100, "total_number": 1, "total_page": 1}


def _answer(code: int, found: Any = None) -> Answer:
    return answered(
        {"code": code, "message": "OK", "request_id": "202611210900", "data": found or {}}
    )


_BAD = _answer(40002)
