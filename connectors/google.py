"""Google: Customer Match lists of Google Ads and Display & Video 360, by the Data Manager API."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar, Literal, NamedTuple

import google.auth.exceptions
import google.auth.transport
import google.oauth2.credentials
import google.oauth2.service_account
import numpy as np
import orjson
from pydantic import Field, field_validator

from audience_sync.connector import (
    Answer,
    AudienceRequest,
    AudienceSyncError,
    AuthenticationError,
    Cell,
    ConfigurationError,
    Connector,
    ConnectorSettings,
    Consent,
    Kind,
    Limits,
    Members,
    PartnerClient,
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

SCOPE = "https://www.googleapis.com/auth/datamanager"
DAY = 86_400  # seconds
PER_MINUTE_WAIT = 60.0  # seconds; Google sends no Retry-After
RESET_HOUR = 8  # UTC; midnight US Pacific is then or an hour before
YOUNG = 3600.0  # seconds in which an unknown request id only means "not yet"
PROBES = 64  # requests spent to find bad rows that Google does not name
SMALLEST_USABLE = 100  # matched members

AccountType = Literal[
    "GOOGLE_ADS",
    "DISPLAY_VIDEO_PARTNER",
    "DISPLAY_VIDEO_ADVERTISER",
    "DATA_PARTNER",
]


class Part(NamedTuple):
    """One of the lists that an audience becomes: hashes and each system's devices stay apart."""

    name: str
    kinds: tuple[Kind, ...]
    suffix: str = ""


CONTACT = Part("contact", (Kind.EMAIL, Kind.PHONE))
IOS = Part("ios", (Kind.IDFA,), " (iOS)")
ANDROID = Part("android", (Kind.GAID,), " (Android)")
PARTS = {part.name: part for part in (CONTACT, IOS, ANDROID)}
CELLS = (
    Cell(Kind.EMAIL, b'{"emailAddress":"', b'"}'),
    Cell(Kind.PHONE, b'{"phoneNumber":"', b'"}'),
)


class Meaning(NamedTuple):
    """What a reason of Google's means: the error to raise and the operator's sentence."""

    error: type[PartnerError]
    sentence: str


