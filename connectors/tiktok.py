"""TikTok: custom audiences of an advertiser, by the Business API, streamed or from files."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import ClassVar

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
    Statistics,
    TemporaryPartnerError,
    Upload,
    kept_for,
)
from connectors import _tiktok_audiences as audiences
from connectors import _tiktok_files as files
from connectors import _tiktok_stream as stream
from connectors._tiktok_calls import Calls
from connectors._tiktok_settings import FILE_SIZE, TikTokSettings
from connectors._tiktok_words import changed_nothing, explained


class TikTokConnector(Connector[TikTokSettings]):
    """Custom audiences; `remote_id` is a number for a streaming one, else such as "email:71"."""

    name = "tiktok"
    title = "TikTok"
    settings_class = TikTokSettings
    lists_in = "advertiser_id"
    forms: ClassVar[Mapping[Kind, str]] = {
        Kind.EMAIL: "email/plain",
        Kind.PHONE: "phone/e164",
        Kind.IDFA: "device/lower",
        Kind.GAID: "device/lower",
    }
    limits = Limits(
        members_per_request=1_000,
        bytes_per_request=1_000_000,
        requests_per_second=10,
        requests_per_minute=600,
        parallel_uploads=4,
    )
    minimum_audience = 1_000
    reads = ("size",)
    recipient = Recipient(name="TikTok Technology Limited", country="IE")

    def __init__(self, settings: TikTokSettings, client: PartnerClient) -> None:
        super().__init__(settings, client)
        self._calls = Calls(client, settings.advertiser_id, settings.api_version)

    @classmethod
    def limits_of(cls, settings: ConnectorSettings) -> Limits:
        """See `Connector.limits_of`; a file holds more people than a streaming request."""
        if not isinstance(settings, TikTokSettings):
            return cls.limits
        filed = settings.flow == "files"
        return replace(
            cls.limits,
            members_per_request=settings.lines_per_file if filed else settings.people_per_request,
            bytes_per_request=FILE_SIZE if filed else settings.bytes_per_request,
            requests_per_second=settings.requests_per_second,
            requests_per_minute=settings.requests_per_minute,
        )

    @classmethod
    def keeps(cls, settings: ConnectorSettings) -> str:
        """See `Connector.keeps`; only an audience from files has an end, as a whole."""
        if getattr(settings, "flow", "streaming") == "streaming":
            return kept_for(None)
        days = getattr(settings, "retention_days", None)
        if days is None:
            return "a list ends 365 days after it was last used or changed"
        return f"a list ends {days} days after it was made"

    def check(self) -> None:
        """See `Connector.check`; whether the app may stream shows with the first delivery."""
        audiences.check(self._calls)

    def ensure_audience(self, audience: AudienceRequest) -> str:
        """See `Connector.ensure_audience`; the marker stands in the name."""
        if not set(audience.kinds) & set(self.forms):
            raise ConfigurationError("this audience has no identifier that TikTok can use")
        if self.settings.flow == "streaming":
            return stream.ensure(self._calls, audience)
        return files.ensure(self._calls, audience, {}, self.settings.retention_days)

    def complete_audience(self, remote_id: str, audience: AudienceRequest) -> str:
        """See `Connector.complete_audience`; a kind that is new needs an audience for its files."""
        if _streamed(remote_id):
            return remote_id
        there = files.ids(remote_id)
        return files.ensure(self._calls, audience, there, self.settings.retention_days)

    def add(self, upload: Upload, members: Members) -> Receipt:
        """See `Connector.add`."""
        remote_id = upload.remote_id
        if _streamed(remote_id):
            return self._stream("add", remote_id, members)
        people = self.settings.lines_per_file
        return files.add(self._calls, remote_id, members, people, afresh=upload.afresh)

    def remove(self, upload: Upload, members: Members) -> Receipt:
        """See `Connector.remove`."""
        if _streamed(upload.remote_id):
            return self._stream("delete", upload.remote_id, members)
        return files.remove(self._calls, upload.remote_id, members, self.settings.lines_per_file)

    def delete_audience(self, remote_id: str) -> None:
        """See `Connector.delete_audience`; TikTok keeps an audience that an ad group uses."""
        audiences.delete(self._calls, _numbers(remote_id), streamed=_streamed(remote_id))

    def statistics(self, remote_id: str) -> Statistics:
        """See `Connector.statistics`; TikTok tells a matched size and never a match rate."""
        return audiences.statistics(self._calls, _numbers(remote_id))

    def account(self) -> str:
        """See `Connector.account`."""
        return self.settings.advertiser_id

    def headers(self) -> Mapping[str, str]:
        """See `Connector.headers`; TikTok has a header of its own."""
        return {"Access-Token": self.settings.access_token.get_secret_value()}

    def explain(self, answer: Answer) -> PartnerError | None:
        """See `Connector.explain`; TikTok says no with HTTP 200, so its code decides."""
        try:
            found = answer.json()
        except TemporaryPartnerError:
            found = None
        return explained(answer, found, super().explain(answer))

    def changed_nothing(self, answer: Answer) -> bool:
        """See `Connector.changed_nothing`; TikTok's code decides here too."""
        by_status = super().changed_nothing(answer)
        try:
            return changed_nothing(answer, answer.json(), by_status)
        except TemporaryPartnerError:
            return by_status

    def _stream(self, action: str, remote_id: str, members: Members) -> Receipt:
        people, size = self.settings.people_per_request, self.settings.bytes_per_request
        return stream.change(self._calls, action, remote_id, members, people, size)


def _numbers(remote_id: str) -> list[str]:
    return [remote_id] if _streamed(remote_id) else list(files.ids(remote_id).values())


def _streamed(remote_id: str) -> bool:
    return remote_id.isascii() and remote_id.isdigit()
