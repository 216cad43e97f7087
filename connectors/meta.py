"""Meta: custom audiences of an ad account, for Facebook, Instagram, Messenger, Audience Network."""

from __future__ import annotations

import hashlib
import hmac
import time
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar, Literal

import numpy as np
import orjson
from pydantic import Field, field_validator

from audience_sync.connector import (
    Answer,
    AudienceRequest,
    AuthenticationError,
    ConfigurationError,
    Connector,
    ConnectorSettings,
    Kind,
    Limits,
    Members,
    PartnerError,
    Receipt,
    Recipient,
    RefusedError,
    Rejection,
    SecretStr,
    Statistics,
    TemporaryPartnerError,
    Upload,
)
from connectors._meta_wire import (
    COLUMNS,
    ROWS,
    Session,
    body_of,
    invalid_in,
    parts_of,
    sessions_for,
)
from connectors._meta_words import (
    OVER,
    TERMS,
    TOO_LARGE,
    TOO_MUCH,
    explained,
    usage,
    whole_number,
)

DEVICES = (Kind.GAID, Kind.IDFA)  # one column at Meta, named after the first
PAGE = 100  # lists asked for at a time; Meta advises few
PAGES = 500  # more pages than any ad account has
SPARE_SESSIONS = 8  # tried in place of one that Meta says is over
SLOW_FROM = 75.0  # percent of an allowance used
SLOWEST = 15.0  # seconds between requests when an allowance is all but used

FIELDS = (
    "id,approximate_count_lower_bound,approximate_count_upper_bound,operation_status,"
    "delivery_status"
)
OPERATION = {
    0: "unknown",
    100: "expiring",
    200: "normal",
    400: "warning",
    410: "nothing uploaded",
    411: "low match rate",
    412: "many invalid rows",
    414: "being replaced",
    415: "replacement failed",
    441: "populating",
    442: "out of date",
    450: "out of date",
    471: "flagged by policy",
    500: "error",
}
DELIVERY = {200: "ready for use", 300: "too small"}
FLAGGED = 471


class MetaSettings(ConnectorSettings):
    """A destination at Meta: one ad account."""

    base_url: str = "https://graph.facebook.com"
    api_version: str = Field("v26.0", pattern=r"^v\d+\.\d+$")
    ad_account_id: str
    access_token: SecretStr
    app_secret: SecretStr | None = None  # when the app asks for a proof with every request
    timestamped_proof: bool = False
    remove_with: Literal["delete", "method-override"] = "delete"
    customer_file_source: Literal[
        "USER_PROVIDED_ONLY", "PARTNER_PROVIDED_ONLY", "BOTH_USER_AND_PARTNER_PROVIDED"
    ] = "USER_PROVIDED_ONLY"
    retention_days: int | None = Field(None, ge=1, le=180)
    business_id: str | None = Field(None, pattern=r"^\d+$")  # on whose behalf, for the terms page

    @field_validator("ad_account_id")
    @classmethod
    def _digits(cls, value: str) -> str:
        digits = value.removeprefix("act_")
        if not (digits.isascii() and digits.isdigit()):
            raise ValueError('write the ad account as digits, such as "1234567890"')
        return digits