_ROW = Meaning(RefusedError, "Google does not accept some members of the batch")
_SIZE = Meaning(RefusedError, "the request holds more than Google takes")
_SETTING = Meaning(
    RefusedError,
    "Google does not know this list for this account; check the destination's settings",
)
_TERMS = Meaning(
    AuthenticationError,
    "the account has not accepted Google's Customer Match terms; accept them in the account",
)
_ALLOWED = Meaning(
    AuthenticationError, "Google has not allowed this account to upload members; ask Google"
)
_OLD = Meaning(RefusedError, "Google does not tell the state of this upload any more")
_RIGHT = Meaning(
    AuthenticationError, "the credentials may not use this account; grant them access to it"
)
_LOGIN = Meaning(
    AuthenticationError, "Google does not accept the credentials; make new ones and set them"
)
_TAKEN = Meaning(RefusedError, "a list of this name is there already")
_BUSY = Meaning(TemporaryPartnerError, "Google's request quota is used up")
_AGAIN = Meaning(TemporaryPartnerError, "Google cannot answer now")
ROW_REASONS = frozenset(
    (
        "INVALID_HEX_ENCODING",
        "INVALID_BASE64_ENCODING",
        "INVALID_SHA256_FORMAT",
        "INVALID_FORMAT",
        "INVALID_POSTAL_CODE",
        "INVALID_COUNTRY_CODE",
        "INVALID_REGION_CODE",
        "INVALID_MOBILE_ID_FORMAT",
        "REQUIRED_FIELD_MISSING",
        "INVALID_ENUM_VALUE",
        "NO_IDENTIFIERS_PROVIDED",
        "INVALID_AUDIENCE_MEMBER",
    )
)
# By the reason in the details, else by the status word of the error.
MEANINGS: Mapping[str, Meaning] = {
    **dict.fromkeys(ROW_REASONS, _ROW),
    **dict.fromkeys(
        (
            "TOO_MANY_AUDIENCE_MEMBERS",
            "TOO_MANY_USER_IDENTIFIERS",
            "TOO_MANY_DESTINATIONS",
            "TOO_MANY_ELEMENTS",
            "FIELD_VALUE_TOO_LONG",
        ),
        _SIZE,
    ),
    **dict.fromkeys(
        (
            "INVALID_USER_LIST_ID",
            "INVALID_USER_LIST_TYPE",
            "INVALID_DESTINATION",
            "DESTINATION_ACCOUNT_TYPE_MISMATCH",
            "MULTIPLE_DATA_TYPES_NOT_ALLOWED",
            "OPERATING_ACCOUNT_LOGIN_ACCOUNT_MISMATCH",
            "INVALID_NUMBER_FORMAT",
            "NOT_FOUND",
        ),
        _SETTING,
    ),
    **dict.fromkeys(("TERMS_AND_CONDITIONS_NOT_SIGNED", "ADVERTISER_TOS_NOT_ACCEPTED"), _TERMS),
    **dict.fromkeys(
        (
            "NOT_ALLOWLISTED",
            "ADVERTISER_NOT_ALLOWLISTED_FOR_UPLOADED_DATA",
            "REQUIRED_PREREQUISITE_LINK_MISSING",
            "EU_POLITICAL_ADVERTISING_DECLARATION_REQUIRED",
        ),
        _ALLOWED,
    ),
    **dict.fromkeys(("REQUEST_TOO_OLD", "INVALID_REQUEST_ID"), _OLD),
    **dict.fromkeys(("PERMISSION_DENIED", "ACCESS_TOKEN_SCOPE_INSUFFICIENT"), _RIGHT),
    "SERVICE_DISABLED": Meaning(
        AuthenticationError, "enable the Data Manager API in the credentials' Cloud project"
    ),
    **dict.fromkeys(("UNAUTHENTICATED", "invalid_grant", "invalid_client"), _LOGIN),
    **dict.fromkeys(("ALREADY_EXISTS", "DISPLAY_NAME_ALREADY_USED"), _TAKEN),
    **dict.fromkeys(("RESOURCE_EXHAUSTED", "RATE_LIMIT_EXCEEDED"), _BUSY),
    **dict.fromkeys(
        (
            "ABORTED",
            "INTERNAL",
            "INTERNAL_ERROR",
            "UNKNOWN",
            "UNAVAILABLE",
            "DEADLINE_EXCEEDED",
            "CANCELLED",
        ),
        _AGAIN,
    ),
}
TAKEN = frozenset(("ALREADY_EXISTS", "DISPLAY_NAME_ALREADY_USED"))


class GoogleSettings(ConnectorSettings):
    """A destination at Google: one account and the credentials that may change its lists."""

    base_url: str = "https://datamanager.googleapis.com"
    operating_account: str
    account_type: AccountType = "GOOGLE_ADS"
    login_account: str | None = None  # a manager account or Display & Video 360 partner
    login_account_type: AccountType = "GOOGLE_ADS"
    linked_account: str | None = None
    linked_account_type: AccountType = "GOOGLE_ADS"
    credentials: SecretStr  # JSON of a service account or an authorised user
    token_url: str | None = None  # in place of the one in the credentials
    quota_project: str | None = None
    membership_duration_days: int = Field(540, ge=1, le=540)
    ios_app_id: str | None = None
    android_app_id: str | None = None
    poll_after: float = Field(1800.0, ge=0)  # seconds; Google advises half an hour

    @field_validator("operating_account", "login_account", "linked_account")
    @classmethod
    def _digits(cls, value: str | None) -> str | None:
        digits = None if value is None else value.replace("-", "")
        if digits is not None and not (digits.isascii() and digits.isdigit()):
            raise ValueError('write the account as digits, such as "1234567890"')
        return digits


