"""What goes to Google's uploads, as plain values: the parts of an audience and their bodies."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import orjson
from numpy.typing import NDArray

from audience_sync.connector import (
    Cell,
    ConfigurationError,
    Consent,
    Kind,
    Members,
    Rendered,
)

ROWS = 10_000  # members in one request


class Part(NamedTuple):
    """One of the lists that an audience becomes: Google keeps each sort of member apart."""

    name: str
    kinds: tuple[Kind, ...]
    suffix: str = ""


CONTACT = Part("contact", (Kind.EMAIL, Kind.PHONE))
IOS = Part("ios", (Kind.IDFA,), " (iOS)")
ANDROID = Part("android", (Kind.GAID,), " (Android)")
USER = Part("user", (Kind.EXTERNAL_ID,), " (user IDs)")
PARTS = {part.name: part for part in (CONTACT, IOS, ANDROID, USER)}
CELLS = (
    Cell(Kind.EMAIL, b'{"emailAddress":"', b'"}'),
    Cell(Kind.PHONE, b'{"phoneNumber":"', b'"}'),
)


class Place(NamedTuple):
    """One list of an audience; `account` is empty for the destination's first account."""

    part: Part
    account: str
    number: str


def places_of(remote_id: str) -> list[Place]:
    """The lists that a remote id names."""
    found: dict[tuple[str, str], Place] = {}
    for piece in remote_id.split(","):
        place, colon, number = piece.strip().rpartition(":")
        name, _, account = (place if colon else CONTACT.name).partition("@")
        digits = f"{account or 0}{number}"
        if name not in PARTS or not (number and digits.isascii() and digits.isdigit()):
            raise ConfigurationError(
                'a remote_id at Google is a list id, or such as "contact:98,ios:12,android:13"'
            )
        found[name, account] = Place(PARTS[name], account, number)
    return list(found.values())


def written(places: Sequence[Place]) -> str:
    """The remote id of some lists."""
    return ",".join(
        f"{place.part.name}{'@' * bool(place.account)}{place.account}:{place.number}"
        for place in places
    )


class Envelope(NamedTuple):
    """Everything of an upload's body but its members."""

    verb: str
    part: Part
    destinations: list[dict[str, Any]]
    consent: Consent | None = None  # None when members are removed

    def pieces(self, members: Members) -> Iterator[NDArray[np.int64]]:
        """Positions of the members that this part takes, cut as requests can hold them."""
        chosen = members.only(*self.part.kinds)
        if self.part is USER:  # one id is one row there
            yield from chosen.parts(ROWS)
        elif chosen.has(*self.part.kinds).any():
            yield np.flatnonzero(chosen.has(*self.part.kinds))

    def rows(self, batch: Members) -> Rendered:
        """One member an object, with all its identifiers where Google takes several."""
        if self.part is CONTACT:
            return batch.render(
                CELLS, before=b'{"compositeData":{"userData":{"userIdentifiers":[', after=b"]}}}"
            )
        cells = [Cell(kind) for kind in self.part.kinds]
        if self.part is USER:
            return batch.render_slots(cells, before=b'{"userIdData":{"userId":', after=b"}}")
        return batch.render(cells, before=b'{"mobileData":{"mobileIds":[', after=b"]}}")

    def around(self, rows: bytes, *, validate_only: bool) -> bytes:
        """The whole body."""
        encoding = {"encoding": "HEX"} if self.part is CONTACT else {}
        rest = {**self._said(), **encoding, "validateOnly": validate_only}
        return b"".join(
            (
                b'{"destinations":',
                orjson.dumps(self.destinations),
                b',"audienceMembers":[',
                rows,
                b"],",
                orjson.dumps(rest)[1:],
            )
        )

    def _said(self) -> dict[str, Any]:
        """What an upload says about consent and terms; user ids need no Customer Match terms."""
        if self.consent is None:
            return {}
        words = {True: "CONSENT_GRANTED", False: "CONSENT_DENIED"}
        consent = {
            "adUserData": words[self.consent.ad_user_data],
            "adPersonalization": words[self.consent.ad_personalization],
        }
        terms = {"termsOfService": {"customerMatchTermsOfServiceStatus": "ACCEPTED"}}
        return {"consent": consent} | ({} if self.part is USER else terms)
