"""Meta: custom audiences of an ad account, for Facebook, Instagram, Messenger, Audience Network."""

from __future__ import annotations

import hashlib
import hmac
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar, Literal, NamedTuple

import numpy as np
import orjson
from numpy.typing import NDArray
from pydantic import Field, field_validator

from audience_sync.connector import (
    Answer,
    AudienceRequest,
    AuthenticationError,
    Cell,
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

ROWS = 10_000  # per request
SAMPLES = 100  # bad values that an answer shows at most
PAGE = 100  # lists asked for at a time; Meta advises few
PAGES = 500  # more pages than any ad account has
SPARE_SESSIONS = 8  # tried in place of one that Meta says is over
BUSY_WAIT = 300.0  # seconds, when Meta does not say when calls are possible again
SLOW_FROM = 75.0  # percent of an allowance used
SLOWEST = 15.0  # seconds between requests when an allowance is all but used

COLUMNS = {Kind.EMAIL: "EMAIL", Kind.PHONE: "PHONE", Kind.GAID: "MADID"}
SINGLE = {"EMAIL": "EMAIL_SHA256", "PHONE": "PHONE_SHA256", "MADID": "MOBILE_ADVERTISER_ID"}
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


class Meaning(NamedTuple):
    """What one of Meta's codes means: the error to raise and the operator's sentence."""

    error: type[PartnerError]
    sentence: str


_BUSY = Meaning(TemporaryPartnerError, "Meta's request limit is reached")
_TOKEN = Meaning(
    AuthenticationError, "Meta does not accept the access token; make a new one and set it"
)
_PERMISSION = Meaning(
    AuthenticationError,
    "the access token may not change audiences of this ad account; grant it ads_management",
)
_TERMS = Meaning(
    AuthenticationError,
    "the Custom Audience terms are not accepted; accept them as the token's user on "
    "https://business.facebook.com/ads/manage/customaudiences/tos/?act={account}",
)
_BLOCKED = Meaning(
    RefusedError, "Meta has flagged this audience by its policy; review it in Audience Manager"
)
_GONE = Meaning(RefusedError, "the audience does not exist or is not shared with this ad account")
_SHAPE = Meaning(RefusedError, "Meta does not accept the request; check the settings")
# By code, or by code and subcode, which wins.
MEANINGS: Mapping[int | tuple[int, int], Meaning] = {
    1: Meaning(TemporaryPartnerError, "Meta cannot answer now"),
    2: Meaning(TemporaryPartnerError, "Meta's service is down"),
    **dict.fromkeys((4, 17, 32, 341, 613, *range(80000, 80015)), _BUSY),
    **dict.fromkeys((102, 104, 190), _TOKEN),
    **dict.fromkeys((3, 10, *range(200, 300)), _PERMISSION),
    (200, 1870090): _TERMS,
    2655: _TERMS,
    2663: _TERMS,
    (200, 1870050): Meaning(
        AuthenticationError, "the ad account belongs to no business; add it to one"
    ),
    368: Meaning(
        AuthenticationError, "Meta has blocked this account by its policy; see Account Quality"
    ),
    100: _SHAPE,
    194: _SHAPE,
    (100, 33): _GONE,
    1487301: _GONE,
    1487366: _GONE,
    **dict.fromkeys(((100, 1713228), (100, 1713230), (100, 1713231)), _BLOCKED),
    105: Meaning(RefusedError, "Meta takes fewer parameters in one request"),
    2635: Meaning(RefusedError, "this API version has ended; set a later api_version"),
    2650: Meaning(RefusedError, "Meta does not accept this upload session"),
    (2650, 1870145): Meaning(TemporaryPartnerError, "the audience is being updated"),
    (2650, 1870148): Meaning(TemporaryPartnerError, "the audience could not be updated"),
    (2650, 1870144): Meaning(RefusedError, "the audience has 100 million members or more"),
}
WAITING = frozenset((4, 17, 32, 341, 613, *range(80000, 80015)))
OVER = frozenset(("2650/1870158", "2650/1870159"))  # the session takes no more batches
TOO_MUCH = "1/reduce"  # our name for code 1 with the request to ask for less
TOO_LARGE = 413  # HTTP's own status


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
    business_id: str | None = Field(None, pattern=r"^\d+$")  # whose terms have to be accepted

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
            raise self._error(_TERMS, None, None)
        self._get(f"{self._account}/customaudiences", fields="id", limit="1")

    def ensure_audience(self, audience: AudienceRequest) -> str:
        """See `Connector.ensure_audience`; names are not unique at Meta, so the marker decides."""
        for found in self._audiences():
            if audience.marker in str(found.get("description", "")):
                return str(found["id"])
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
        return str(made["id"])

    def add(self, upload: Upload, members: Members) -> Receipt:
        """See `Connector.add`."""
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
        used, _ = _usage(answer.headers, self.settings.ad_account_id)
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
        return self._meaning(answer, error if isinstance(error, dict) else {})

    def _meaning(self, answer: Answer, error: Mapping[str, Any]) -> PartnerError:
        code, subcode = _number(error.get("code")), _number(error.get("error_subcode"))
        written = "/".join(str(part) for part in (code, subcode) if part is not None) or None
        if code == 1 and "reduce the amount of data" in str(error.get("message")).lower():
            return RefusedError("Meta cannot list so much at once", answer.status, TOO_MUCH)
        meaning = MEANINGS.get((code or 0, subcode or 0)) or MEANINGS.get(code or 0)
        if error.get("is_transient") is True and (
            meaning is None or meaning.error is not AuthenticationError
        ):
            meaning = meaning if meaning and code in WAITING else MEANINGS[1]
        if meaning is None:
            other = super().explain(answer)
            meaning = Meaning(type(other) if other else RefusedError, "Meta refuses the request")
        if code not in WAITING:
            return self._error(meaning, answer.status, written)
        _, wait = _usage(answer.headers, self.settings.ad_account_id)
        return TemporaryPartnerError(meaning.sentence, answer.status, written, wait or BUSY_WAIT)

    def _error(self, meaning: Meaning, status: int | None, code: str | None) -> PartnerError:
        sentence = meaning.sentence.format(account=self.settings.ad_account_id)
        if meaning is _TERMS and self.settings.business_id:
            sentence += f"&business_id={self.settings.business_id}"
        return meaning.error(sentence, status, code)

    def _change(
        self, method: str, extra: Mapping[str, str], upload: Upload, members: Members
    ) -> Receipt:
        columns = self._columns(members)
        rows = columns.slots().sum(axis=1)
        rejected = [
            Rejection(position=at, reason="no_usable_identifier")
            for at in np.flatnonzero(rows == 0).tolist()
        ]
        missed, sessions, waiting = 0, _sessions(upload), _parts(rows)
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
            named, unnamed = _invalid(found, batch, session)
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

    def _columns(self, members: Members) -> Members:
        """The columns as Meta has them: both kinds of device are one."""
        devices = (Kind.GAID, Kind.IDFA)
        if not self.settings.allow_unhashed_device_ids and members.has(*devices).any():
            raise ConfigurationError(
                "Meta takes device IDs unhashed only; set allow_unhashed_device_ids or leave "
                "them out"
            )
        return members.merged(*devices).only(*COLUMNS)

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
            body = _body(batch, session)
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
            yield from page.get("data", ())
            paging = page.get("paging") or {}
            after = str((paging.get("cursors") or {}).get("after", ""))
            if not paging.get("next") or after in seen:
                return
            seen.add(after)

    @property
    def _account(self) -> str:
        return f"act_{self.settings.ad_account_id}"

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


class Session(NamedTuple):
    """A place in an upload session; `spare` counts the sessions that replace a finished one."""

    id: int
    sequence: int
    last: bool
    total: int
    spare: int = 0


def _sessions(upload: Upload) -> Iterator[Session]:
    """The upload's own place, then whole sessions that depend on nothing but that place."""
    yield Session(upload.session, upload.sequence, upload.last, upload.total)
    spare = 0
    while True:
        spare += 1
        seed = f"{upload.session}/{upload.sequence}/{spare}".encode()
        number = int.from_bytes(hashlib.sha256(seed).digest()[:8], "big") >> 1
        yield Session(number or 1, 1, True, upload.total, spare)


def _parts(rows: NDArray[np.int64]) -> list[NDArray[np.int64]]:
    """Positions of members, cut so that no part has more rows than a request may hold."""
    places = np.flatnonzero(rows)
    written = np.cumsum(rows[places])
    parts, start, done = [], 0, 0
    while start < len(places):
        end = int(np.searchsorted(written, done + ROWS, side="right"))
        parts.append(places[start:end])
        start, done = end, int(written[end - 1])
    return parts


def _body(batch: Members, session: Session) -> bytes:
    """One row a slot: a person with two e-mail addresses is two rows."""
    kinds = [kind for kind in COLUMNS if kind in batch.kinds]
    names = [COLUMNS[kind] for kind in kinds]
    if len(kinds) == 1:
        schema = orjson.dumps(SINGLE[names[0]])
        rows = batch.render_slots([Cell(kinds[0])], before=b"", after=b"")
    else:
        schema = orjson.dumps(names)
        cells = [Cell(kind, none=b'""') for kind in kinds]
        rows = batch.render_slots(cells, before=b"[", after=b"]")
    place = orjson.dumps(
        {
            "session_id": session.id,
            "batch_seq": session.sequence,
            "last_batch_flag": session.last,
            "estimated_num_total": session.total,
        }
    )
    return b"".join(
        (b'{"session":', place, b',"payload":{"schema":', schema, b',"data":[', rows.body, b"]}}")
    )


def _invalid(
    found: Mapping[str, Any], batch: Members, session: Session
) -> tuple[NDArray[np.int64], int]:
    """Positions of the members whose every row Meta names as bad; how many rows it only counts.

    Meta skips a row and says so in a count and in samples; a member with a good row is held.
    """
    received = _number(found.get("num_received"))
    counted = _number(found.get("num_invalid_entries"))
    if received is None or counted is None:
        raise TemporaryPartnerError("Meta did not say how many members it received; try again")
    samples = found.get("invalid_entry_samples") or []
    bad = _values(samples)
    used = batch.slots()
    hit = np.zeros_like(used)
    for slot in range(used.shape[1]):
        hit[batch.slot(slot).find(bad), slot] = True
    if session.sequence > 1 and len(bad) < SAMPLES:
        counted = int(hit.sum())  # the count is of the whole session, the samples are of this batch
    missing = max(int(used.sum()) - received, 0)
    named = np.flatnonzero((hit | ~used).all(axis=1))
    return named, max(counted - int(hit.sum()), 0) + missing


def _values(samples: Any) -> list[str]:
    """The bad values, whether they come as a map, a list, or rows within either."""
    if isinstance(samples, Mapping):
        samples = list(samples.values())
    if not isinstance(samples, Sequence) or isinstance(samples, str):
        return [str(samples)]
    return [value for sample in samples for value in _values(sample)]


def _usage(headers: Mapping[str, str], account: str) -> tuple[float, float]:
    """The largest share used of any allowance, in percent, and the seconds until calls may go on.

    Meta's headers: "estimated_time_to_regain_access" is minutes, "reset_time_duration" seconds.
    """
    used, wait = 0.0, 0.0
    business = _header(headers, "x-business-use-case-usage")
    for entry in business.get(account) or [e for found in business.values() for e in found]:
        used = max(used, *(_float(entry.get(name)) for name in _SHARES))
        wait = max(wait, 60 * _float(entry.get("estimated_time_to_regain_access")))
    app = _header(headers, "x-app-usage")
    own = _header(headers, "x-ad-account-usage")
    used = max(used, *(_float(app.get(name)) for name in _SHARES))
    spent = _float(own.get("acc_id_util_pct"))
    if spent >= 100:  # noqa: PLR2004 - per cent
        wait = max(wait, _float(own.get("reset_time_duration")))
    return max(used, spent), wait


_SHARES = ("call_count", "total_cputime", "total_time")


def _header(headers: Mapping[str, str], name: str) -> dict[str, Any]:
    try:
        found = orjson.loads(headers.get(name, "{}"))
    except orjson.JSONDecodeError:
        return {}
    return found if isinstance(found, dict) else {}


def _float(value: Any) -> float:
    return float(value) if isinstance(value, int | float) else 0.0


def _number(value: Any) -> int | None:
    return int(value) if isinstance(value, int) or str(value).isdigit() else None


def _size(value: Any) -> int | None:
    """A size bound; Meta writes -1 for one that it does not tell."""
    found = _number(value)
    return None if found is None or found < 0 else found


def _numeric(remote_id: str) -> str:
    if not (remote_id.isascii() and remote_id.isdigit()):
        raise ConfigurationError("an audience at Meta is named by digits; check remote_id")
    return remote_id