class GoogleConnector(Connector[GoogleSettings]):
    """Customer Match by the Data Manager API; a Google Ads list also serves YouTube.

    `remote_id` holds up to three list ids, as "contact:98,ios:12,android:13"; a bare number is a
    contact list.
    """

    name = "google"
    title = "Google"
    settings_class = GoogleSettings
    forms: ClassVar[Mapping[Kind, str]] = {
        Kind.EMAIL: "email/gmail-folded",
        Kind.PHONE: "phone/e164",
        Kind.IDFA: "device/raw",
        Kind.GAID: "device/raw",
    }
    limits = Limits(
        members_per_request=10_000,
        requests_per_minute=300,
        parallel_uploads=10,
        identifiers_per_member=10,
    )
    minimum_audience = SMALLEST_USABLE
    needs_consent_signal = True
    recipient = Recipient(name="Google Ireland Limited", country="IE")

    def __init__(self, settings: GoogleSettings, client: PartnerClient) -> None:
        super().__init__(settings, client)
        self._tokens = _Tokens(settings)

    def check(self) -> None:
        """See `Connector.check`: lists can be read, and one could be made."""
        self._get(self._lists, {"pageSize": "1"})
        body = orjson.dumps(self._definition(CONTACT, "audience-sync check", "never made"))
        try:
            self._post(self._lists, body, {"validateOnly": "true"})
        except RefusedError as error:
            if error.code not in TAKEN:
                raise

    def ensure_audience(self, audience: AudienceRequest) -> str:
        """See `Connector.ensure_audience`; names are unique at Google."""
        parts = [part for part in PARTS.values() if self._wanted(part, audience.kinds)]
        if not parts:
            raise ConfigurationError("this audience has no identifier that Google can use")
        return ",".join(f"{part.name}:{self._ensure(part, audience)}" for part in parts)

    def add(self, upload: Upload, members: Members) -> Receipt:
        """See `Connector.add`; consent comes with the upload and is never assumed."""
        if upload.consent is None:
            raise ConfigurationError(
                "Google needs to know what the members of an upload consented to"
            )
        return self._change("ingest", upload, members, _consent(upload.consent))

    def remove(self, upload: Upload, members: Members) -> Receipt:
        """See `Connector.remove`."""
        return self._change("remove", upload, members, {})

    def poll(self, reference: str) -> Receipt:
        """See `Connector.poll`; covers the members that the first receipt called accepted."""
        sent = _Reference.read(reference)
        age = time.time() - sent.at
        if age < self.settings.poll_after:
            return self._pending(sent, self.settings.poll_after - age)
        failed, reasons, ranges = 0, set[str](), set[str]()
        for members, request in sent.requests:
            try:
                found = self._get("v1/requestStatus:retrieve", {"requestId": request})
            except RefusedError as error:
                if error.status != 404 or age > YOUNG:  # noqa: PLR2004 - HTTP's own word
                    raise
                return self._pending(sent, PER_MINUTE_WAIT)
            for state in found.get("requestStatusPerDestination") or [{}]:
                outcome = _outcome(state, members)
                if outcome is None:
                    return self._pending(sent, self.settings.poll_after)
                failed += outcome.failed
                reasons |= outcome.reasons
                ranges |= outcome.ranges
        failed = min(failed, sent.members)
        return Receipt(
            accepted=sent.members - failed,
            unattributed=failed,
            reference=reference,
            match_range=", ".join(sorted(ranges)) or None,
            reason=", ".join(sorted(reasons)) or None,
        )

    def statistics(self, remote_id: str) -> Statistics:
        """See `Connector.statistics`; sizes are of the contact list where there is one."""
        lists = _lists(remote_id)
        number = next(iter(lists.values()))
        found = self._get(f"{self._lists}/{number}")
        sizes = [
            int(count) for count in (found.get("sizeInfo") or {}).values() if str(count).isdigit()
        ]
        info = found.get("ingestedUserListInfo") or {}
        rate = (info.get("contactIdInfo") or {}).get("matchRatePercentage")
        membership = str(found.get("membershipStatus", ""))
        return Statistics(
            size_lower=min(sizes, default=None),
            size_upper=max(sizes, default=None),
            match_range=None if not rate else f"{int(rate)} %",
            status={"OPEN": "open", "CLOSED": "closed"}.get(membership),
            usable=membership == "OPEN" and max(sizes) >= SMALLEST_USABLE if sizes else None,
        )

    def headers(self) -> Mapping[str, str]:
        """See `Connector.headers`; fetches a token when there is none or it ends soon."""
        found = {"Authorization": f"Bearer {self._tokens.current(self.client)}"}
        if self.settings.quota_project is not None:
            found["x-goog-user-project"] = self.settings.quota_project
        return found

    def refresh(self) -> bool:
        """See `Connector.refresh`."""
        self._tokens.forget()
        return True

    def explain(self, answer: Answer) -> PartnerError | None:
        """See `Connector.explain`; the reason in the details decides, then the status word."""
        try:
            found = answer.json()
        except TemporaryPartnerError as unread:
            return super().explain(answer) or unread
        if not isinstance(found, dict):
            return TemporaryPartnerError("Google's answer cannot be read; try again", answer.status)
        if "error" not in found:
            return super().explain(answer)
        return _explained(answer, found["error"], super().explain(answer))

    def _change(
        self, verb: str, upload: Upload, members: Members, extra: Mapping[str, Any]
    ) -> Receipt:
        if not self.settings.allow_unhashed_device_ids and members.has(Kind.IDFA, Kind.GAID).any():
            raise ConfigurationError(
                "Google takes device IDs unhashed only; set allow_unhashed_device_ids or leave "
                "them out"
            )
        chances = np.zeros(len(members), dtype=np.int64)  # lists that each member is meant for
        reasons: dict[int, str] = {}
        requests: list[tuple[int, str]] = []
        for name, number in _lists(upload.remote_id).items():
            places = np.flatnonzero(members.has(*PARTS[name].kinds))
            chances[places] += 1
            envelope = _Envelope(verb, PARTS[name], self._destination(number), extra)
            request, refused = self._submit(envelope, members.only(*PARTS[name].kinds).take(places))
            chances[places[list(refused)]] -= 1
            reasons |= {int(places[at]): reason for at, reason in refused.items()}
            if request is not None:
                requests.append((len(places) - len(refused), request))
        rejected = tuple(
            Rejection(position=at, reason=reasons.get(at, "no_usable_identifier"))
            for at in np.flatnonzero(chances == 0).tolist()
        )
        accepted = len(members) - len(rejected)
        if not requests:
            return Receipt(accepted=accepted, rejected=rejected)
        reference = _Reference(int(time.time()), accepted, tuple(requests))
        return Receipt(
            accepted=accepted,
            rejected=rejected,
            reference=reference.written,
            pending=True,
            poll_after=self.settings.poll_after,
        )

    def _submit(self, envelope: _Envelope, batch: Members) -> tuple[str | None, dict[int, str]]:
        """The request id, and the members left out because Google refuses them, with the reason.

        One bad row makes Google refuse the whole request, so it goes again without the bad rows.
        """
        left, refused = np.arange(len(batch)), dict[int, str]()
        while len(left):
            try:
                return self._sent(envelope, batch.take(left)), refused
            except RefusedError as error:
                if error.code not in ROW_REASONS or len(refused) > PROBES * PROBES:
                    raise
                bad = error.rows or self._bad_rows(envelope, batch.take(left))
                if not bad:
                    raise
                refused |= dict.fromkeys(left[list(bad)].tolist(), error.code)
                left = np.delete(left, list(bad))
        return None, refused

    def _bad_rows(self, envelope: _Envelope, batch: Members) -> tuple[int, ...]:
        """Find rows that Google refuses but does not name, by halves that are only validated."""
        bad: list[int] = []
        pieces = np.array_split(np.arange(len(batch)), 2) if len(batch) > 1 else []
        if len(batch) == 1:
            return (0,)
        for _ in range(PROBES):
            if not pieces:
                break
            piece = pieces.pop()
            try:
                self._sent(envelope, batch.take(piece), validate_only=True)
            except RefusedError as error:
                if error.code not in ROW_REASONS:
                    raise
                if error.rows or len(piece) == 1:
                    bad += piece[list(error.rows or (0,))].tolist()
                else:
                    pieces += np.array_split(piece, 2)
        return tuple(sorted(bad))

    def _sent(
        self, envelope: _Envelope, batch: Members, *, validate_only: bool = False
    ) -> str | None:
        rows = envelope.rows(batch)
        try:
            answer = self._post(
                f"v1/audienceMembers:{envelope.verb}",
                envelope.around(rows.body, validate_only=validate_only),
            )
        except RefusedError as error:
            named = [row for row in error.rows if row < len(batch)]
            positions = tuple(sorted(set(rows.positions[named].tolist())))
            refusal = RefusedError(error.message, error.status, error.code, positions)
        else:
            request = answer.get("requestId")
            if request is None and not validate_only:
                raise TemporaryPartnerError("Google gave no receipt; try again")
            return request
        raise refusal

    def _wanted(self, part: Part, kinds: tuple[Kind, ...]) -> bool:
        if not set(part.kinds) & set(kinds):
            return False
        allowed = self.settings.allow_unhashed_device_ids
        return part is CONTACT or (allowed and self._app(part) is not None)

    def _app(self, part: Part) -> str | None:
        return self.settings.ios_app_id if part is IOS else self.settings.android_app_id

    def _ensure(self, part: Part, audience: AudienceRequest) -> str:
        name = audience.name + part.suffix
        found = self._find(name, audience.marker)
        if found is not None:
            return found
        description = f"{audience.title} {audience.marker}"
        try:
            made = self._post(self._lists, orjson.dumps(self._definition(part, name, description)))
        except RefusedError as error:
            # An earlier attempt made it and its answer was lost, or another run was faster.
            found = self._find(name, audience.marker) if error.code in TAKEN else None
            if found is None:
                raise
            return found
        return str(made["id"])

    def _find(self, name: str, marker: str) -> str | None:
        quoted = name.replace("\\", "\\\\").replace('"', '\\"')
        asked = {"filter": f'display_name="{quoted}"', "pageSize": "1000"}
        token, seen = "", set[str]()
        while token not in seen:
            seen.add(token)
            page = self._get(self._lists, asked | ({"pageToken": token} if token else {}))
            for found in page.get("userLists", ()):
                if found.get("displayName") != name:
                    continue
                if marker not in str(found.get("description", "")):
                    raise RefusedError(
                        "a list of this name is not ours; rename the audience, or adopt the list "
                        "by its remote_id"
                    )
                return str(found["id"])
            token = str(page.get("nextPageToken", ""))
        return None

    def _definition(self, part: Part, name: str, description: str) -> dict[str, Any]:
        source = {"dataSourceType": "DATA_SOURCE_TYPE_FIRST_PARTY"}
        kind: dict[str, Any] = {"uploadKeyTypes": ["CONTACT_ID"], "contactIdInfo": source}
        if part is not CONTACT:
            app = {"keySpace": part.name.upper(), "appId": self._app(part)}
            kind = {"uploadKeyTypes": ["MOBILE_ID"], "mobileIdInfo": source | app}
        return {
            "displayName": name,
            "description": description,
            "integrationCode": name,
            "membershipStatus": "OPEN",
            "membershipDuration": f"{self.settings.membership_duration_days * DAY}s",
            "ingestedUserListInfo": kind,
        }

    def _destination(self, number: str) -> dict[str, Any]:
        """Uploads name their accounts in the body; Google ignores the headers there."""
        accounts = {
            f"{role}Account": {"accountType": account_type, "accountId": account}
            for role, account_type, account in self._accounts()
        }
        return accounts | {"productDestinationId": number}

    def _accounts(self) -> Iterator[tuple[str, str, str]]:
        chosen = self.settings
        yield "operating", chosen.account_type, chosen.operating_account
        if chosen.login_account is not None:
            yield "login", chosen.login_account_type, chosen.login_account
        if chosen.linked_account is not None:
            yield "linked", chosen.linked_account_type, chosen.linked_account

    @property
    def _lists(self) -> str:
        """Where the lists are; here the operating account is in the path, the others in headers."""
        chosen = self.settings
        return (
            f"v1/accountTypes/{chosen.account_type}/accounts/{chosen.operating_account}/userLists"
        )

    def _list_headers(self, path: str) -> dict[str, str]:
        if not path.startswith(self._lists):
            return {}
        return {
            f"{role}-account": f"accountTypes/{account_type}/accounts/{account}"
            for role, account_type, account in self._accounts()
            if role != "operating"
        }

    def _get(self, path: str, params: Mapping[str, str] | None = None) -> dict[str, Any]:
        headers = self._list_headers(path)
        found: dict[str, Any] = self.client.request(
            "GET", path, params=params, headers=headers
        ).json()
        return found

    def _post(
        self, path: str, body: bytes, params: Mapping[str, str] | None = None
    ) -> dict[str, Any]:
        headers = self._list_headers(path)
        found: dict[str, Any] = self.client.request(
            "POST", path, body=body, params=params, headers=headers
        ).json()
        return found

    def _pending(self, sent: _Reference, poll_after: float) -> Receipt:
        return Receipt(
            accepted=sent.members, reference=sent.written, pending=True, poll_after=poll_after
        )


