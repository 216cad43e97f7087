"""Google: Customer Match lists of Google Ads and Display & Video 360, by the Data Manager API."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from typing import ClassVar

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
    PartnerClient,
    PartnerError,
    Receipt,
    Recipient,
    Statistics,
    Upload,
    explain_page,
    kept_for,
    page_changed_nothing,
)
from connectors._google_lists import SMALLEST_USABLE, Lists
from connectors._google_settings import GoogleSettings
from connectors._google_tokens import Tokens
from connectors._google_upload import Uploads
from connectors._google_wire import ROWS, places_of, written
from connectors._google_words import explained

UNAUTHENTICATED = 401  # HTTP

__all__ = ["GoogleConnector", "GoogleSettings"]


class GoogleConnector(Connector[GoogleSettings]):
    """Customer Match by the Data Manager API; a Google Ads list also serves YouTube.

    `remote_id` holds the list ids, as "contact:98,ios:12,android:13,user:14", those of further
    accounts as "contact@5551234:44"; a bare number is a contact list.
    """

    name = "google"
    title = "Google"
    settings_class = GoogleSettings
    lists_in = "operating_account"
    forms: ClassVar[Mapping[Kind, str]] = {
        Kind.EMAIL: "email/gmail-folded",
        Kind.PHONE: "phone/e164",
        Kind.IDFA: "device/raw",
        Kind.GAID: "device/raw",
        Kind.EXTERNAL_ID: "external-id/plain",
    }
    limits = Limits(
        members_per_request=ROWS,
        requests_per_minute=300,
        requests_per_day=100_000,
        parallel_uploads=10,
        identifiers_per_member=10,
    )
    minimum_audience = SMALLEST_USABLE
    needs_consent_signal = True
    reads = ("size", "match rate")
    recipient = Recipient(name="Google Ireland Limited", country="IE")

    def __init__(self, settings: GoogleSettings, client: PartnerClient) -> None:
        super().__init__(settings, client)
        self._tokens = Tokens(settings.credentials, settings.token_url)

    @classmethod
    def sendable(cls, settings: ConnectorSettings) -> Mapping[Kind, str]:
        """See `Connector.sendable`; device IDs of systems whose app is named, ids where wanted."""
        needed = {
            Kind.IDFA: getattr(settings, "ios_app_id", None),
            Kind.GAID: getattr(settings, "android_app_id", None),
            Kind.EXTERNAL_ID: getattr(settings, "user_id_lists", False),
        }
        return {kind: form for kind, form in cls.forms.items() if needed.get(kind, True)}

    @classmethod
    def refresh_after(cls, settings: ConnectorSettings) -> timedelta | None:
        """See `Connector.refresh_after`; a thirteenth of the membership's time is kept in hand."""
        return timedelta(days=getattr(settings, "membership_duration_days", 540) * 12 // 13)

    @classmethod
    def keeps(cls, settings: ConnectorSettings) -> str:
        """See `Connector.keeps`; 540 days is the most that Google's user lists page allows."""
        return kept_for(getattr(settings, "membership_duration_days", 540))

    def check(self) -> None:
        """See `Connector.check`: lists can be read, and one could be made."""
        self._lists.check()

    def ensure_audience(self, audience: AudienceRequest) -> str:
        """See `Connector.ensure_audience`; names are unique at Google."""
        wanted = list(self._lists.missing(audience.kinds, []))
        if not wanted:
            raise ConfigurationError("this audience has no identifier that Google can use")
        return written([self._lists.ensure(part, account, audience) for part, account in wanted])

    def complete_audience(self, remote_id: str, audience: AudienceRequest) -> str:
        """See `Connector.complete_audience`; devices and accounts may be added later."""
        there = places_of(remote_id)
        missing = list(self._lists.missing(audience.kinds, there))
        if not missing:
            return remote_id
        made = [self._lists.ensure(part, account, audience) for part, account in missing]
        return written([*there, *made])

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
        receipt = self._uploads.change("ingest", upload, members)
        taken = {kind for place in places_of(upload.remote_id) for kind in place.part.kinds}
        untaken = [
            kind.value for kind in members.kinds if kind not in taken and members.has(kind).any()
        ]
        reason = ", ".join(f"no_list_for_{kind}" for kind in untaken)
        return replace(receipt, reason=reason or receipt.reason)

    def remove(self, upload: Upload, members: Members) -> Receipt:
        """See `Connector.remove`."""
        return self._uploads.change("remove", upload, members)

    def delete_audience(self, remote_id: str) -> None:
        """See `Connector.delete_audience`: every list of it, in each account."""
        for place in places_of(remote_id):
            self._lists.delete(place)

    def drop_stale(self, remote_id: str, before: datetime) -> None:
        """See `Connector.drop_stale`: the last step of Google's recipe to replace a list.

        Google goes by when a member was last added. Its answer comes later and is not waited for.
        """
        self._uploads.drop_stale(remote_id, before)

    def poll(self, reference: str) -> Receipt:
        """See `Connector.poll`; covers the members that the first receipt called accepted."""
        return self._uploads.poll(reference)

    def statistics(self, remote_id: str) -> Statistics:
        """See `Connector.statistics`; sizes are of the contact list where there is one."""
        return self._lists.statistics(places_of(remote_id))

    def account(self) -> str:
        """See `Connector.account`; Google counts by Cloud project."""
        return self.settings.quota_project or self._tokens.project

    def headers(self) -> Mapping[str, str]:
        """See `Connector.headers`; fetches a token when there is none or it ends soon."""
        found = {"Authorization": f"Bearer {self._tokens.current(self.client)}"}
        if self.settings.quota_project is not None:
            found["x-goog-user-project"] = self.settings.quota_project
        return found

    def refresh(self, error: AuthenticationError) -> bool:
        """See `Connector.refresh`; terms and rights wait for a person."""
        if error.status != UNAUTHENTICATED:
            return False
        self._tokens.forget()
        return True

    def changed_nothing(self, answer: Answer) -> bool:
        """See `Connector.changed_nothing`; a web page is not Google's word."""
        return super().changed_nothing(answer) if answer.is_json else page_changed_nothing(answer)

    def explain(self, answer: Answer) -> PartnerError | None:
        """See `Connector.explain`; the reason in the details decides, then the status word."""
        found = answer.json() if answer.is_json else None
        if not isinstance(found, dict):
            return explain_page(answer)
        if "error" not in found:
            return super().explain(answer)
        fallback = super().explain(answer)
        return explained(answer, found["error"], fallback, self.settings.quota_reset_hour)

    @property
    def _lists(self) -> Lists:
        return Lists(self.client, self.settings)

    @property
    def _uploads(self) -> Uploads:
        return Uploads(self.client, self.settings)
