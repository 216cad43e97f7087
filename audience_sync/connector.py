"""The whole public plugin interface: what a connector declares, receives and answers.

A connector is one file that imports nothing of audience_sync but this module. It never meets
the ledger, a queue, a sleep or a retry, and a raw identifier only where its form is raw and
the destination allows it. `audience_sync.testing.ConnectorContract` proves it.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, ClassVar, Generic, Protocol, TypeVar

from pydantic import BaseModel, ConfigDict, SecretStr

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
    "known_forms",
    "page_changed_nothing",
]


class ConnectorSettings(BaseModel):
    """What a destination sets for its connector in the project file; subclass it.

    A field that holds a secret is a `SecretStr`; the project file then takes it by reference only.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    base_url: str
    allow_unhashed_device_ids: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipient:
    """The controller that receives the members, as the transfer log names it."""

    name: str
    country: str  # ISO 3166 alpha-2


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What one request may hold and how many may run.

    A full batch must fit into `bytes_per_request`, whatever identifiers its members have: the
    contract proves it, and the client sends no larger body.
    """

    members_per_request: int  # further identifiers of one kind count as members
    bytes_per_request: int | None = None
    requests_per_second: int | None = None  # per account, as the two below; see `account`
    requests_per_minute: int | None = None
    requests_per_day: int | None = None
    parallel_uploads: int = 1  # per audience
    identifiers_per_member: int = 10  # more of one person's identifiers are left out
    batches_per_session: int = 100  # after so many batches a new session begins


@dataclass(frozen=True, slots=True, kw_only=True)
class Consent:
    """What the members of an upload said, as partners ask for it; derived from decisions."""

    ad_user_data: bool
    ad_personalization: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class AudienceRequest:
    """The list that must exist at the partner.

    `marker` is text that only we write: a list that carries it in its description is ours (L15).
    """

    name: str
    title: str
    marker: str
    kinds: tuple[Kind, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Upload:
    """One batch on its way: where it goes and its place among the others.

    Batches of one operation travel in sessions: `session` is a positive 63-bit number, `sequence`
    counts from 1 without a gap, and the batch with `last` set is sent after all others of its
    session have been answered.
    """

    remote_id: str
    session: int
    sequence: int
    last: bool
    total: int  # members in the whole session
    consent: Consent | None = None  # None when members are removed
    afresh: bool = False  # the first upload to a list of ours that we know nobody on any more


@dataclass(frozen=True, slots=True, kw_only=True)
class Rejection:
    """A member that the partner named as unusable: its position in the batch and why."""

    position: int
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Receipt:
    """The partner's answer to one upload: `accepted + len(rejected) + unattributed == sent`."""

    accepted: int
    rejected: tuple[Rejection, ...] = ()
    unattributed: int = 0
    reference: str | None = None  # what `poll` needs, at most 1,000 characters
    pending: bool = False  # the partner answers later
    poll_after: float | None = None  # seconds until polling is worth while
    match_range: str | None = None  # in words, e.g. "61-70 %"
    reason: str | None = None  # why members are unattributed, in the partner's own code
    lost: bool = False  # a whole request failed after all, so that the batch is to be sent again

    @property
    def sent(self) -> int:
        """How many members the receipt accounts for."""
        return self.accepted + len(self.rejected) + self.unattributed


@dataclass(frozen=True, slots=True, kw_only=True)
class Statistics:
    """What the partner tells of a list: a size range, a match-rate range, its state in words."""

    size_lower: int | None = None
    size_upper: int | None = None
    match_range: str | None = None
    status: str | None = None
    usable: bool | None = None


_NO_JSON = "the partner answered something that is not JSON; try again later"


@dataclass(frozen=True, slots=True)
class Answer:
    """A partner's HTTP answer."""

    status: int
    headers: Mapping[str, str] = field(repr=False)  # names in lower case
    body: bytes = field(repr=False)

    @property
    def is_json(self) -> bool:
        """Whether the body can be read, as all that an API with JSON says."""
        try:
            self.json()
        except TemporaryPartnerError:
            return False
        return True

    def json(self) -> Any:
        """The body as JSON; a TemporaryPartnerError where a proxy spoke and not the API."""
        import orjson  # noqa: PLC0415 - most plugins never read JSON by themselves

        try:
            return orjson.loads(self.body)
        except orjson.JSONDecodeError:
            raise TemporaryPartnerError(_NO_JSON, self.status) from None