class _Envelope(NamedTuple):
    """Everything of an upload's body but its members."""

    verb: str
    part: Part
    destination: dict[str, Any]
    extra: Mapping[str, Any]

    def rows(self, batch: Members) -> Any:
        """One member an object, with all its identifiers."""
        if self.part is CONTACT:
            return batch.render(
                CELLS, before=b'{"compositeData":{"userData":{"userIdentifiers":[', after=b"]}}}"
            )
        cells = [Cell(kind) for kind in self.part.kinds]
        return batch.render(cells, before=b'{"mobileData":{"mobileIds":[', after=b"]}}")

    def around(self, rows: bytes, *, validate_only: bool) -> bytes:
        """The whole body."""
        encoding = {"encoding": "HEX"} if self.part is CONTACT else {}
        rest = {**self.extra, **encoding, "validateOnly": validate_only}
        return b"".join(
            (
                b'{"destinations":[',
                orjson.dumps(self.destination),
                b'],"audienceMembers":[',
                rows,
                b"],",
                orjson.dumps(rest)[1:],
            )
        )


class _Reference(NamedTuple):
    """What `poll` needs: when it was sent, how many members, and the requests with their sizes."""

    at: int
    members: int
    requests: tuple[tuple[int, str], ...]

    @property
    def written(self) -> str:
        """The reference as one word."""
        return ";".join(
            (str(self.at), str(self.members), *(f"{size}:{name}" for size, name in self.requests))
        )

    @classmethod
    def read(cls, text: str) -> _Reference:
        """A reference from its text."""
        at, members, *requests = text.split(";")
        pairs = (request.partition(":") for request in requests)
        return cls(int(at), int(members), tuple((int(size), name) for size, _, name in pairs))


