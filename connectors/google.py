"""Google: Customer Match lists of Google Ads and Display & Video 360, by the Data Manager API."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any, ClassVar, Literal, Self

import numpy as np
import orjson
from pydantic import Field, field_validator, model_validator

from audience_sync.connector import (
    Answer,
    AudienceRequest,
    ConfigurationError,
    Connector,
    ConnectorSettings,
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
from connectors._google_tokens import Tokens
from connectors._google_wire import (
    CONTACT,
    IOS,
    PARTS,
    Envelope,
    Outcome,
    Part,
    Reference,
    consent_words,
    list_ids,
    outcome,
    receipt_of,
)
from connectors._google_words import DAY, PER_MINUTE_WAIT, ROW_REASONS, TAKEN, explained

YOUNG = 3600.0  # seconds in which an unknown request id only means "not yet"
PROBES = 300  # requests spent on one batch to leave bad rows out; a minute of Google's quota
SMALLEST_USABLE = 100  # matched members

AccountType = Literal[
    "GOOGLE_ADS",
    "DISPLAY_VIDEO_PARTNER",
    "DISPLAY_VIDEO_ADVERTISER",
    "DATA_PARTNER",
]


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

    @model_validator(mode="after")
    def _apps(self) -> Self:
        if self.allow_unhashed_device_ids and not (self.ios_app_id or self.android_app_id):
            raise ValueError(
                "device IDs need ios_app_id, android_app_id or both: Google keeps them in lists "
                "of an app; set them, or take allow_unhashed_device_ids out"
            )
        return self


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
        self._tokens = Tokens(settings.credentials, settings.token_url)

    @classmethod
    def sendable(cls, settings: ConnectorSettings) -> Mapping[Kind, str]:
        """See `Connector.sendable`; device IDs only of systems whose app is named."""
        apps = {
            Kind.IDFA: getattr(settings, "ios_app_id", None),
            Kind.GAID: getattr(settings, "android_app_id", None),
        }
        return {kind: form for kind, form in cls.forms.items() if apps.get(kind, "none needed")}

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

    def complete_audience(self, remote_id: str, audience: AudienceRequest) -> str:
        """See `Connector.complete_audience`; devices may be allowed after the list was made."""
        there = list_ids(remote_id)
        wanted = [part for part in PARTS.values() if self._wanted(part, audience.kinds)]
        missing = [part for part in wanted if part.name not in there]
        if not missing:
            return remote_id
        there |= {part.name: self._ensure(part, audience) for part in missing}
        return ",".join(f"{name}:{there[name]}" for name in PARTS if name in there)

    def add(self, upload: Upload, members: Members) -> Receipt:
        """See `Connector.add`; consent comes with the upload and is never assumed."""
        if upload.consent is None:
            raise ConfigurationError(
                "Google needs to know what the members of an upload consented to"
            )
        if not self.settings.allow_unhashed_device_ids and members.has(Kind.IDFA, Kind.GAID).any():
            raise ConfigurationError(
                "Google takes device IDs unhashed only; set allow_unhashed_device_ids or leave "
                "them out"
            )
        receipt = self._change("ingest", upload, members, consent_words(upload.consent))
        taken = {kind for name in list_ids(upload.remote_id) for kind in PARTS[name].kinds}
        untaken = [
            kind.value for kind in members.kinds if kind not in taken and members.has(kind).any()
        ]
        reason = ", ".join(f"no_list_for_{kind}" for kind in untaken)
        return replace(receipt, reason=reason or receipt.reason)

    def remove(self, upload: Upload, members: Members) -> Receipt:
        """See `Connector.remove`."""
        return self._change("remove", upload, members, {})

    def poll(self, reference: str) -> Receipt:
        """See `Connector.poll`; covers the members that the first receipt called accepted."""
        sent = Reference.read(reference)
        age = time.time() - sent.at
        if age < self.settings.poll_after:
            return self._pending(sent, self.settings.poll_after - age)
        try:
            done = list(self._outcomes(sent))
        except RefusedError as error:
            if error.status != 404 or age > YOUNG:  # noqa: PLR2004 - HTTP's own word
                raise
            return self._pending(sent, PER_MINUTE_WAIT)
        if None in done:
            return self._pending(sent, self.settings.poll_after)
        return receipt_of(sent, [outcome for outcome in done if outcome is not None])

    def statistics(self, remote_id: str) -> Statistics:
        """See `Connector.statistics`; sizes are of the contact list where there is one."""
        number = next(iter(list_ids(remote_id).values()))
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
        return explained(answer, found["error"], super().explain(answer))

    def _change(
        self, verb: str, upload: Upload, members: Members, extra: Mapping[str, Any]
    ) -> Receipt:
        lists = np.zeros(len(members), dtype=np.int64)  # that took each member
        reasons: dict[int, str] = {}
        requests: list[tuple[int, str]] = []
        for name, number in list_ids(upload.remote_id).items():
            part = PARTS[name]
            places = np.flatnonzero(members.has(*part.kinds))
            envelope = Envelope(verb, part, self._destination(number), extra)
            request, refused = self._submit(envelope, members.only(*part.kinds).take(places))
            lists[np.delete(places, list(refused))] += 1
            reasons |= {int(places[at]): reason for at, reason in refused.items()}
            if request is not None:
                requests.append((len(places) - len(refused), request))
        rejected = tuple(
            Rejection(position=at, reason=reasons.get(at, "no_usable_identifier"))
            for at in np.flatnonzero(lists == 0).tolist()
        )
        accepted = len(members) - len(rejected)
        if not requests:
            return Receipt(accepted=accepted, rejected=rejected)
        sent = Reference(int(time.time()), accepted, tuple(requests))
        return replace(self._pending(sent, self.settings.poll_after), rejected=rejected)

    def _outcomes(self, sent: Reference) -> Iterator[Outcome | None]:
        """What became of each request at each destination; None where Google is at work."""
        for members, request in sent.requests:
            found = self._get("v1/requestStatus:retrieve", {"requestId": request})
            for state in found.get("requestStatusPerDestination") or [{}]:
                yield outcome(state, members)

    def _submit(self, envelope: Envelope, batch: Members) -> tuple[str | None, dict[int, str]]:
        """The request id, and the members left out because Google refuses them, with the reason.

        One bad row makes Google refuse the whole request, so it goes again without the bad rows.
        """
        left, refused, probes = np.arange(len(batch)), dict[int, str](), iter(range(PROBES))
        while len(left):
            try:
                return self._sent(envelope, batch.take(left)), refused
            except RefusedError as error:
                if error.code not in ROW_REASONS or next(probes, None) is None:
                    raise
                bad = list(error.rows or self._bad_rows(envelope, batch.take(left), probes))
                if not bad:
                    raise
                refused |= dict.fromkeys(left[bad].tolist(), error.code)
                left = np.delete(left, bad)
        return None, refused

    def _bad_rows(
        self, envelope: Envelope, batch: Members, probes: Iterator[int]
    ) -> tuple[int, ...]:
        """Find rows that Google refuses but does not name, by halves that are only validated.

        Finds none when the probes run out, so that the batch is refused as a whole.
        """
        if len(batch) == 1:
            return (0,)
        bad: list[int] = []
        pieces = np.array_split(np.arange(len(batch)), 2)
        while pieces:
            if next(probes, None) is None:
                return ()
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
        self, envelope: Envelope, batch: Members, *, validate_only: bool = False
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
        return _id(made)

    def _find(self, name: str, marker: str) -> str | None:
        quoted = name.replace("\\", "\\\\").replace('"', '\\"')
        asked = {"filter": f'display_name="{quoted}"', "pageSize": "1000"}
        token, seen = "", set[str]()
        while token not in seen:
            seen.add(token)
            page = self._get(self._lists, asked | ({"pageToken": token} if token else {}))
            for found in page.get("userLists") or ():
                if found.get("displayName") != name:
                    continue
                if marker not in str(found.get("description", "")):
                    raise RefusedError(
                        "a list of this name is not ours; rename the audience, or adopt the list "
                        "by its remote_id"
                    )
                return _id(found)
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

    def _pending(self, sent: Reference, poll_after: float) -> Receipt:
        return Receipt(
            accepted=sent.members, reference=sent.written, pending=True, poll_after=poll_after
        )


def _id(found: Mapping[str, Any]) -> str:
    if not found.get("id"):
        raise TemporaryPartnerError("Google did not name the list; try again")
    return str(found["id"])
