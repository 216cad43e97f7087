"""Pinterest: customer lists of an ad account, and the audience on top that ads can use."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, ClassVar

from audience_sync.connector import (
    Answer,
    AudienceRequest,
    AuthenticationError,
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
    Statistics,
    TemporaryPartnerError,
    Tokens,
    Upload,
)
from connectors._pinterest_calls import PinterestSettings, numbered, numeric, pages
from connectors._pinterest_lists import on_top, our_list, put_on_top, statistics_of
from connectors._pinterest_wire import Operation, change, without_placeholder
from connectors._pinterest_words import explained

UNAUTHENTICATED = 401  # HTTP
OVER = frozenset(("2", "1104"))  # Pinterest's codes for a token that it takes no more
TRIAL = 1_000  # requests a day


class PinterestConnector(Connector[PinterestSettings]):
    """Customer lists by API v5. `remote_id` names the list; its audience is found by the list."""

    name = "pinterest"
    title = "Pinterest"
    settings_class = PinterestSettings
    lists_in = "ad_account_id"
    forms: ClassVar[Mapping[Kind, str]] = {
        Kind.EMAIL: "email/plain",
        Kind.IDFA: "device/lower",
        Kind.GAID: "device/lower",
    }
    limits = Limits(
        members_per_request=10_000, bytes_per_request=1_000_000, requests_per_minute=400
    )
    minimum_audience = 100
    reads = ("size",)
    recipient = Recipient(name="Pinterest Europe Limited", country="IE")

    def __init__(self, settings: PinterestSettings, client: PartnerClient) -> None:
        super().__init__(settings, client)
        self._tokens = Tokens(settings.grant)

    @classmethod
    def limits_of(cls, settings: ConnectorSettings) -> Limits:
        """See `Connector.limits_of`."""
        day = TRIAL if getattr(settings, "trial_access", False) else None
        return replace(cls.limits, requests_per_day=day)

    def account(self) -> str:
        """See `Connector.account`; Pinterest counts by app."""
        return self.settings.app_id

    def check(self) -> None:
        """See `Connector.check`: app and token are taken, and may see the account's lists."""
        self._tokens.prove(self.client)
        next(pages(self.client, f"{self._account}/customer_lists", "1"), None)

    def ensure_audience(self, audience: AudienceRequest) -> str:
        """See `Connector.ensure_audience`; a list has no description, so its name is marked.

        A list cannot be made empty: it begins with a record that belongs to nobody.
        """
        found = our_list(self.client, self._account, audience)
        number = numeric(str(found.get("id")))
        if found.get("num_batches") in (None, 1):  # nothing happened since it was made
            body = without_placeholder(audience.marker)
            numbered(self.client.request("PATCH", self._list(number), body=body))
        return number

    def add(self, upload: Upload, members: Members) -> Receipt:
        """See `Connector.add`; the last upload waits for Pinterest to be done with the list."""
        receipt = self._change("ADD", upload, members)
        if not upload.last or not receipt.accepted:
            return receipt
        return self._pending(replace(receipt, reference=f"{upload.remote_id}/{receipt.accepted}"))

    def remove(self, upload: Upload, members: Members) -> Receipt:
        """See `Connector.remove`."""
        return self._change("REMOVE", upload, members)

    def poll(self, reference: str) -> Receipt:
        """See `Connector.poll`; a list that is ready gets its audience, which ads need."""
        number, _, accepted = reference.partition("/")
        receipt = Receipt(accepted=int(accepted), reference=reference)
        listed = self._shown(number)
        if listed.get("status") == "TOO_SMALL":
            return replace(receipt, reason="too_small")
        if listed.get("status") != "READY":
            return self._pending(receipt)
        try:
            if on_top(self.client, self._account, number) is None:
                put_on_top(self.client, self._account, listed)
        except RefusedError:  # too small after all; status tells that there is no audience yet
            return self._pending(receipt)
        return receipt

    def statistics(self, remote_id: str) -> Statistics:
        """See `Connector.statistics`; the size is the audience's, since a list tells none."""
        listed = self._shown(remote_id)
        return statistics_of(listed, on_top(self.client, self._account, remote_id))

    def headers(self) -> Mapping[str, str]:
        """See `Connector.headers`; renews the token when it ends soon."""
        return {"Authorization": f"Bearer {self._tokens.current(self.client)}"}

    def refresh(self, error: AuthenticationError) -> bool:
        """See `Connector.refresh`; a renewal uses a refresh token up, and gives nobody a right."""
        if error.status != UNAUTHENTICATED and error.code not in OVER:
            return False
        self._tokens.renew(self.client)
        return True

    def explain(self, answer: Answer) -> PartnerError | None:
        """See `Connector.explain`; Pinterest's code decides, then the status."""
        plainly = super().explain(answer)
        try:
            found = answer.json()
        except TemporaryPartnerError as unread:
            return plainly or unread
        return explained(answer, found, plainly)

    def _change(self, operation: Operation, upload: Upload, members: Members) -> Receipt:
        url, most = self._list(upload.remote_id), self.settings.records_per_request
        return change(self.client, url, operation, members, most)

    def _pending(self, receipt: Receipt) -> Receipt:
        return replace(receipt, pending=True, poll_after=self.settings.poll_after)

    def _shown(self, number: str) -> dict[str, Any]:
        return numbered(self.client.request("GET", self._list(number)))

    @property
    def _account(self) -> str:
        return f"ad_accounts/{self.settings.ad_account_id}"

    def _list(self, remote_id: str) -> str:
        return f"{self._account}/customer_lists/{numeric(remote_id)}"
