"""A small invented partner and an honest connector for it, for trying the contract on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import orjson

from audience_sync.connector import (
    Answer,
    AudienceRequest,
    Cell,
    ConfigurationError,
    Connector,
    ConnectorSettings,
    Kind,
    Limits,
    Members,
    Receipt,
    Recipient,
    Rejection,
    SecretStr,
    Statistics,
    TemporaryPartnerError,
    Upload,
)


class ToySettings(ConnectorSettings):
    base_url: str = "https://toy.example"
    token: SecretStr


class ToyConnector(Connector[ToySettings]):
    """Takes e-mail hashes and raw Android IDs as rows of cells."""

    name = "toy"
    title = "Toy"
    settings_class = ToySettings
    forms: ClassVar[Mapping[Kind, str]] = {Kind.EMAIL: "email/plain", Kind.GAID: "device/raw"}
    limits = Limits(members_per_request=40, bytes_per_request=20_000)
    needs_consent_signal = True
    recipient = Recipient(name="Toy Ltd", country="IE")

    def check(self) -> None:
        self._read(self.client.request("GET", "lists"), "lists")

    def ensure_audience(self, audience: AudienceRequest) -> str:
        lists = self._read(self.client.request("GET", "lists"), "lists")
        for number, description in lists.items():
            if audience.marker in description:
                return str(number)
        wanted = {"name": audience.name, "description": f"{audience.title} {audience.marker}"}
        made = self.client.request("POST", "lists", body=orjson.dumps(wanted), repeatable=False)
        return str(self._read(made, "id"))

    def add(self, upload: Upload, members: Members) -> Receipt:
        if upload.consent is None:
            raise ConfigurationError("the toy partner asks for consent")
        if not self.settings.allow_unhashed_device_ids and members.has(Kind.GAID).any():
            raise ConfigurationError("set allow_unhashed_device_ids, or leave device IDs out")
        return self._change("POST", upload, members)

    def remove(self, upload: Upload, members: Members) -> Receipt:
        return self._change("DELETE", upload, members)

    def statistics(self, remote_id: str) -> Statistics:
        size = self._read(self.client.request("GET", f"lists/{remote_id}"), "size")
        return Statistics(size_lower=size, size_upper=size)

    def headers(self) -> Mapping[str, str]:
        return {"Authorization": f"Bearer {self.settings.token.get_secret_value()}"}

    def explain(self, answer: Answer) -> Any:
        if answer.status < 400:
            try:
                answer.json()
            except TemporaryPartnerError as error:
                return error
        return super().explain(answer)

    def _change(self, method: str, upload: Upload, members: Members) -> Receipt:
        body, positions = self._body(upload, members)
        answer = self.client.request(method, f"lists/{upload.remote_id}", body=body)
        bad = sorted({positions[row] for row in self._read(answer, "bad")})
        return self._receipt(len(members), bad)

    def _body(self, upload: Upload, members: Members) -> tuple[bytes, list[int]]:
        rows = members.render(
            [Cell(Kind.EMAIL), Cell(Kind.GAID)],
            before=b"[",
            after=b"]",
        )
        said = upload.consent is not None and upload.consent.ad_user_data
        head = orjson.dumps({"consent": said, "session": upload.session})
        return head[:-1] + b',"rows":[' + rows.body + b"]}", rows.positions.tolist()

    def _receipt(self, sent: int, bad: list[int]) -> Receipt:
        rejected = tuple(Rejection(position=at, reason="bad") for at in bad)
        return Receipt(accepted=sent - len(rejected), rejected=rejected)

    def _read(self, answer: Answer, wanted: str) -> Any:
        found = answer.json()
        if not isinstance(found, dict) or found.get(wanted) is None:
            raise TemporaryPartnerError("the toy partner answered something strange")
        return found[wanted]