class PartnerClient(Protocol):
    """The one seam through which every byte to a partner passes."""

    def request(
        self,
        method: str,
        url: str,
        *,
        body: bytes | None = None,
        content_type: str = "application/json",
        params: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        repeatable: bool = True,
        anonymous: bool = False,
    ) -> Answer:
        """Send a request and answer a success, or raise the error that `explain` found.

        `url` is absolute, or a path below the destination's `base_url`. Temporary errors are
        retried here, with the same bytes, unless `repeatable` is false. `Connector.headers` is
        added and `Connector.explain` asked on each attempt; `headers` win over it. An `anonymous`
        request, such as the one that fetches a token, carries only its own headers; so does one
        to another server than the destination's.
        """
        ...

    def kept(self, name: str) -> AbstractContextManager[Kept]:
        """A credential of this destination that its partner changes, such as a refresh token.

        Until the block ends no other thread or process holds one of this destination. Encrypted
        where it rests; see `audience_sync.oauth.Tokens` for the usual case.
        """
        ...


S = TypeVar("S", bound=ConnectorSettings)


class Connector(ABC, Generic[S]):
    """A partner. Instances are shared between threads and survive pickling."""

    name: ClassVar[str]  # equals the entry point's name
    title: ClassVar[str]
    settings_class: ClassVar[type[ConnectorSettings]]
    forms: ClassVar[Mapping[Kind, str]]  # the form each kind is wanted in, e.g. "email/plain"
    needs_consent_signal: ClassVar[bool] = False
    lists_in: ClassVar[str] = ""  # the setting that names the account whose lists are filled
    reads: ClassVar[tuple[str, ...]] = ()  # "size", "match rate": what the partner tells of a list
    # What the class declares; an instance has what its destination's settings make of it.
    limits: Limits
    minimum_audience: int = 0
    recipient: Recipient

    def __init__(self, settings: S, client: PartnerClient) -> None:
        self.settings = settings
        self.client = client
        self.limits = self.limits_of(settings)
        self.minimum_audience = self.minimum_of(settings)
        self.recipient = self.recipient_of(settings)

    @abstractmethod
    def check(self) -> None:
        """Prove that the credentials work, lists may be changed and terms are accepted.

        Changes nothing at the partner. Raises the PartnerError that says what to do.
        """

    @abstractmethod
    def ensure_audience(self, audience: AudienceRequest) -> str:
        """The remote id of our list; looks for it (by marker) before it creates one."""

    def complete_audience(self, remote_id: str, audience: AudienceRequest) -> str:  # noqa: ARG002 - for those who override
        """The remote id of a list of ours once it has all parts that these kinds need now.

        Asked before each delivery, so it makes no request where nothing is missing. The parts
        that `remote_id` names stay.
        """
        return remote_id

    @abstractmethod
    def add(self, upload: Upload, members: Members) -> Receipt:
        """Put members on the list. Idempotent."""

    @abstractmethod
    def remove(self, upload: Upload, members: Members) -> Receipt:
        """Take identifiers off the list; unknown ones are no error. Idempotent."""

    def withdraw(self, members: Members) -> Receipt | None:  # noqa: ARG002 - for those who override
        """Tell the partner that people withdrew, beyond taking them off the lists of ours.

        Some partners take people off every list of the account at once, or keep a list of those
        who must not be reached. Idempotent; None where the partner needs nothing more.
        """
        return None

    def delete_audience(self, remote_id: str) -> None:  # noqa: ARG002 - for those who override
        """Delete a list of ours with all on it; one that is gone already is no error.

        Asked only where a removal was refused and the project file decides so.
        """
        raise ConfigurationError(
            f"a list at {self.title} cannot be deleted from here; delete it there by hand, then "
            "`audience-sync forget` it"
        )

    def drop_stale(self, remote_id: str, before: datetime) -> None:
        """Take off whoever was last added before a time, where the partner can be asked to.

        Asked of a list of ours once everybody who is wanted was added since and nobody failed.
        """

    def account(self) -> str:
        """What the partner counts requests by: destinations that say the same share their limits.

        An account's number, say, and nothing secret; empty where each destination counts for
        itself.
        """
        return ""

    def headers(self) -> Mapping[str, str]:
        """Headers for every request, such as the authorisation."""
        return {}

    def sign(
        self,
        method: str,  # noqa: ARG002 - for those who override
        url: str,  # noqa: ARG002 - the same
        params: Mapping[str, str],  # noqa: ARG002 - the same
        body: bytes | None,  # noqa: ARG002 - the same
    ) -> Mapping[str, str]:
        """Headers that prove one request at one moment; asked for anew on each attempt.

        `url` is absolute, without `params`.
        """
        return {}

    def explain(self, answer: Answer) -> PartnerError | None:
        """The error that an answer means, or None; partners with a verdict in the body override.

        The default goes by the HTTP status alone.
        """
        return explain_status(answer)

    def changed_nothing(self, answer: Answer) -> bool:
        """Whether an answer proves that its request put nobody on a list and took nobody off.

        What follows from a proof is believed: who was refused so is not held, and is sent again.
        Partners that refuse with HTTP 200 override; whatever leaves a doubt is no proof.
        """
        return status_changed_nothing(answer.status)

    def refresh(self, error: AuthenticationError) -> bool:  # noqa: ARG002 - for those who override
        """Fetch or forget credentials that were just refused; True when a new attempt may work.

        Not every such error is the token's fault: a right that is missing stays missing.
        """
        return False

    def slow_down(self, answer: Answer) -> float:  # noqa: ARG002 - for those who override
        """Seconds to leave before the next request, where the partner's headers ask for it."""
        return 0.0

    def open(self, remote_id: str) -> None:
        """Called once before the first upload of a delivery."""

    def close(self, remote_id: str) -> None:
        """Called once after the last upload of a delivery."""

    def poll(self, reference: str) -> Receipt:  # noqa: ARG002 - for those who override
        """The receipt so far for an upload that was `pending`."""
        raise ConfigurationError(f"{self.title} answers at once; there is nothing to poll")

    @classmethod
    def sendable(cls, settings: ConnectorSettings) -> Mapping[Kind, str]:  # noqa: ARG003 - for those who override
        """The forms of the kinds that a destination with these settings can be sent.

        Override it where a kind needs a setting of its own. Raw forms are left out elsewhere when
        they are not allowed.
        """
        return cls.forms

    @classmethod
    def limits_of(cls, settings: ConnectorSettings) -> Limits:  # noqa: ARG003 - for those who override
        """The limits of a destination with these settings."""
        return cls.limits

    @classmethod
    def minimum_of(cls, settings: ConnectorSettings) -> int:  # noqa: ARG003 - for those who override
        """The smallest audience that a destination with these settings takes."""
        return cls.minimum_audience

    @classmethod
    def recipient_of(cls, settings: ConnectorSettings) -> Recipient:  # noqa: ARG003 - for those who override
        """Who receives at a destination with these settings."""
        return cls.recipient

    @classmethod
    def refresh_after(cls, settings: ConnectorSettings) -> timedelta | None:  # noqa: ARG003 - for those who override
        """How old the last full upload of a list may be before everybody is sent again.

        For partners that forget members by their own clock; leave a month for failed attempts.
        """
        return None

    def statistics(self, remote_id: str) -> Statistics:  # noqa: ARG002 - for those who override
        """What the partner tells of the list now."""
        return Statistics()


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