class _Outcome(NamedTuple):
    failed: int
    reasons: set[str]
    ranges: set[str]


def _outcome(state: Mapping[str, Any], members: int) -> _Outcome | None:
    """What became of one request at one destination; None while Google works on it."""
    status = state.get("requestStatus")
    if status not in ("SUCCESS", "PARTIAL_SUCCESS", "FAILED"):
        return None
    errors = (state.get("errorInfo") or {}).get("errorCounts") or []
    blocks = [
        block
        for name in ("audienceMembersIngestionStatus", "audienceMembersRemovalStatus")
        for block in (state.get(name) or {}).values()
    ]
    records = sum(int(block.get("recordCount", 0)) for block in blocks)  # failures included
    failed = sum(int(error.get("recordCount", 0)) for error in errors)
    failed += max(members - records, 0) if records else 0
    return _Outcome(
        members if status == "FAILED" else min(failed, members),
        {_word(error.get("reason"), "PROCESSING_ERROR_REASON_") for error in errors} - {""},
        {_range(block.get("uploadMatchRateRange")) for block in blocks} - {""},
    )


def _word(text: Any, prefix: str) -> str:
    """A code of Google's without its prefix; anything that is not a code is left out."""
    word = str(text or "").removeprefix(prefix)
    return word if re.fullmatch(r"[A-Z0-9_]+", word) else ""


