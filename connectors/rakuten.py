"""Rakuten Advertising: affiliate orders, one by one to the tracking endpoint or as files by SFTP.

Rakuten takes no customer lists. What a retailer sends are orders that came by an affiliate's link:
line items in minor units, corrections and cancellations as negative ones.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal, Self
from urllib.parse import urlencode

from pydantic import Field, model_validator

from audience_sync.connector import (
    Answer,
    ConnectorSettings,
    Country,
    Limits,
    OrderConnector,
    Orders,
    PartnerError,
    Receipt,
    Recipient,
    RefusedError,
    Rejection,
)
from connectors._rakuten_drop import Drop, DropSettings
from connectors._rakuten_words import counted_nothing, explained, verdict

MINUTE = "%Y%m%d_%H%M"  # how the endpoint writes a time, in UTC
LONGEST_REQUEST = 7_000  # characters; none is documented, and servers commonly stop at 8,192
LONGEST_CLICK = 34  # characters of a ranSiteID
TOO_LONG = "the order is too long for one request; send it by file"
NO_CLICK = (
    f"the click id is longer than {LONGEST_CLICK} characters, so that it is none of Rakuten's"
)
TOO_LATE = "the click was after the order; correct landed_at in the source"
UNREADABLE = "Rakuten cannot read the order"
BAD_REQUEST = 400  # HTTP


class RakutenSettings(ConnectorSettings):
    """A destination at Rakuten: one merchant.

    Who receives depends on the contract, so both can be changed.
    """

    base_url: str = "https://track.linksynergy.com"
    merchant_id: str = Field(pattern=r"^\d{1,10}$")
    send_by: Literal["endpoint", "sftp"] = "endpoint"
    tracking_path: str = "ep"
    source: str = "audience-sync"
    customer_reference_length: int = Field(32, ge=16, le=64)  # hex digits of the keyed reference
    # Rakuten does not document whether an order that it is told of twice counts once. True sends
    # again what has no answer, instead of waiting for a person.
    repeats_count_once: bool = False
    longest_request: int = Field(LONGEST_REQUEST, ge=500)
    sftp: DropSettings | None = None
    recipient_name: str = "Rakuten Marketing LLC"
    recipient_country: Country = "US"

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if self.send_by == "sftp" and self.sftp is None:
            raise ValueError("send_by: sftp needs the server; write sftp: with its host below it")
        return self


class RakutenConnector(OrderConnector[RakutenSettings]):
    """Orders by the real-time endpoint (`send_by: endpoint`) or by files (`send_by: sftp`)."""

    name = "rakuten"
    title = "Rakuten Advertising"
    settings_class = RakutenSettings
    limits = Limits(members_per_request=1, parallel_uploads=4)
    recipient = Recipient(name="Rakuten Marketing LLC", country="US")
    needs: ClassVar[tuple[str, ...]] = ("click_id", "landed_at")

    def __init__(self, settings: RakutenSettings, client: Any) -> None:
        super().__init__(settings, client)
        self._known = False  # whether an answer has shown that the merchant is right

    def check(self) -> None:
        """Log in and look at the folder of a server for files.

        The endpoint knows no request that is not an order, so nothing is asked of it.
        """
        if self.settings.send_by == "sftp":
            self._drop.look()

    def report(self, orders: Orders) -> Receipt:
        """See `OrderConnector.report`."""
        if self.settings.send_by == "sftp":
            self._drop.put(orders)
            return Receipt(accepted=len(orders), reference=orders.name)
        return self._call(orders)

    def repeatable(self) -> bool:
        """As the settings say; a file by its own name does not arrive twice."""
        return self.settings.repeats_count_once

    def arrived(self, orders: Orders) -> bool | None:
        """A file is there under its name, or under that of an unfinished one; else nobody knows."""
        return self._drop.arrived(orders) if self.settings.send_by == "sftp" else None

    def explain(self, answer: Answer) -> PartnerError | None:
        """The endpoint answers 200 for refusals too, in XML."""
        return explained(answer)

    def changed_nothing(self, answer: Answer) -> bool:
        """See `Connector.changed_nothing`; the verdict in the XML decides, too."""
        return super().changed_nothing(answer) or counted_nothing(answer)

    @classmethod
    def limits_of(cls, settings: ConnectorSettings) -> Limits:
        """One order a call, or as many lines as a file may have."""
        if isinstance(settings, RakutenSettings) and settings.send_by == "sftp" and settings.sftp:
            return Limits(members_per_request=settings.sftp.lines_per_file)
        return cls.limits

    @classmethod
    def needs_of(cls, settings: ConnectorSettings) -> tuple[str, ...]:
        """A file has no column for the time of the click."""
        by_file = isinstance(settings, RakutenSettings) and settings.send_by == "sftp"
        return ("click_id",) if by_file else cls.needs

    @classmethod
    def recipient_of(cls, settings: ConnectorSettings) -> Recipient:
        """The company of the contract."""
        if not isinstance(settings, RakutenSettings):
            return cls.recipient
        return Recipient(name=settings.recipient_name, country=settings.recipient_country)

    @property
    def _drop(self) -> Drop:
        if self.settings.sftp is None:
            raise RefusedError("Rakuten's file server is not set; write sftp: with its host")
        return Drop(self.settings.sftp, self.settings.merchant_id)

    def _call(self, orders: Orders) -> Receipt:
        params = self._params(orders)
        unfit = self._unfit(params)
        if unfit is not None:
            return _rejected(orders, unfit)
        again = self.settings.repeats_count_once
        try:
            answer = self.client.request(
                "GET", self.settings.tracking_path, params=params, repeatable=again
            )
        except RefusedError as error:
            # Rakuten answers 400 to a wrong merchant and to a wrong order alike. Once an order of
            # this merchant was taken, it is the order.
            if error.status == BAD_REQUEST and self._known:
                return _rejected(orders, UNREADABLE)
            raise
        receipt = verdict(answer, orders.lines)
        self._known = self._known or bool(receipt.accepted)
        return receipt

    def _unfit(self, params: Mapping[str, str]) -> str | None:
        """Why Rakuten could not read an order: it answers so to a wrong merchant, too."""
        if len(urlencode(params)) > self.settings.longest_request:
            return TOO_LONG
        if len(params.get("tr", "")) > LONGEST_CLICK:
            return NO_CLICK
        return TOO_LATE if params.get("land", "") > params.get("date", "") else None

    def _params(self, orders: Orders) -> Mapping[str, str]:
        """One order as the endpoint's pairs; line items are lists joined by bars."""
        customer, status, click, currency, order = (
            orders.each(name)[0]
            for name in ("customer", "customer_status", "click_id", "currency", "order_id")
        )
        names = zip(orders.column("name"), orders.column("sku"), strict=True)
        found = {
            "mid": self.settings.merchant_id,
            "ord": order,
            "tr": click,
            "land": orders.moments("landed_at", MINUTE)[0],
            "date": orders.moments("ordered_at", MINUTE)[0],
            "skulist": _list(orders.column("sku")),
            "qlist": _list(orders.column("quantity")),
            "namelist": _list(name or sku for name, sku in names),
            "amtlist": _list(orders.column("amount")),
            "cur": currency,
            "custid": customer and customer[: self.settings.customer_reference_length],
            "custstatus": status and status.upper(),
            "xml": "1",
            "source": self.settings.source,
        }
        return {name: value for name, value in found.items() if value is not None}


def _list(values: Any) -> str:
    return "|".join(str(value).replace("|", " ") for value in values)


def _rejected(orders: Orders, reason: str) -> Receipt:
    rejected = tuple(Rejection(position=at, reason=reason) for at in range(len(orders)))
    return Receipt(accepted=0, rejected=rejected)
