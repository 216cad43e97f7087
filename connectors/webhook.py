"""Any HTTPS endpoint: batches in a body of your own making, signed so that nobody can replay them.

For partners without a connector of their own, and for a retailer's own services.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import time
from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np

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
    TemporaryPartnerError,
    Upload,
)
from connectors._webhook_answer import verdict
from connectors._webhook_body import PROOF, filled, list_id, words_of
from connectors._webhook_settings import (
    BYTES,
    LONGEST_LIST,
    MOST_ROWS_EACH,
    ROWS,
    WebhookSettings,
)

TOO_LARGE = 413  # HTTP
NO_CONTENT = 204  # HTTP

_PLAIN = re.compile(r"[\x21\x23-\x5b\x5d-\x7e]+")  # needs no escaping in JSON


class WebhookConnector(Connector[WebhookSettings]):
    """Posts signed batches; the endpoint's answer is read as far as the settings say how."""

    name = "webhook"
    title = "HTTPS endpoint"
    settings_class = WebhookSettings
    forms: ClassVar[Mapping[Kind, str]] = {
        Kind.EMAIL: "email/plain",
        Kind.PHONE: "phone/e164",
        Kind.IDFA: "device/lower",
        Kind.GAID: "device/lower",
        Kind.EXTERNAL_ID: "external-id/plain",
    }
    limits = Limits(members_per_request=ROWS, bytes_per_request=BYTES)
    needs_consent_signal = True
    recipient = Recipient(name="named by each destination", country="ZZ")

    def __init__(self, settings: WebhookSettings, client: PartnerClient) -> None:
        super().__init__(settings, client)
        self._row = settings.row

    @classmethod
    def sendable(cls, settings: ConnectorSettings) -> Mapping[Kind, str]:
        """See `Connector.sendable`: each destination chooses kinds and forms."""
        return _own(settings).identifiers

    @classmethod
    def limits_of(cls, settings: ConnectorSettings) -> Limits:
        """See `Connector.limits_of`: as many members as surely fit into a request."""
        own = _own(settings)
        return Limits(
            members_per_request=own.rows_with(own.identifiers),
            bytes_per_request=own.bytes_per_request,
            requests_per_minute=own.requests_per_minute,
            parallel_uploads=own.parallel_uploads,
            identifiers_per_member=MOST_ROWS_EACH,
        )

    @classmethod
    def minimum_of(cls, settings: ConnectorSettings) -> int:
        """See `Connector.minimum_of`."""
        return _own(settings).minimum_audience

    @classmethod
    def recipient_of(cls, settings: ConnectorSettings) -> Recipient:
        """See `Connector.recipient_of`."""
        own = _own(settings)
        return Recipient(name=own.recipient_name, country=own.recipient_country)

    def check(self) -> None:
        """See `Connector.check`; without a name for it, nothing is asked and nothing proved."""
        if self.settings.operations.check is not None:
            self._post(self.settings.operations.check, {"batch": "check"})

    def ensure_audience(self, audience: AudienceRequest) -> str:
        """See `Connector.ensure_audience`: the id is ours to choose, and always the same."""
        remote_id = list_id(audience)
        if self.settings.operations.create is not None:
            batch = f"create-{remote_id[-PROOF:]}"
            words = {"list": remote_id, "title": audience.title, "batch": batch}
            self._post(self.settings.operations.create, words)
        return remote_id

    def add(self, upload: Upload, members: Members) -> Receipt:
        """See `Connector.add`."""
        if upload.consent is None:
            raise ConfigurationError("an addition needs to say what its members consented to")
        forms = self.settings.identifiers.items()
        raw = [kind for kind, form in forms if form.endswith("/raw")]
        if not self.settings.allow_unhashed_device_ids and members.has(*raw).any():
            raise ConfigurationError("set allow_unhashed_device_ids, or choose device/lower")
        return self._change(self.settings.operations.add, upload, members)

    def remove(self, upload: Upload, members: Members) -> Receipt:
        """See `Connector.remove`."""
        return self._change(self.settings.operations.remove, upload, members)

    def headers(self) -> Mapping[str, str]:
        """See `Connector.headers`."""
        return {name: value.get_secret_value() for name, value in self.settings.headers.items()}

    def sign(
        self,
        method: str,  # noqa: ARG002 - every request is a POST
        url: str,  # noqa: ARG002 - to one address
        params: Mapping[str, str],  # noqa: ARG002 - without any
        body: bytes | None,
    ) -> Mapping[str, str]:
        """See `Connector.sign`: HMAC-SHA256 over the time, a dot and the body."""
        now = str(int(time.time()))
        key = self.settings.secret.get_secret_value().encode()
        proof = hmac.new(key, now.encode() + b"." + (body or b""), hashlib.sha256).hexdigest()
        return {self.settings.signature_header: f"t={now},v1={proof}"}

    def explain(self, answer: Answer) -> PartnerError | None:
        """See `Connector.explain`: a success is what the settings call one."""
        if answer.status in self.settings.success:
            return self._unreadable(answer)
        if answer.status == TOO_LARGE:
            return RefusedError("the request is too large; lower bytes_per_request", TOO_LARGE)
        return super().explain(answer) or RefusedError(
            "the endpoint answers a status that `success` does not name", answer.status
        )

    def _unreadable(self, answer: Answer) -> PartnerError | None:
        """A web page is no success: it comes from a proxy that never asked the endpoint."""
        if self.settings.answer.form == "any" or answer.status == NO_CONTENT:
            return None
        try:
            answer.json()
        except TemporaryPartnerError as unread:
            return unread
        return None

    def _change(self, operation: str, upload: Upload, members: Members) -> Receipt:
        self._placed(upload.remote_id, members)
        empty = np.flatnonzero(~members.has(*members.kinds)).tolist()
        rejected = [Rejection(position=at, reason="no_usable_identifier") for at in empty]
        missing = 0
        for number, part in enumerate(
            members.parts(self.settings.rows_with(members.kinds)), start=1
        ):
            batch = members.take(part)
            rows = batch.render_slots(
                self._row.cells, before=self._row.before, after=self._row.after
            )
            words = words_of(upload, operation, number) | {"count": len(rows.positions)}
            told = verdict(
                self._post(operation, words, rows.body),
                self.settings.answer,
                batch,
                rows.positions,
            )
            rejected += [
                Rejection(position=int(part[found.position]), reason=found.reason)
                for found in told.rejected
            ]
            missing += told.missing
        missing = min(missing, len(members) - len(rejected))
        return Receipt(
            accepted=len(members) - len(rejected) - missing,
            rejected=tuple(rejected),
            unattributed=missing,
            reference=f"session {upload.session}",
            reason="not_counted" if missing else None,
        )

    def _post(self, operation: str, words: Mapping[str, Any], rows: bytes = b"") -> Answer:
        usual = {"operation": operation, "list": "", "title": "", "count": 0}
        unsaid = {"ad_user_data": None, "ad_personalization": None}
        return self.client.request(
            "POST",
            self.settings.base_url,
            body=filled(self.settings.body, {**usual, **unsaid, **words}, rows),
            headers={self.settings.idempotency_header: words["batch"]},
        )

    def _placed(self, remote_id: str, members: Members) -> None:
        """Whether the list can be named and every identifier has a place to stand in."""
        if not (0 < len(remote_id) <= LONGEST_LIST and _PLAIN.fullmatch(remote_id)):
            raise ConfigurationError(
                f"a list's remote_id has at most {LONGEST_LIST} characters, without blanks, quotes "
                "and backslashes; check it"
            )
        places = {cell.kind for cell in self._row.cells}
        homeless = [
            kind for kind in members.kinds if kind not in places and members.has(kind).any()
        ]
        if homeless:
            raise ConfigurationError(
                f"`member` has no place for {', '.join(homeless)}, which the list holds; keep its "
                "place until it is removed"
            )


def _own(settings: ConnectorSettings) -> WebhookSettings:
    if not isinstance(settings, WebhookSettings):
        raise ConfigurationError("these are not the settings of a webhook")
    return settings