def _range(text: Any) -> str:
    word = _word(text, "MATCH_RATE_RANGE_")
    if word == "LESS_THAN_20":
        return "under 20 %"
    lower, _, upper = word.partition("_TO_")
    return f"{lower}-{upper} %" if upper else ""


def _consent(consent: Consent) -> dict[str, Any]:
    words = {True: "CONSENT_GRANTED", False: "CONSENT_DENIED"}
    return {
        "consent": {
            "adUserData": words[consent.ad_user_data],
            "adPersonalization": words[consent.ad_personalization],
        },
        "termsOfService": {"customerMatchTermsOfServiceStatus": "ACCEPTED"},
    }


def _lists(remote_id: str) -> dict[str, str]:
    """The list ids within a remote id, by the name of the part."""
    found = {}
    for piece in remote_id.split(","):
        name, colon, number = piece.strip().rpartition(":")
        name = name if colon else CONTACT.name
        if name not in PARTS or not (number.isascii() and number.isdigit()):
            raise ConfigurationError(
                'a remote_id at Google is a list id, or such as "contact:98,ios:12,android:13"'
            )
        found[name] = number
    return found


def _explained(answer: Answer, error: Any, fallback: PartnerError | None) -> PartnerError:
    if not isinstance(error, dict):
        error = {"status": str(error)}  # the token endpoint answers with a bare word
    details = [detail for detail in error.get("details") or () if isinstance(detail, dict)]
    violations = [
        violation for detail in details for violation in detail.get("fieldViolations") or ()
    ]
    said = [found.get("reason") for found in (*details, *violations)] + [error.get("status")]
    code = next((str(word) for word in said if word in MEANINGS), None)
    if code is None:
        kind = type(fallback) if fallback is not None else RefusedError
        return kind("Google refuses the request", answer.status)
    meaning = MEANINGS[code]
    if meaning is _BUSY:
        return TemporaryPartnerError(meaning.sentence, answer.status, code, _quota_wait(details))
    if code in ROW_REASONS:
        return RefusedError(meaning.sentence, answer.status, code, _rows(violations))
    return meaning.error(meaning.sentence, answer.status, code)