def known_forms(kind: Kind) -> list[str]:
    """The names of the forms that a kind can be written in, for settings that choose one."""
    from audience_sync.identifiers.forms import FORMS  # noqa: PLC0415 - most plugins choose none

    return [name for name, form in FORMS.items() if form.takes(kind)]


def status_changed_nothing(status: int) -> bool:
    """Whether an HTTP status says that the partner did nothing: any 4xx, and only these.

    But not 408: some partners send it when they themselves took too long, perhaps in the midst.
    """
    return 400 <= status < 500 and status != 408  # noqa: PLR2004 - HTTP's own boundaries


def explain_status(answer: Answer) -> PartnerError | None:
    """What an HTTP status means when the body says nothing."""
    status = answer.status
    if status < 400:  # noqa: PLR2004 - HTTP's own boundary
        return None
    if status in (408, 425, 429) or status >= 500:  # noqa: PLR2004 - HTTP's own boundary
        wait = answer.headers.get("retry-after", "")
        return TemporaryPartnerError(
            "the partner cannot answer now",
            status,
            retry_after=float(wait) if wait.isdigit() else None,
        )
    if status == 401:  # noqa: PLR2004 - HTTP's own word
        return AuthenticationError("the partner does not accept the credentials", status)
    return RefusedError("the partner refuses the request", status)


def explain_page(answer: Answer) -> PartnerError:
    """What an answer means that the partner's API does not give, such as a web page.

    Where it refuses, a proxy or a wrong address spoke: waiting mends nothing, so the destination
    stops. It is no refusal of the partner's, which could cost a list, but that it is too large.
    """
    found = explain_status(answer)
    if isinstance(found, RefusedError) and answer.status != 413:  # noqa: PLR2004 - HTTP's own word
        return AuthenticationError(
            "something on the way to the partner refuses the request; check the proxy and base_url",
            answer.status,
        )
    return found or TemporaryPartnerError(_NO_JSON, answer.status)


def page_changed_nothing(answer: Answer) -> bool:
    """Whether an answer that is no JSON proves that the request did nothing, as few statuses do.

    A page of another may hide what the partner said behind it.
    """
    return answer.status in (401, 413)
