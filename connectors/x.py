"""X (Twitter): custom audiences of an ads account, and its Do Not Reach List."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any, ClassVar

from audience_sync.connector import (
    Answer,
    AudienceRequest,
    Connector,
    ConnectorSettings,
    Kind,
    Limits,
    Members,
    PartnerError,
    Receipt,
    Recipient,
    RefusedError,
    Statistics,
    TemporaryPartnerError,
    Upload,
    kept_for,
)
from connectors import _x_calls as calls
from connectors._x_calls import XSettings
from connectors._x_wire import UNREACHED, change, day_after, statistics_of
from connectors._x_words import explained, pause

MONTH = 30  # days


class XConnector(Connector[XSettings]):
    """Custom audiences by the Ads API: a request is taken whole or not at all."""

    name = "x"
    title = "X"
    settings_class = XSettings
    lists_in = "account_id"
    forms: ClassVar[Mapping[Kind, str]] = {
        Kind.EMAIL: "email/plain",
        Kind.PHONE: "phone/digits",
        Kind.IDFA: "device/lower",
        Kind.GAID: "device/lower",
    }
    # So many members fill a request when each has two identifiers of every kind.
    limits = Limits(
        members_per_request=7_000, bytes_per_request=5_000_000, requests_per_minute=1_500
    )
    minimum_audience = 100
    reads = ("size",)
    recipient = Recipient(name="X Internet Unlimited Company", country="IE")

    @classmethod
    def sendable(cls, settings: ConnectorSettings) -> Mapping[Kind, str]:
        """See `Connector.sendable`; the phones' form is a setting, since X documents none."""
        form = getattr(settings, "phone_form", cls.forms[Kind.PHONE])
        wanted = {**cls.forms, Kind.PHONE: form}
        return {kind: form for kind, form in wanted.items() if form != "off"}

    @classmethod
    def refresh_after(cls, settings: ConnectorSettings) -> timedelta | None:
        """See `Connector.refresh_after`: a month before X forgets the members."""
        days = getattr(settings, "membership_days", 2 * MONTH)
        return timedelta(days=days - MONTH)

    @classmethod
    def keeps(cls, settings: ConnectorSettings) -> str:
        """See `Connector.keeps`; each upload says when its members end."""
        return kept_for(getattr(settings, "membership_days", 2 * MONTH))

    def account(self) -> str:
        """See `Connector.account`."""
        return self.settings.account_id

    def check(self) -> None:
        """See `Connector.check`; X tells of missing terms only when a list is made."""
        one = {"count": "1"}
        next(calls.pages(self.client, self.settings, "custom_audiences", params=one), None)

    def ensure_audience(self, audience: AudienceRequest) -> str:
        """See `Connector.ensure_audience`; names are unique at X, but no error surely says so."""
        found = calls.find(self.client, self.settings, audience)
        if found is not None:
            return found
        words = {"name": audience.name, "description": f"{audience.title} {audience.marker}"}
        try:
            return calls.id_of(self._post(self._address("custom_audiences", **words)))
        except RefusedError:
            # An earlier attempt made it and its answer was lost, or another run was faster.
            found = calls.find(self.client, self.settings, audience)
            if found is None:
                raise
            return found

    def add(self, upload: Upload, members: Members) -> Receipt:
        """See `Connector.add`; whoever is added again stays for a full term from then on."""
        until = day_after(self.settings.membership_days)
        return change(self.client, self._users(upload), "Update", members, until=until)

    def remove(self, upload: Upload, members: Members) -> Receipt:
        """See `Connector.remove`."""
        return change(self.client, self._users(upload), "Delete", members)

    def withdraw(self, members: Members) -> Receipt | None:
        """See `Connector.withdraw`; nothing unless the destination uses the Do Not Reach List."""
        if not self.settings.do_not_reach:
            return None
        kind = "do_not_reach_lists"  # an account has one at most, whoever made it
        there = next(calls.pages(self.client, self.settings, kind, params={}), None)
        words = {"name": "Do Not Reach List", "description": "people who withdrew"}
        number = calls.id_of(there or self._post(self._address(kind, **words)))
        url = self._address(kind, number, "users", below="batch/accounts")
        until = day_after(self.settings.do_not_reach_days)
        return change(self.client, url, "Update", members, UNREACHED, until)

    def delete_audience(self, remote_id: str) -> None:
        """See `Connector.delete_audience`."""
        calls.delete(self.client, self.settings, remote_id)

    def statistics(self, remote_id: str) -> Statistics:
        """See `Connector.statistics`; the size comes some hours after an upload."""
        url = self._address("custom_audiences", calls.plain(remote_id))
        return statistics_of(calls.data_of(self.client.request("GET", url)))

    def sign(
        self,
        method: str,
        url: str,
        params: Mapping[str, str],
        body: bytes | None,  # noqa: ARG002 - X signs no JSON body
    ) -> Mapping[str, str]:
        """See `Connector.sign`."""
        return calls.signed(self.settings, method, url, params)

    def slow_down(self, answer: Answer) -> float:
        """See `Connector.slow_down`: to the end of a window whose requests are used up."""
        return pause(answer.headers)

    def explain(self, answer: Answer) -> PartnerError | None:
        """See `Connector.explain`; X's code decides, and a web page is not X's own word."""
        plainly = super().explain(answer)
        try:
            found = answer.json()
        except TemporaryPartnerError:
            found = None
        return explained(answer, found, plainly)

    def _post(self, url: str) -> dict[str, Any]:
        return calls.data_of(self.client.request("POST", url))

    def _users(self, upload: Upload) -> str:
        return self._address("custom_audiences", calls.plain(upload.remote_id), "users")

    def _address(self, *parts: str, below: str = "accounts", **params: str) -> str:
        return calls.address(self.settings, *parts, below=below, params=params)