class MetaConnector(Connector[MetaSettings]):
    """Custom audiences by the Marketing API.

    Each batch is an upload session of its own: Meta's counters run over a session, so only then
    do they speak of this batch, and no session can close while batches are still to come.
    """

    name = "meta"
    title = "Meta"
    settings_class = MetaSettings
    forms: ClassVar[Mapping[Kind, str]] = {
        Kind.EMAIL: "email/plain",
        Kind.PHONE: "phone/digits",
        Kind.IDFA: "device/raw",
        Kind.GAID: "device/raw",
    }
    limits = Limits(members_per_request=ROWS, parallel_uploads=4, batches_per_session=1)
    minimum_audience = 100
    recipient = Recipient(name="Meta Platforms Ireland Limited", country="IE")

    def check(self) -> None:
        """See `Connector.check`: token, account, terms and the right to list audiences."""
        found = self._get(self._account, fields="id,tos_accepted")
        if not (found.get("tos_accepted") or {}).get("custom_audience_tos"):
            raise AuthenticationError(TERMS.sentence.format(tos=self._terms))
        self._get(f"{self._account}/customaudiences", fields="id", limit="1")

    def ensure_audience(self, audience: AudienceRequest) -> str:
        """See `Connector.ensure_audience`; names are not unique at Meta, so the marker decides."""
        for found in self._audiences():
            if audience.marker in str(found.get("description", "")):
                return _id(found)
        wanted = {
            "name": audience.name,
            "subtype": "CUSTOM",
            "description": f"{audience.title} {audience.marker}",
            "customer_file_source": self.settings.customer_file_source,
            "enable_fetch_or_create": True,
        }
        if self.settings.retention_days is not None:
            wanted["retention_days"] = self.settings.retention_days
        # Not repeated here: after a lost answer the next look-up finds what was made.
        made = self._read(
            self.client.request(
                "POST",
                self._url(f"{self._account}/customaudiences"),
                body=orjson.dumps(wanted),
                params=self._proof(),
                repeatable=False,
            )
        )
        return _id(made)

    def add(self, upload: Upload, members: Members) -> Receipt:
        """See `Connector.add`."""
        if not self.settings.allow_unhashed_device_ids and members.has(*DEVICES).any():
            raise ConfigurationError(
                "Meta takes device IDs unhashed only; set allow_unhashed_device_ids or leave "
                "them out"
            )
        return self._change("POST", {}, upload, members)

    def remove(self, upload: Upload, members: Members) -> Receipt:
        """See `Connector.remove`; the identifiers travel in the body, whichever the method."""
        if self.settings.remove_with == "delete":
            return self._change("DELETE", {}, upload, members)
        return self._change("POST", {"method": "DELETE"}, upload, members)

    def statistics(self, remote_id: str) -> Statistics:
        """See `Connector.statistics`; Meta shows a size range and never a match rate."""
        found = self._get(_numeric(remote_id), fields=FIELDS)
        operation = (found.get("operation_status") or {}).get("code")
        delivery = (found.get("delivery_status") or {}).get("code")
        words = [
            table.get(code, f"code {code}")
            for table, code in ((OPERATION, operation), (DELIVERY, delivery))
            if code is not None
        ]
        return Statistics(
            size_lower=_size(found.get("approximate_count_lower_bound")),
            size_upper=_size(found.get("approximate_count_upper_bound")),
            status=", ".join(words) or None,
            usable=None if delivery is None else delivery == 200 and operation != FLAGGED,  # noqa: PLR2004 - Meta's own code, in the table above
        )

    def headers(self) -> Mapping[str, str]:
        """See `Connector.headers`."""
        return {"Authorization": f"Bearer {self.settings.access_token.get_secret_value()}"}

    def slow_down(self, answer: Answer) -> float:
        """See `Connector.slow_down`: from three quarters of an allowance on, ever slower."""
        used, _ = usage(answer.headers, self.settings.ad_account_id)
        return SLOWEST * min(max(used - SLOW_FROM, 0.0) / (100.0 - SLOW_FROM), 1.0)

    def explain(self, answer: Answer) -> PartnerError | None:
        """See `Connector.explain`; Meta's code decides, since throttles come as HTTP 400."""
        try:
            found = answer.json()
        except TemporaryPartnerError as unread:
            # A web page is what a sick server of Meta sends, with any status.
            return super().explain(answer) if answer.status in (401, 404, TOO_LARGE) else unread
        failed = isinstance(found, dict) and ("error" in found or found.get("success") is False)
        if not failed:
            return super().explain(answer)
        error = found.get("error")
        return explained(
            answer,
            error if isinstance(error, dict) else {},
            super().explain(answer),
            self.settings.ad_account_id,
            self._terms,
        )

    def _change(
        self, method: str, extra: Mapping[str, str], upload: Upload, members: Members
    ) -> Receipt:
        columns = members.merged(*DEVICES).only(*COLUMNS)
        rows = columns.slots().sum(axis=1) if columns.kinds else np.zeros(len(members), np.int64)
        rejected = [
            Rejection(position=at, reason="no_usable_identifier")
            for at in np.flatnonzero(rows == 0).tolist()
        ]
        missed, sessions, waiting = 0, sessions_for(upload), parts_of(rows)
        while waiting:
            part = waiting.pop(0)
            batch = columns.take(part)
            try:
                found, session = self._sent(method, extra, upload.remote_id, batch, sessions)
            except RefusedError as error:
                if error.status != TOO_LARGE or len(part) == 1:
                    raise
                waiting[:0] = np.array_split(part, 2)
                continue
            named, unnamed = invalid_in(found, batch, session)
            rejected += [
                Rejection(position=at, reason="invalid_entry") for at in part[named].tolist()
            ]
            missed += unnamed
        missed = min(missed, len(members) - len(rejected))
        return Receipt(
            accepted=len(members) - len(rejected) - missed,
            rejected=tuple(rejected),
            unattributed=missed,
            reference=f"session {upload.session}",
            reason="num_invalid_entries" if missed else None,
        )

    def _sent(
        self,
        method: str,
        extra: Mapping[str, str],
        remote_id: str,
        batch: Members,
        sessions: Iterator[Session],
    ) -> tuple[dict[str, Any], Session]:
        """Meta's counts for one request.

        A session that is over when its batch is sent again gives way to the next, which is the
        same whenever this batch is sent.
        """
        url, params = self._url(f"{_numeric(remote_id)}/users"), self._proof() | dict(extra)
        while True:
            session = next(sessions)
            body = body_of(batch, session)
            try:
                answer = self.client.request(method, url, body=body, params=params)
            except RefusedError as error:
                if error.code not in OVER or session.spare == SPARE_SESSIONS:
                    raise
            else:
                return self._read(answer), session

    def _audiences(self) -> Iterator[dict[str, Any]]:
        """Every list of the ad account, page by page; smaller pages when Meta cannot take it."""
        limit, after, seen = PAGE, "", {""}
        for _ in range(PAGES):
            asked = {"fields": "id,name,description", "limit": str(limit)}
            try:
                page = self._get(
                    f"{self._account}/customaudiences",
                    **asked,
                    **({"after": after} if after else {}),
                )
            except RefusedError as error:
                if error.code != TOO_MUCH or limit == 1:
                    raise
                limit //= 2
                continue
            if not isinstance(page.get("data"), list):
                raise TemporaryPartnerError("Meta did not list the audiences; try again")
            yield from page["data"]
            paging = page.get("paging") or {}
            after = str((paging.get("cursors") or {}).get("after", ""))
            if not paging.get("next") or after in seen:
                return
            seen.add(after)

    @property
    def _account(self) -> str:
        return f"act_{self.settings.ad_account_id}"

    @property
    def _terms(self) -> str:
        """The end of the address where the terms are accepted."""
        business = self.settings.business_id
        return self.settings.ad_account_id + (f"&business_id={business}" if business else "")

    def _url(self, path: str) -> str:
        return f"{self.settings.api_version}/{path}"

    def _get(self, path: str, **params: str) -> dict[str, Any]:
        return self._read(
            self.client.request("GET", self._url(path), params=params | self._proof())
        )

    def _read(self, answer: Answer) -> dict[str, Any]:
        found = answer.json()
        if not isinstance(found, dict):
            raise TemporaryPartnerError("Meta's answer cannot be read; try again", answer.status)
        return found

    def _proof(self) -> dict[str, str]:
        """The proof that we know the app's secret; the timestamped one is good for five minutes."""
        if self.settings.app_secret is None:
            return {}
        message, stamp = self.settings.access_token.get_secret_value(), {}
        if self.settings.timestamped_proof:
            now = str(int(time.time()))
            message, stamp = f"{message}|{now}", {"appsecret_time": now}
        key = self.settings.app_secret.get_secret_value().encode()
        proof = hmac.new(key, message.encode(), hashlib.sha256).hexdigest()
        return {"appsecret_proof": proof, **stamp}


def _size(value: Any) -> int | None:
    """A size bound; Meta writes -1 for one that it does not tell."""
    found = whole_number(value)
    return None if found is None or found < 0 else found


def _id(found: Mapping[str, Any]) -> str:
    if not found.get("id"):
        raise TemporaryPartnerError("Meta did not name the audience; try again")
    return str(found["id"])


def _numeric(remote_id: str) -> str:
    if not (remote_id.isascii() and remote_id.isdigit()):
        raise ConfigurationError("an audience at Meta is named by digits; check remote_id")
    return remote_id
