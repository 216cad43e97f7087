"""What a partner is: the class that every connector derives from."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import ClassVar, Generic, TypeVar

from audience_sync.connector.answers import Answer, explain_status, status_changed_nothing
from audience_sync.connector.audiences import AudienceRequest, Statistics, Upload
from audience_sync.connector.client import PartnerClient
from audience_sync.connector.declared import ConnectorSettings, Limits, Recipient
from audience_sync.connector.receipts import Receipt
from audience_sync.errors import AuthenticationError, ConfigurationError, PartnerError
from audience_sync.identifiers.kinds import Kind
from audience_sync.members import Members

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

    @classmethod
    def keeps(cls, settings: ConnectorSettings) -> str:  # noqa: ARG003 - for those who override
        """How long the partner keeps who is on a list that we made, for the record of processing.

        A phrase by the partner's documentation; empty where it says nothing.
        """
        return ""

    def statistics(self, remote_id: str) -> Statistics:  # noqa: ARG002 - for those who override
        """What the partner tells of the list now."""
        return Statistics()