def _rows(violations: list[dict[str, Any]]) -> tuple[int, ...]:
    """The rows that Google names; its paths say "audience_members" twice (checked 2026-11)."""
    found = (
        re.match(
            r"(?:audience_?members\.)?audience_?members\[(\d+)\]",
            str(v.get("field")),
            re.IGNORECASE,
        )
        for v in violations
    )
    return tuple(sorted({int(match[1]) for match in found if match}))


def _quota_wait(details: list[dict[str, Any]]) -> float:
    limits = [str((detail.get("metadata") or {}).get("quota_limit")) for detail in details]
    if any("PerDay" in limit for limit in limits):
        return (RESET_HOUR * 3600 - time.time()) % DAY
    return PER_MINUTE_WAIT


class _Tokens:
    """The access token, fetched through the partner client; a copy of this starts without one."""

    def __init__(self, settings: GoogleSettings) -> None:
        self._settings = settings
        self._lock = threading.Lock()
        self._credentials: Any = None

    def current(self, client: PartnerClient) -> str:
        """A token that is good for some minutes yet."""
        refusal: AudienceSyncError
        with self._lock:
            try:
                if self._credentials is None:
                    self._credentials = _credentials(self._settings)
                if not self._credentials.valid:
                    # Not `before_request`: it would also look up things that we do not need.
                    self._credentials.refresh(_Transport(client))
                return str(self._credentials.token)
            except google.auth.exceptions.RefreshError:
                refusal = AuthenticationError("Google gave no token for these credentials")
            except (google.auth.exceptions.GoogleAuthError, ValueError, KeyError, TypeError):
                refusal = ConfigurationError(
                    "the credentials are not the JSON of a service account or an authorised user; "
                    "download them again"
                )
        raise refusal

    def forget(self) -> None:
        """Fetch a new token next time."""
        with self._lock:
            self._credentials = None

    def __getstate__(self) -> dict[str, Any]:
        return {"_settings": self._settings}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(state["_settings"])  # type: ignore[misc] # starts afresh on purpose


def _credentials(settings: GoogleSettings) -> Any:
    info = orjson.loads(settings.credentials.get_secret_value())
    if settings.token_url is not None:
        info["token_uri"] = settings.token_url
    if info["type"] == "service_account":
        return google.oauth2.service_account.Credentials.from_service_account_info(
            info, scopes=[SCOPE]
        )
    if info["type"] != "authorized_user":
        raise ValueError
    return google.oauth2.credentials.Credentials(
        None,
        refresh_token=info["refresh_token"],
        token_uri=info.get("token_uri", "https://oauth2.googleapis.com/token"),
        client_id=info["client_id"],
        client_secret=info["client_secret"],
    )


class _Transport:
    """The way google-auth fetches tokens: through the partner client, which retries."""

    def __init__(self, client: PartnerClient) -> None:
        self._client = client

    def __call__(
        self,
        url: str,
        method: str = "GET",
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        **_: Any,
    ) -> _Token:
        answer = self._client.request(
            method,
            url,
            body=body,
            content_type="application/x-www-form-urlencoded",
            headers=headers,
            anonymous=True,
        )
        return _Token(answer.status, answer.headers, answer.body)


class _Token(NamedTuple):
    """An answer as google-auth reads it."""

    status: int
    headers: Mapping[str, str]
    data: bytes
