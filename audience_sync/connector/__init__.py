"""The whole public plugin interface: what a connector declares, receives and answers.

A connector is one file that imports nothing of audience_sync but what is named here, from here. It
never meets the ledger, a queue, a sleep or a retry, and a raw identifier only where its form is
raw and the destination allows it. `audience_sync.testing.ConnectorContract` proves it.
"""

from pydantic import SecretStr

from audience_sync.connector.answers import Answer, explain_page, page_changed_nothing
from audience_sync.connector.audiences import AudienceRequest, Consent, Statistics, Upload
from audience_sync.connector.base import Connector
from audience_sync.connector.client import PartnerClient
from audience_sync.connector.declared import (
    ConnectorSettings,
    Country,
    Limits,
    Recipient,
    kept_for,
    known_forms,
)
from audience_sync.connector.orders import OrderConnector
from audience_sync.connector.receipts import Receipt, Rejection
from audience_sync.errors import (
    AudienceSyncError,
    AuthenticationError,
    ConfigurationError,
    PartnerError,
    RefusedError,
    TemporaryPartnerError,
    UnreachedError,
)
from audience_sync.identifiers.kinds import Kind
from audience_sync.members import Cell, Members, Rendered
from audience_sync.oauth import Grant, Kept, Tokens
from audience_sync.orders import OrderCell, Orders

__all__ = [
    "Answer",
    "AudienceRequest",
    "AudienceSyncError",
    "AuthenticationError",
    "Cell",
    "ConfigurationError",
    "Connector",
    "ConnectorSettings",
    "Consent",
    "Country",
    "Grant",
    "Kept",
    "Kind",
    "Limits",
    "Members",
    "OrderCell",
    "OrderConnector",
    "Orders",
    "PartnerClient",
    "PartnerError",
    "Receipt",
    "Recipient",
    "RefusedError",
    "Rejection",
    "Rendered",
    "SecretStr",
    "Statistics",
    "TemporaryPartnerError",
    "Tokens",
    "UnreachedError",
    "Upload",
    "explain_page",
    "kept_for",
    "known_forms",
    "page_changed_nothing",
]
