"""The webhook keeps the contract of connectors."""

from __future__ import annotations

from webhook_fake import WebhookFake, WebhookOtherFake
from webhook_settings import webhook_settings

from audience_sync.connector import ConnectorSettings
from audience_sync.testing.builders import FakePartner, Sent
from audience_sync.testing.contract import ConnectorContract
from connectors.webhook import WebhookConnector


class TestWebhook(ConnectorContract):
    """With every kind, in its usual form."""

    connector_class = WebhookConnector

    def settings(self) -> ConnectorSettings:
        return webhook_settings(
            identifiers=WebhookConnector.forms,
            answer={
                "rejected": "rejected",
                "key": "index",
                "reason": "code",
                "accepted": "accepted",
            },
        )

    def partner(self) -> FakePartner:
        return WebhookFake()

    def harmless(self, sent: Sent) -> bool:
        return bool(sent.json()["operation"] == "check")


class TestWebhookOtherwise(TestWebhook):
    """With a member and an answer of another shape, and small requests."""

    def settings(self) -> ConnectorSettings:
        entries = {kind: {"value": f"{{{{{kind}}}}}"} for kind in WebhookConnector.forms}
        return webhook_settings(
            identifiers=WebhookConnector.forms,
            member={"type": "person", **entries},
            members_per_request=10,
            answer={"rejected": "rejected", "by": "identifier"},
        )

    def partner(self) -> FakePartner:
        return WebhookOtherFake()
