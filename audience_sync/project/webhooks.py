"""`webhooks:` in the project file: who may send withdrawals by HTTP, and how their words are read.

What a consent platform sends was not verified with an account of our own, so every path and word of
it is a setting; the defaults are what the platforms' public pages and examples showed in 2026-11.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from hashlib import sha256
from hmac import compare_digest
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, SecretStr, model_validator

from audience_sync.period import Period
from audience_sync.project.document import Findings, Place
from audience_sync.project.source import Section
from audience_sync.project.values import PeriodValue
from audience_sync.project.wording import nearest

WEBHOOKS = "webhooks"
ALL, NONE = "all", "none"
SHORTEST_SECRET = 16  # characters
_TWO_SENDERS = (
    "give each sender its own secret, since a request of one would be believed at the address of "
    "the other"
)
_ONE_SENDER = (
    "make a new secret for one of them, or take one out: as it is, the secret stays good when "
    "either name is taken out"
)

SubjectKind = Literal["customer_id", "email", "phone", "device"]


def _long_enough(secret: SecretStr) -> SecretStr:
    # An empty one was told already, together with the reference that gave it.
    if 0 < len(secret.get_secret_value()) < SHORTEST_SECRET:
        raise ValueError(f"is shorter than {SHORTEST_SECRET} characters; `openssl rand -hex 32`")
    return secret


Key = Annotated[SecretStr, AfterValidator(_long_enough)]
Path = Annotated[str, Field(pattern=r"^[A-Za-z0-9_$-]+(\.[A-Za-z0-9_$-]+)*$")]
KeyName = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]


class Platform(Section):
    """A consent platform: how it proves who it is, and where its receipts say what we need."""

    keys: dict[KeyName, Key] = Field(
        default_factory=dict, description="secrets that sign its requests, by a name of your own"
    )
    authorization: tuple[SecretStr, ...] = Field(
        (), description="whole values of its Authorization header, where it cannot sign"
    )
    subject: dict[SubjectKind, Path] = Field(
        min_length=1, description="which identifier a receipt holds, and the path to it"
    )
    decisions: Path = Field(description="path to the list of answers, one for each purpose")
    purpose: Path = Field(description="path to a purpose's id, within an answer")
    answer: Path = Field(description="path to what was answered, within an answer")
    refused: tuple[str | bool, ...] = Field(min_length=1, description="answers that withdraw")
    granted: tuple[str | bool, ...] = Field((), description="answers that withdraw nothing")
    at: Path | None = Field(None, description="path to the time of the receipt")
    purposes: dict[str, Literal["all", "none"] | tuple[str, ...]] = Field(
        min_length=1,
        description="id of a purpose: all, none, or a list of partners such as [meta]",
    )
    other_purposes: Literal["refuse", "ignore"] = Field(
        "refuse", description="what becomes of a receipt that withdraws only unknown purposes"
    )

    @model_validator(mode="after")
    def _proved(self) -> Self:
        if not self.keys and not self.authorization:
            raise ValueError("write keys: or authorization:, or anybody could withdraw for others")
        if set(map(_word, self.refused)) & set(map(_word, self.granted)):
            raise ValueError("an answer stands under both refused: and granted:; keep one")
        return self


class OneTrust(Platform):
    """Consent-receipt events as public examples of OneTrust integrations show them."""

    subject: dict[SubjectKind, Path] = Field(
        default={"email": "payload.dataSubjectEmail"}, min_length=1
    )
    decisions: Path = "payload.profiles"
    purpose: Path = "purposeId"
    answer: Path = "profileFields.TransactionStatus"
    refused: tuple[str | bool, ...] = (
        "WITHDRAWN", "OPT_OUT", "HARD_OPT_OUT", "NOTGIVEN", "NO_CONSENT", "EXPIRED", "CANCEL",
    )  # fmt: skip
    granted: tuple[str | bool, ...] = (
        "ACTIVE", "ALWAYS_ACTIVE", "CONFIRMED", "EXTEND", "PENDING", "CHANGE_PREFERENCES",
        "NO_CHOICE",
    )  # fmt: skip
    at: Path | None = "eventTime"


class Usercentrics(Platform):
    """The consent webhook as the page "Consent Webhook" of Usercentrics's support shows it."""

    subject: dict[SubjectKind, Path] = Field(default={"customer_id": "controller_id"}, min_length=1)
    decisions: Path = "consents"
    purpose: Path = "dps_id"
    answer: Path = "consent_status"
    refused: tuple[str | bool, ...] = (False,)
    granted: tuple[str | bool, ...] = (True,)
    at: Path | None = "timestamp"


