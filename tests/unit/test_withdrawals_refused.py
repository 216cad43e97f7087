"""Withdrawals that a partner refuses, since its list would become too small (L11)."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from itertools import count
from pathlib import Path
from typing import Any, cast

import pytest
from pipeline_world import digest, granted
from withdrawn_world import (
    EVERYBODY,
    PEOPLE,
    WithdrawnWorld,
    answer,
    eight_people,
    takes_nobody_alone,
    written,
)

from audience_sync.cli.show import is_gone
from audience_sync.connector import Members, Receipt
from audience_sync.errors import RefusedError, TemporaryPartnerError
from audience_sync.ledger.records.runs import RunState
from audience_sync.ledger.withdrawal_deliveries import WithdrawalState
from audience_sync.runs.escalation import OnRefusedRemoval

CONFIRMED, ACKNOWLEDGED = WithdrawalState.CONFIRMED, WithdrawalState.ACKNOWLEDGED


@pytest.fixture
def world(tmp_path: Path) -> WithdrawnWorld:
    """Eight people on one list."""
    return eight_people(tmp_path)


def _cells(members: Members) -> set[str]:
    return {cell for row in members.rows(members.kinds) for cell in row if cell}


class TestRefused:
    """Where a list would become too small for its partner."""

    @pytest.fixture(autouse=True)
    def _refusing(self, world: WithdrawnWorld) -> None:
        world.ran()
        takes_nobody_alone(world)

    def test_it_is_told_and_stays_open(self, world: WithdrawnWorld) -> None:
        """Nobody is silently kept: a person learns of it."""
        world.withdraw(email="p1@example.com")
        worked = world.lane_works()
        assert worked.open == 1
        assert "refuses" in worked.reasons[0]
        assert "audience-sync forget vip memory-1" in worked.reasons[0]
        assert digest("p1@example.com") in world.held()

    def test_the_list_is_emptied_and_built_anew(self, world: WithdrawnWorld) -> None:
        """Everybody leaves, and the next sync brings back who may be there."""
        world.policy = OnRefusedRemoval.EMPTY_AND_REBUILD
        world.partner.limits = world.partner.limits.__class__(members_per_request=100)
        world.withdraw(email="p1@example.com")
        world.lane_works()
        assert world.partner.holds == world.held() == set()
        assert world.states() == [CONFIRMED]
        world.ran()
        assert world.partner.holds == EVERYBODY - written("p1@example.com", "+46700000001")

    def test_a_list_that_is_emptied_later_is_asked_for(self, world: WithdrawnWorld) -> None:
        """The emptying is sent once, and what the partner says of it in the end counts."""
        world.policy = OnRefusedRemoval.EMPTY_AND_REBUILD
        world.partner.limits = world.partner.limits.__class__(members_per_request=100)
        usual = world.partner.remove

        def remove(upload: Any, members: Members) -> Receipt:
            found = set(world.partner.holds)
            receipt = usual(upload, members)
            world.partner.holds |= found  # it does it later
            return receipt

        world.partner.remove = remove  # type: ignore[method-assign]
        world.partner.pending = True
        world.withdraw(email="p1@example.com")
        world.lane_works()
        assert world.states() == [ACKNOWLEDGED]
        sent = len(world.partner.calls)
        world.time += timedelta(minutes=5)
        world.lane_works()
        assert len(world.partner.calls) == sent
        world.partner.holds.clear()
        world.partner.answers[f"remove-{sent}"] = Receipt(accepted=len(EVERYBODY))
        world.time += timedelta(minutes=5)
        world.lane_works()
        assert world.states() == [CONFIRMED]
        world.partner.pending = False
        world.ran()
        assert world.partner.holds == EVERYBODY - written("p1@example.com", "+46700000001")

    def test_nobody_is_forgotten_whom_the_partner_may_still_add_to_an_emptied_list(
        self, world: WithdrawnWorld
    ) -> None:
        """It is at work on what a run sent: they are in doubt, but for who withdrew."""
        world.policy = OnRefusedRemoval.EMPTY_AND_REBUILD
        world.partner.limits = world.partner.limits.__class__(members_per_request=100)
        world.write([*PEOPLE, granted("c9", email="p9@example.com")])
        world.partner.pending = True
        assert world.ran().state is RunState.DELIVERED
        world.partner.pending = False
        world.withdraw(email="p1@example.com")
        world.lane_works()
        assert world.partner.holds == set()
        world.partner.holds.add(digest("p9@example.com"))  # now it has done it
        assert world.held() >= world.partner.holds
        assert digest("p1@example.com") not in world.held()
        world.ran()
        left = EVERYBODY - written("p1@example.com", "+46700000001")
        assert world.partner.holds == left | {digest("p9@example.com")}

    def test_nobody_counts_as_held_whom_a_broken_emptying_perhaps_took(
        self, world: WithdrawnWorld
    ) -> None:
        """The partner goes away in the middle of it: the next sync sends everybody again."""
        world.policy = OnRefusedRemoval.EMPTY_AND_REBUILD
        removed = count()

        def remove(upload: Any, members: Members) -> Receipt:
            if len(members) < 3:
                raise RefusedError("the audience would be too small", 400, "40002")
            if next(removed):
                raise TemporaryPartnerError("the partner is away")
            world.partner.holds -= _cells(members)
            return Receipt(accepted=len(members))

        world.partner.remove = remove  # type: ignore[method-assign]
        world.withdraw(email="p1@example.com")
        world.lane_works()
        vars(world.partner).pop("remove")  # as every partner does
        assert 0 < len(world.partner.holds) < len(EVERYBODY)
        world.ran()
        assert world.partner.holds == EVERYBODY - written("p1@example.com", "+46700000001")

    def test_a_plugin_that_counts_wrongly_empties_no_list(self, world: WithdrawnWorld) -> None:
        """Its own mistake is no word of the partner's."""
        world.policy = OnRefusedRemoval.EMPTY_AND_REBUILD

        def remove(upload: Any, members: Members) -> Receipt:
            return Receipt(accepted=len(members) + 1)

        world.partner.remove = remove  # type: ignore[method-assign]
        world.withdraw(email="p1@example.com")
        assert world.lane_works().open == 1
        assert len([line for line in world.log() if line.operation == "withdraw"]) == 2
        assert world.held() == EVERYBODY

    @pytest.mark.parametrize("policy", list(OnRefusedRemoval))
    def test_what_is_refused_after_it_was_taken_is_not_sent_forever(
        self, world: WithdrawnWorld, policy: OnRefusedRemoval
    ) -> None:
        """The third time the project file decides; a person who is to decide reads the reason."""
        vars(world.partner).pop("remove")
        usual, kept = world.partner.remove, set(world.partner.holds)
        world.policy, world.partner.pending = policy, True

        def remove(upload: Any, members: Members) -> Receipt:
            receipt = usual(upload, members)
            if world.partner.holds:  # it keeps whoever is to leave alone
                world.partner.holds |= kept
                lost = Receipt(accepted=0, unattributed=1, lost=True, reason="code 40002")
                world.partner.answers[str(receipt.reference)] = lost
                return receipt
            return replace(receipt, pending=False, reference=None)

        world.partner.remove = remove  # type: ignore[method-assign]
        world.partner.limits = world.partner.limits.__class__(members_per_request=100)
        world.partner.delete_audience = lambda _id: world.partner.holds.clear()  # type: ignore[method-assign]
        world.withdraw(email="p1@example.com")
        for _ in range(6):
            world.time += timedelta(hours=1)
            worked = world.lane_works()
        if policy is OnRefusedRemoval.ALERT:
            assert worked.open == 1
            assert "refused it later, code 40002; it is sent again" in worked.reasons[0]
            assert len(world.partner.removals) == 6
        else:
            assert world.partner.holds == world.held() == set()
            assert world.states() == [CONFIRMED]
            assert len(world.partner.removals) <= 4

    def test_refusals_are_no_longer_counted_once_nobody_who_withdrew_is_held(
        self, world: WithdrawnWorld
    ) -> None:
        """A run took them off in the end: the next withdrawal is asked for, not escalated."""
        vars(world.partner).pop("remove")
        world.partner.pending = True
        world.withdraw(email="p1@example.com")
        for _ in range(4):
            world.lane_works()
            lost = {"accepted": 0, "unattributed": 1, "lost": True}
            answer(world, world.partner.removals, **lost)
        world.partner.pending = False
        world.ran()
        world.lane_works()
        assert world.states() == [CONFIRMED]
        world.policy = OnRefusedRemoval.EMPTY_AND_REBUILD
        world.withdraw(email="p2@example.com")
        world.lane_works()
        assert world.states() == [CONFIRMED] * 2
        left = EVERYBODY - written("p1@example.com", "+46700000001")
        assert world.partner.holds == left - written("p2@example.com", "+46700000002")

    @pytest.mark.parametrize("deletes", [True, False])
    def test_an_emptying_that_is_refused_later_is_not_sent_forever(
        self, world: WithdrawnWorld, *, deletes: bool
    ) -> None:
        """The third time the list is deleted, where it can be; else a person reads the reason."""
        vars(world.partner).pop("remove")
        world.policy, world.partner.pending = OnRefusedRemoval.EMPTY_AND_REBUILD, True
        world.partner.limits = world.partner.limits.__class__(members_per_request=100)

        class Keeping(type(world.partner)):  # type: ignore[misc]
            def remove(self, upload: Any, members: Members) -> Receipt:
                found = set(self.holds)
                receipt = super().remove(upload, members)
                self.holds |= found
                return cast("Receipt", receipt)

        class Deleting(Keeping):
            def delete_audience(self, remote_id: str) -> None:
                self.holds.clear()

        world.partner.__class__ = Deleting if deletes else Keeping
        world.withdraw(email="p1@example.com")
        for _ in range(7):
            worked = world.lane_works()
            answer(world, world.partner.removals, accepted=0, unattributed=1, lost=True)
        if deletes:
            assert world.states() == [CONFIRMED]
            assert world.partner.holds == world.held() == set()
            assert len(world.partner.removals) == 6
        else:
            assert worked.open == 1
            assert "refused it later" in worked.reasons[0]
            assert world.held() == world.partner.holds == EVERYBODY

    def test_who_is_in_doubt_already_is_not_written_again(self, world: WithdrawnWorld) -> None:
        """A partner that never empties a list is asked many times: the membership is as it was."""
        world.policy = OnRefusedRemoval.EMPTY_AND_REBUILD

        def remove(upload: Any, members: Members) -> Receipt:
            raise RefusedError("the audience would be too small", 400, "40002")

        world.partner.remove = remove  # type: ignore[method-assign]
        world.withdraw(email="p1@example.com")
        world.lane_works()
        lists = [path for path in world.files() if "lists" in path.parts]
        world.withdraw(email="p2@example.com")
        world.lane_works()
        assert [path for path in world.files() if "lists" in path.parts] == lists
        assert world.held() == EVERYBODY

    @pytest.mark.parametrize("deletes", [True, False])
    def test_a_list_that_is_not_emptied_either_is_deleted(
        self, world: WithdrawnWorld, *, deletes: bool
    ) -> None:
        """Where the partner deletes lists; else a person is told, and nobody counts as gone."""
        world.policy = OnRefusedRemoval.EMPTY_AND_REBUILD

        def remove(upload: Any, members: Members) -> Receipt:
            raise RefusedError("the audience would be too small", 400, "40002")

        world.partner.remove = remove  # type: ignore[method-assign]
        if deletes:

            class Deleting(type(world.partner)):  # type: ignore[misc]
                def delete_audience(self, remote_id: str) -> None:
                    self.holds.clear()

            world.partner.__class__ = Deleting
        world.withdraw(email="p1@example.com")
        worked = world.lane_works()
        assert world.partner.holds == world.held() == (set() if deletes else EVERYBODY)
        assert (worked.open, len(worked.reasons)) == ((0, 0) if deletes else (1, 1))

    def test_the_list_is_deleted(self, world: WithdrawnWorld) -> None:
        """The next sync makes another."""
        world.policy = OnRefusedRemoval.DELETE
        deleted: list[str] = []

        def delete(remote_id: str) -> None:
            deleted.append(remote_id)
            world.partner.holds.clear()

        world.partner.delete_audience = delete  # type: ignore[method-assign]
        world.withdraw(email="p1@example.com")
        world.lane_works()
        assert deleted == ["1"]
        assert world.held() == set()
        assert world.states() == [CONFIRMED]
        gone = world.ledger.remote_list("vip", "memory-1")
        assert gone.remote_id is None
        assert is_gone(gone, world.ledger.last_run("vip", "memory-1"))
        again = world.ran()
        assert not is_gone(world.ledger.remote_list("vip", "memory-1"), again)
        assert len(world.partner.lists) == 2
        assert world.partner.holds == EVERYBODY - written("p1@example.com", "+46700000001")
