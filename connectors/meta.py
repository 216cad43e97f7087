"""Meta: custom audiences of an ad account, for Facebook, Instagram, Messenger, Audience Network."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
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
    TemporaryPartnerError,
    Upload,
    explain_page,
    kept_for,
    page_changed_nothing,
)
from connectors import _meta_audiences as audiences
from connectors._meta_graph import Graph
from connectors._meta_replace import poll
from connectors._meta_settings import MetaSettings
from connectors._meta_tokens import Tokens
from connectors._meta_upload import DEVICES, Uploads
from connectors._meta_wire import ROWS
from connectors._meta_words import (
    SLOW_FROM,
    SLOWEST,
    TERMS,
    explained,
    leaves_doubt,
    usage,
)

SORRY = 400  # HTTP, with which a sick server of Meta's sends a web page, too
OWN_IDS = 90  # days that Meta remembers an external id


class MetaConnector(Connector[MetaSettings]):
    """Custom audiences by the Marketing API.

    Each batch is an upload session of its own: Meta's counters run over a session, so only then
    do they speak of this batch, and no session can close while batches are still to come.
    """

    name = "meta"
    title = "Meta"
    settings_class = MetaSettings
    lists_in = "ad_account_id"
    forms: ClassVar[Mapping[Kind, str]] = {
        Kind.EMAIL: "email/plain",
        Kind.PHONE: "phone/digits",
        Kind.IDFA: "device/raw",
        Kind.GAID: "device/raw",
        Kind.EXTERNAL_ID: "external-id/plain",
    }
    limits = Limits(members_per_request=ROWS, parallel_uploads=4, batches_per_session=1)
    minimum_audience = 100
    reads = ("size",)
    recipient = Recipient(name="Meta Platforms Ireland Limited", country="IE")

    def __init__(self, settings: MetaSettings, client: PartnerClient) -> None:
        super().__init__(settings, client)
        self._tokens = Tokens(settings)

    @classmethod
    def sendable(cls, settings: ConnectorSettings) -> Mapping[Kind, str]:
        """See `Connector.sendable`; external ids only where the destination wants them."""
        wanted = getattr(settings, "send_external_id", False)
        return {
            kind: form for kind, form in cls.forms.items() if wanted or kind is not Kind.EXTERNAL_ID
        }

    @classmethod
    def refresh_after(cls, settings: ConnectorSettings) -> timedelta | None:
        """See `Connector.refresh_after`: by the retention of a list and of external ids."""
        own_ids = OWN_IDS if getattr(settings, "send_external_id", False) else None
        ends = [days for days in (getattr(settings, "retention_days", None), own_ids) if days]
        return timedelta(days=min(ends) * 12 // 13) if ends else None

    @classmethod
    def minimum_of(cls, settings: ConnectorSettings) -> int:
        """See `Connector.minimum_of`."""
        return getattr(settings, "minimum_audience", cls.minimum_audience)

    @classmethod
    def keeps(cls, settings: ConnectorSettings) -> str:
        """See `Connector.keeps`; without `retention_days` Meta's audiences have no end."""
        return kept_for(getattr(settings, "retention_days", None))

    def check(self) -> None:
        """See `Connector.check`: token, account, terms and the right to list audiences."""
        account = self.settings.account
        self._tokens.current(self.client, strict=True)
        found = self._graph.get(account, fields="id,tos_accepted")
        if not (found.get("tos_accepted") or {}).get("custom_audience_tos"):
            raise AuthenticationError(TERMS.sentence.format(tos=self.settings.terms))
        self._graph.get(f"{account}/customaudiences", fields="id", limit="1")

    def ensure_audience(self, audience: AudienceRequest) -> str:
        """See `Connector.ensure_audience`; names are not unique at Meta, so the marker decides."""
        return audiences.ensure(self._graph, audience)

    def add(self, upload: Upload, members: Members) -> Receipt:
        """See `Connector.add`; a list of ours whose members we know no more is replaced."""
        if not self.settings.allow_unhashed_device_ids and members.has(*DEVICES).any():
            raise ConfigurationError(
                "Meta takes device IDs unhashed only; set allow_unhashed_device_ids or leave "
                "them out"
            )
        return self._uploads.add(upload, members)

    def remove(self, upload: Upload, members: Members) -> Receipt:
        """See `Connector.remove`; the identifiers travel in the body, whichever the method."""
        return self._uploads.remove(upload, members)

    def withdraw(self, members: Members) -> Receipt | None:
        """See `Connector.withdraw`: off every list of the ad account, those of others too."""
        if not self.settings.withdraw_everywhere:
            return None
        return self._uploads.remove_everywhere(members)

    def delete_audience(self, remote_id: str) -> None:
        """See `Connector.delete_audience`; refused while lookalike audiences depend on it."""
        audiences.delete(self._graph, remote_id)

    def poll(self, reference: str) -> Receipt:
        """See `Connector.poll`; only a replacement is answered later."""
        return poll(self._graph, reference)

    def statistics(self, remote_id: str) -> Statistics:
        """See `Connector.statistics`; Meta shows a size range and never a match rate."""
        return audiences.statistics(self._graph, remote_id)

    def account(self) -> str:
        """See `Connector.account`; Meta counts by ad account."""
        return self.settings.ad_account_id

    def slow_down(self, answer: Answer) -> float:
        """See `Connector.slow_down`: from three quarters of an allowance on, ever slower."""
        used, _ = usage(answer.headers, self.settings.ad_account_id)
        return SLOWEST * min(max(used - SLOW_FROM, 0.0) / (100.0 - SLOW_FROM), 1.0)

    def changed_nothing(self, answer: Answer) -> bool:
        """See `Connector.changed_nothing`; Meta's troubles of its own come as HTTP 400, too."""
        if not answer.is_json:
            return page_changed_nothing(answer)
        return super().changed_nothing(answer) and not leaves_doubt(self.explain(answer))

    def explain(self, answer: Answer) -> PartnerError | None:
        """See `Connector.explain`; Meta's code decides, since throttles come as HTTP 400."""
        if not answer.is_json:
            sorry = TemporaryPartnerError("Meta answered with a web page; try again", SORRY)
            return sorry if answer.status == SORRY else explain_page(answer)
        found = answer.json()
        failed = isinstance(found, dict) and ("error" in found or found.get("success") is False)
        if not failed:
            return super().explain(answer)
        error = found.get("error")
        return explained(
            answer,
            error if isinstance(error, dict) else {},
            super().explain(answer),
            self.settings.ad_account_id,
            self.settings.terms,
        )

    @property
    def _graph(self) -> Graph:
        return Graph(self.client, self.settings, self._tokens)

    @property
    def _uploads(self) -> Uploads:
        return Uploads(self._graph)