class Webhooks(Section):
    """Who may send withdrawals by HTTP, and how much at a time."""

    keys: dict[KeyName, Key] = Field(
        default_factory=dict,
        description="secrets that sign requests to /v1/withdrawals, by a name of your own; "
        "several while you change from one to another",
    )
    tolerance: Annotated[int, Field(strict=True, ge=1, le=3600)] = Field(
        300, description="seconds by which the clock of a sender may differ from ours"
    )
    remember: PeriodValue = Field(
        Period(7, "day"),
        description="how long a request that comes again is known, and its receipt can be asked",
        json_schema_extra={"default": "7 days"},
    )
    body_limit: Annotated[int, Field(strict=True, ge=1_000, le=50_000_000)] = Field(
        5_000_000, description="bytes of the largest body"
    )
    batch_limit: Annotated[int, Field(strict=True, ge=1, le=100_000)] = Field(
        10_000, description="withdrawals in one request"
    )
    requests_per_minute: Annotated[int, Field(strict=True, ge=1)] = Field(
        600, description="requests of each sender; more are answered 429"
    )
    onetrust: OneTrust | None = Field(None, description="receipts of OneTrust, at /v1/onetrust")
    usercentrics: Usercentrics | None = Field(
        None, description="consents of Usercentrics, at /v1/usercentrics"
    )

    @model_validator(mode="after")
    def _somebody(self) -> Self:
        if not (self.keys or self.platforms):
            raise ValueError("write keys:, onetrust: or usercentrics:, or take this section out")
        return self

    @property
    def platforms(self) -> dict[str, Platform]:
        """The consent platforms that may send, by the last word of their address."""
        found = {"onetrust": self.onetrust, "usercentrics": self.usercentrics}
        return {name: platform for name, platform in found.items() if platform is not None}


def check_webhooks(found: Webhooks, connectors: Iterable[str], findings: Findings) -> None:
    """Every purpose leads to partners that there are."""
    known = sorted(connectors)
    for name, platform in found.platforms.items():
        for purpose, partners in platform.purposes.items():
            place: Place = (WEBHOOKS, name, "purposes", purpose)
            for partner in () if isinstance(partners, str) else partners:
                if partner not in known:
                    findings.add(place, f"{partner} is no connector; {nearest(partner, known)}")
            if not partners:
                findings.add(place, "name partners such as [meta], or write all or none")


def check_senders(found: Webhooks, findings: Findings) -> None:
    """No secret stands there twice.

    A signature does not name the address, so two senders of one secret are believed as each other.
    Of two names of one sender the older would be taken out in vain: its secret stays good.
    """
    known: list[tuple[str, Place, bytes]] = []
    for sender, place, secret in _secrets(found):
        digest = sha256(secret.get_secret_value().encode()).digest()
        same = [(who, at) for who, at, other in known if compare_digest(digest, other)]
        if same:
            who, at = same[0]
            told = f"is the secret of {'.'.join(map(str, at))}, too; "
            findings.add(place, told + (_ONE_SENDER if who == sender else _TWO_SENDERS))
        known.append((sender, place, digest))


def _secrets(found: Webhooks) -> Iterator[tuple[str, Place, SecretStr]]:
    """Whose each is, and where it is written; absent ones were told already."""
    senders: dict[str, Webhooks | Platform] = {"": found, **found.platforms}
    for name, sender in senders.items():
        place: Place = (WEBHOOKS, name) if name else (WEBHOOKS,)
        written: list[tuple[Place, SecretStr]] = [
            ((*place, "keys", key), secret) for key, secret in sender.keys.items()
        ]
        if isinstance(sender, Platform):
            headers = enumerate(sender.authorization)
            written += [((*place, "authorization", at), secret) for at, secret in headers]
        yield from ((name, at, secret) for at, secret in written if secret.get_secret_value())


def _word(answer: str | bool) -> str:
    return str(answer).upper()
