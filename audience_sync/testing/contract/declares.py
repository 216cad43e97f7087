"""What a connector declares."""

# ruff: noqa: S101 - a contract is made of assertions
from __future__ import annotations

from audience_sync.connector import Connector, ConnectorSettings, Kind, Limits
from audience_sync.testing.contract.bench import Bench
from audience_sync.testing.imported import imported


class Declares(Bench):
    """Names, forms, limits and who receives."""

    def test_declarations_are_sane(self) -> None:
        """A connector says who receives, in which forms, and how much at a time."""
        kind = self.connector_class
        assert kind.name == kind.name.lower() != "", "a name is lower case"
        assert kind.title, "a title is needed"
        assert issubclass(kind.settings_class, ConnectorSettings)
        assert kind.forms, "a connector that takes no identifier is of no use"
        for wanted, form in kind.forms.items():
            assert wanted in Kind
            assert form.count("/") == 1, "a form is written kind/name"
        assert kind.minimum_audience >= 0
        assert kind.minimum_of(self.settings()) >= 0
        for recipient in (kind.recipient, kind.recipient_of(self.settings())):
            assert recipient.name, "the transfer log names who receives"
            assert len(recipient.country) == 2  # noqa: PLR2004 - ISO 3166 alpha-2
            assert recipient.country.isupper()
        assert kind.keeps(self.settings()).isprintable(), "a record is a page that people read"
        assert set(kind.reads) <= {"size", "match rate"}, "nothing else is read of a list"
        told = {kind.statistics, kind.poll} - {Connector.statistics, Connector.poll}
        assert told or not kind.reads, "what is read of a list comes by statistics or poll"

    def test_limits_are_positive(self) -> None:
        """Limits are numbers that a batch can be cut by."""
        for limits in (
            self.connector_class.limits,
            self.connector_class.limits_of(self.settings()),
        ):
            _check_limits(limits)

    def test_only_the_interface_is_imported(self) -> None:
        """A connector's file imports nothing of audience_sync but `audience_sync.connector`."""
        for module in imported(self.connector_class):
            root = module.partition(".")[0]
            assert root != "audience_sync" or module == "audience_sync.connector", module
            assert root not in {"requests", "tenacity", "celery", "redis", "sqlalchemy"}, module


def _check_limits(limits: Limits) -> None:
    for number in (
        limits.members_per_request,
        limits.parallel_uploads,
        limits.identifiers_per_member,
        limits.batches_per_session,
    ):
        assert number > 0
    for optional in (
        limits.bytes_per_request,
        limits.requests_per_second,
        limits.requests_per_minute,
        limits.requests_per_day,
    ):
        assert optional is None or optional > 0
