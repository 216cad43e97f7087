"""What a partner is that is told of orders."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import ClassVar

from audience_sync.connector.audiences import AudienceRequest, Upload
from audience_sync.connector.base import Connector, S
from audience_sync.connector.declared import ConnectorSettings
from audience_sync.connector.receipts import Receipt
from audience_sync.errors import ConfigurationError
from audience_sync.identifiers.kinds import Kind
from audience_sync.members import Members
from audience_sync.orders import Orders


class OrderConnector(Connector[S]):
    """A partner that is told of orders; it takes audiences too where it overrides their methods.

    `limits.members_per_request` counts order lines; an order is never cut, so that one with more
    lines travels alone.
    """

    forms: ClassVar[Mapping[Kind, str]] = {}
    needs: ClassVar[tuple[str, ...]] = ("click_id",)  # columns without which nothing is reported

    @abstractmethod
    def report(self, orders: Orders) -> Receipt:
        """Tell the partner of orders; the receipt counts orders and is never pending.

        A correction or cancellation brings the signed differences to what was reported before.
        Each batch is given once, unless `repeatable` says that twice does no harm: so requests are
        sent with `repeatable=False` then, and a rejection means that nothing of an order was taken.
        Orders that were taken in part are `unattributed`. An `UnreachedError` says that nothing
        arrived; after any other temporary error nobody knows.
        """

    @classmethod
    def needs_of(cls, settings: ConnectorSettings) -> tuple[str, ...]:  # noqa: ARG003 - for those who override
        """The columns without which a destination with these settings can count nothing."""
        return cls.needs

    def repeatable(self) -> bool:
        """Whether a batch that is reported twice counts once."""
        return False

    def arrived(self, orders: Orders) -> bool | None:  # noqa: ARG002 - for those who override
        """Whether a batch whose answer was never seen has arrived; None where nobody can tell."""
        return None

    def ensure_audience(self, audience: AudienceRequest) -> str:  # noqa: ARG002 - for those who override
        """See `Connector.ensure_audience`; refused by partners that take orders alone."""
        raise self._no_audiences()

    def add(self, upload: Upload, members: Members) -> Receipt:  # noqa: ARG002 - for those who override
        """See `Connector.add`; refused by partners that take orders alone."""
        raise self._no_audiences()

    def remove(self, upload: Upload, members: Members) -> Receipt:  # noqa: ARG002 - for those who override
        """See `Connector.remove`; refused by partners that take orders alone."""
        raise self._no_audiences()

    def _no_audiences(self) -> ConfigurationError:
        return ConfigurationError(f"{self.title} takes orders, not audiences; name it in `orders:`")
