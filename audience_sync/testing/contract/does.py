"""What a connector does at its partner."""

# ruff: noqa: S101 - a contract is made of assertions
from __future__ import annotations

import pytest

from audience_sync.connector import ConfigurationError, Connector, RefusedError, Statistics
from audience_sync.testing.builders import identifiers, made_up_audience, made_up_upload
from audience_sync.testing.contract.bench import Bench

LONGEST_REFERENCE = 1_000  # characters


class Does(Bench):
    """Lists are made once, members arrive and leave, and all are accounted for."""

    def test_check_passes_and_changes_nothing(self) -> None:
        """A check asks, and leaves lists and members alone."""
        connector, partner = self._started()
        before = dict(partner.lists), set(partner.held)
        connector.check()
        assert (partner.lists, partner.held) == before
        assert partner.uploads, "a check that asks nothing proves nothing"
        assert all(self.harmless(sent) for sent in partner.uploads)

    def test_a_list_is_made_once(self) -> None:
        """A list that is ours is found again, not made twice."""
        connector, partner = self._started()
        first = self._ensured(connector)
        made = dict(partner.lists)
        assert made, "no list was made"
        assert self._ensured(connector) == first
        assert partner.lists == made

    def test_a_list_that_is_not_ours_is_left_alone(self) -> None:
        """A list of the same name without our marker is never taken over."""
        connector, partner = self._started()
        partner.plant(made_up_audience().name)
        foreign = set(partner.lists)
        try:
            remote_id = self._ensured(connector)
        except RefusedError:
            return
        assert not any(number in remote_id for number in foreign)

    def test_a_list_that_is_deleted_is_gone(self) -> None:
        """Where lists can be deleted, ours goes and no other; one that is gone is no error."""
        if self.connector_class.delete_audience is Connector.delete_audience:
            return
        connector, partner = self._started()
        partner.plant("somebody else's")
        others = dict(partner.lists)
        remote_id = self._ensured(connector)
        assert partner.lists != others
        for _ in range(2):
            connector.delete_audience(remote_id)
            assert partner.lists == others

    def test_everything_sent_arrives(self) -> None:
        """Each identifier of each member reaches the list, and all members are accounted for."""
        connector, partner = self._started()
        members = self._members(25, slots=2)
        receipt = connector.add(self._upload(connector, members), members)
        assert receipt.sent == len(members)
        assert receipt.accepted == len(members)
        assert partner.held == identifiers(members)

    def test_adding_twice_changes_nothing(self) -> None:
        """A batch that is sent again ends in the same list and the same counts."""
        connector, partner = self._started()
        members = self._members(9)
        upload = self._upload(connector, members)
        first = connector.add(upload, members)
        again = connector.add(upload, members)
        assert (first.accepted, first.sent) == (again.accepted, again.sent)
        assert partner.held == identifiers(members)

    def test_removal_removes_exactly_those(self) -> None:
        """Removed identifiers are gone, the others stay, and unknown ones are no error."""
        connector, partner = self._started()
        members = self._members(12)
        remote_id = self._upload(connector, members).remote_id
        connector.add(self._upload(connector, members), members)
        leaving, staying = members.take(range(5)), members.take(range(5, 12))
        for _ in range(2):
            upload = made_up_upload(remote_id=remote_id, session=77, total=5, consent=None)
            receipt = connector.remove(upload, leaving)
            assert receipt.sent == len(leaving)
            assert partner.held == identifiers(staying)

    def test_counts_add_up_when_members_are_refused(self) -> None:
        """Accepted + rejected + unattributed is what was sent, however many are refused."""
        for bad in ([], [0], [3, 7], list(range(10))):
            connector, partner = self._started()
            members = self._members(10)
            partner.refused = identifiers(members.take(bad)) if bad else set()
            receipt = connector.add(self._upload(connector, members), members)
            assert receipt.sent == len(members)
            final = self._final(connector, receipt)
            assert final.sent == receipt.accepted or final is receipt
            lost = len(receipt.rejected) + receipt.unattributed
            lost += 0 if final is receipt else final.unattributed + len(final.rejected)
            assert lost == len(bad), "members that the partner refused are not accepted"

    def test_rejections_name_the_right_members(self) -> None:
        """A member that is named as rejected is one that the partner found fault with."""
        connector, partner = self._started()
        members = self._members(10)
        partner.refused = identifiers(members.take([2, 8]))
        receipt = connector.add(self._upload(connector, members), members)
        assert {rejection.position for rejection in receipt.rejected} <= {2, 8}
        assert all(rejection.reason for rejection in receipt.rejected)
        assert partner.held == identifiers(members) - partner.refused

    def test_a_later_answer_can_be_polled(self) -> None:
        """A pending receipt has a reference, and polling it accounts for the accepted members."""
        connector, _ = self._started()
        members = self._members(4)
        receipt = connector.add(self._upload(connector, members), members)
        assert receipt.reference is None or len(receipt.reference) <= LONGEST_REFERENCE
        if receipt.pending:
            assert receipt.reference is not None
            assert connector.poll(receipt.reference).sent == receipt.accepted
        else:
            with pytest.raises(ConfigurationError):
                connector.poll("anything")

    def test_statistics_are_a_range(self) -> None:
        """A size is a range in order."""
        connector, _ = self._started()
        found = connector.statistics(self._ensured(connector))
        assert isinstance(found, Statistics)
        if found.size_lower is not None and found.size_upper is not None:
            assert 0 <= found.size_lower <= found.size_upper
