"""Snapchat: Snap Audience Match segments of an ad account, by the Marketing API."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from typing import Any, ClassVar

from audience_sync.connector import (
    Answer,
    AudienceRequest,
    AuthenticationError,
    ConfigurationError,
    Connector,
    ConnectorSettings,
    Grant,
    Kind,
    Limits,
    Members,
    PartnerClient,
    PartnerError,
    Receipt,
    Recipient,
    Statistics,
    TemporaryPartnerError,
    Tokens,
    Upload,
    kept_for,
)
from connectors import _snapchat_segments as segment
from connectors._snapchat_settings import SnapchatSettings
from connectors._snapchat_wire import IDENTIFIERS, Counting
from connectors._snapchat_words import explained

UNAUTHENTICATED = 401  # HTTP
MARGIN = 30  # days before members are forgotten in which everybody is sent again


class SnapchatConnector(Connector[SnapchatSettings]):
    """Segments of the source FIRST_PARTY; one takes all kinds of identifiers."""

    name = "snapchat"
    title = "Snapchat"
    settings_class = SnapchatSettings
    lists_in = "ad_account_id"
    forms: ClassVar[Mapping[Kind, str]] = {
        Kind.EMAIL: "email/plain",
        Kind.PHONE: "phone/digits",
        Kind.IDFA: "device/lower",
        Kind.GAID: "device/lower",
    }
    limits = Limits(
        members_per_request=IDENTIFIERS,
        requests_per_second=10,
        requests_per_minute=600,
        parallel_uploads=4,
    )
    minimum_audience = 1_000
    reads = ("size",)
    recipient = Recipient(name="Snap B.V.", country="NL")

    def __init__(self, settings: SnapchatSettings, client: PartnerClient) -> None:
        super().__init__(settings, client)
        grant = Grant(
            partner=self.title,
            url=settings.token_url,
            client_id=settings.client_id,
            client_secret=settings.client_secret,
            refresh_token=settings.refresh_token,
        )
        self._tokens = Tokens(grant)

    @classmethod
    def limits_of(cls, settings: ConnectorSettings) -> Limits:
        """See `Connector.limits_of`."""
        most = getattr(settings, "identifiers_per_request", IDENTIFIERS)
        return replace(cls.limits, members_per_request=most)

    @classmethod
    def refresh_after(cls, settings: ConnectorSettings) -> timedelta | None:
        """See `Connector.refresh_after`; Snapchat forgets members after `retention_days`."""
        days = getattr(settings, "retention_days", None)
        return None if days is None else timedelta(days=max(days / 2, days - MARGIN))

    @classmethod
    def keeps(cls, settings: ConnectorSettings) -> str:
        """See `Connector.keeps`; without `retention_days` a segment's members stay for ever."""
        return kept_for(getattr(settings, "retention_days", None))

    def check(self) -> None:
        """See `Connector.check`: app and token are taken, and may see the ad account's segments."""
        self._tokens.prove(self.client)
        self._call("GET", self._segments, params={"limit": "1"})

    def ensure_audience(self, audience: AudienceRequest) -> str:
        """See `Connector.ensure_audience`; names are not unique, the description has the marker."""
        if not set(audience.kinds) & set(self.forms):
            raise ConfigurationError("this audience has no identifier that Snapchat can use")
        days = self.settings.retention_days
        body = segment.definition(audience, self.settings.ad_account_id, days)
        return segment.ensure(self._call, self._segments, audience.marker, body)

    def add(self, upload: Upload, members: Members) -> Receipt:
        """See `Connector.add`; whoever else is on a list of ours that begins afresh leaves."""
        if upload.afresh:
            self._call("DELETE", f"v1/segments/{segment.number(upload.remote_id)}/all_users")
        return self._change("POST", upload, members)

    def remove(self, upload: Upload, members: Members) -> Receipt:
        """See `Connector.remove`; a DELETE with a body."""
        return self._change("DELETE", upload, members)

    def delete_audience(self, remote_id: str) -> None:
        """See `Connector.delete_audience`."""
        segment.delete(self._call, self._segments, remote_id)

    def statistics(self, remote_id: str) -> Statistics:
        """See `Connector.statistics`; Snapchat shows a size and never a match rate."""
        return segment.statistics_of(self._call("GET", f"v1/segments/{segment.number(remote_id)}"))

    def account(self) -> str:
        """See `Connector.account`; Snapchat counts by app and by token."""
        return self.settings.client_id

    def headers(self) -> Mapping[str, str]:
        """See `Connector.headers`; fetches a token when there is none or it ends soon."""
        return {"Authorization": f"Bearer {self._tokens.current(self.client)}"}

    def refresh(self, error: AuthenticationError) -> bool:
        """See `Connector.refresh`; rights and terms wait for a person."""
        if error.status != UNAUTHENTICATED:
            return False
        self._tokens.renew(self.client)
        return True

    def explain(self, answer: Answer) -> PartnerError | None:
        """See `Connector.explain`; a 401 may be plain text, a 200 may hold a refusal."""
        found: Any = None
        try:
            found = answer.json()
        except TemporaryPartnerError as unread:
            if super().explain(answer) is None:
                return unread
        return explained(answer, found, super().explain(answer))

    def _change(self, method: str, upload: Upload, members: Members) -> Receipt:
        url = f"v1/segments/{segment.number(upload.remote_id)}/users"
        counting = Counting(members, self.settings.identifiers_per_request)
        counting.send(lambda body: self._call(method, url, body=body))
        return counting.receipt(leaving=method == "DELETE")

    @property
    def _segments(self) -> str:
        return f"v1/adaccounts/{self.settings.ad_account_id}/segments"

    def _call(self, method: str, url: str, **more: Any) -> dict[str, Any]:
        found: dict[str, Any] = self.client.request(method, url, **more).json()
        return found
