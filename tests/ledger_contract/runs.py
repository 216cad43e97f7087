"""What runs, batches, leases and lists promise on every database."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import timedelta

import pytest
from ledger_contract.builders import NOON, Clock, LedgerContract, batch, full_batch, line, run

from audience_sync.errors import BusyError, ConfigurationError, StateError
from audience_sync.ledger.ledger import Ledger
from audience_sync.ledger.records.runs import BatchState, RemoteList, RunState
from audience_sync.ledger.runs import MOVES


class RunsContract(LedgerContract):
    def test_a_run_comes_back_as_it_was_written(self, ledger: Ledger) -> None:
        """Every field of a run and its batches survives, times with their timezone."""
        full = run(
            state=RunState.HELD,
            started_at=NOON,
            finished_at=NOON + timedelta(seconds=5),
            reason="30 % of the members would leave",
            funnel={"read": 7, "members": 3},
            delta={"added": 3},
            forms={"email": "email/plain@1"},
            generation=4,
            outbox="ab" * 32,
            forced=True,
            approved_by="anna",
            next_attempt_at=NOON,
        )
        batches = [batch(position=0), full_batch(position=1)]

        ledger.create_run(full, batches)

        assert full == ledger.run("r1")
        assert batches == ledger.batches("r1")
        assert list(full.funnel) == list(ledger.run("r1").funnel)

    def test_a_run_is_written_whole_or_not_at_all(self, ledger: Ledger) -> None:
        """A batch that belongs to no run takes its run down with it."""
        with pytest.raises(StateError, match="nothing of it was kept"):
            ledger.create_run(run(), [batch(), batch(run="other")])

        assert ledger.runs() == []
        assert ledger.batches("r1") == []

    def test_a_run_is_created_once(self, ledger: Ledger) -> None:
        """A second run of the same id is refused, and the first stays as it was."""
        ledger.create_run(run(), [batch()])

        with pytest.raises(StateError):
            ledger.create_run(run(audience="other"), [batch(members=1)])

        assert run() == ledger.run("r1")
        assert [batch()] == ledger.batches("r1")

    def test_a_run_is_found_by_the_start_of_its_id(self, ledger: Ledger) -> None:
        """People type as little as they can."""
        ledger.create_run(run("r20261121-aa"), [])
        ledger.create_run(run("r20261121-ab"), [])

        assert ledger.run("r20261121-ab").id == "r20261121-ab"
        with pytest.raises(ConfigurationError, match="several runs start with r20261121-a;"):
            ledger.run("r20261121-a")
        for wrong in ("", "r9", "r2026%", "r20261121_a"):
            with pytest.raises(ConfigurationError, match="audience-sync runs"):
                ledger.run(wrong)

    def test_runs_are_listed_newest_first(self, ledger: Ledger) -> None:
        """Filters combine, and the last run of a list is the newest of them."""
        for minute, (id_, audience, state) in enumerate(
            [
                ("r1", "vip", RunState.CONFIRMED),
                ("r2", "vip", RunState.FAILED),
                ("r3", "new", RunState.CONFIRMED),
            ]
        ):
            planned_at = NOON + timedelta(minutes=minute)
            ledger.create_run(run(id_, audience=audience, state=state, planned_at=planned_at), [])

        def ids(**filters: object) -> list[str]:
            return [found.id for found in ledger.runs(**filters)]

        assert ids() == ["r3", "r2", "r1"]
        assert ids(limit=2) == ["r3", "r2"]
        assert ids(audience="vip", destination="meta-se") == ["r2", "r1"]
        assert ids(states={RunState.CONFIRMED}) == ["r3", "r1"]
        assert ids(states=set()) == []
        assert ids(destination="google-se") == []
        last = ledger.last_run("vip", "meta-se", {RunState.CONFIRMED})
        assert last is not None
        assert last.id == "r1"
        assert ledger.last_run("old", "meta-se") is None

    def test_a_run_moves_only_from_where_it_is_expected(self, ledger: Ledger) -> None:
        """Two workers that both want to deliver: the second is told, and changes nothing."""
        ledger.create_run(run(), [])

        moved = ledger.move_run(
            "r1", RunState.DELIVERING, expect={RunState.PLANNED}, started_at=NOON
        )

        assert run(state=RunState.DELIVERING, started_at=NOON) == moved == ledger.run("r1")
        with pytest.raises(BusyError, match="run r1 is delivering by now"):
            ledger.move_run("r1", RunState.CANCELLED, expect={RunState.PLANNED}, reason="no")
        assert moved == ledger.run("r1")

    @pytest.mark.parametrize("start", RunState)
    @pytest.mark.parametrize("to", RunState)
    def test_a_run_takes_only_legal_ways(
        self, ledger: Ledger, start: RunState, to: RunState
    ) -> None:
        """Whatever a caller expects, no run leaves its end or jumps over a step."""
        ledger.create_run(run(state=start), [])

        if to in MOVES[start]:
            assert to is ledger.move_run("r1", to, expect=set(RunState)).state
        else:
            with pytest.raises((BusyError, ValueError)):
                ledger.move_run("r1", to, expect=set(RunState))
            assert start is ledger.run("r1").state

    @pytest.mark.parametrize("end", [RunState.CONFIRMED, RunState.FAILED, RunState.CANCELLED])
    def test_an_ended_run_forgets_rejected_positions(self, ledger: Ledger, end: RunState) -> None:
        """The counts stay, the positions go with the outbox, however the run ended."""
        ledger.create_run(run(state=RunState.DELIVERED), [full_batch()])

        ledger.move_run("r1", end, expect={RunState.DELIVERED})

        assert [full_batch(rejected_positions=())] == ledger.batches("r1")

    def test_a_run_is_changed_but_for_id_and_state(self, ledger: Ledger) -> None:
        """Unknown names are a programmer's error; unknown runs are the operator's."""
        ledger.create_run(run(), [])

        assert run(reason="later") == ledger.change_run("r1", reason="later")
        for wrong in ({"state": RunState.FAILED}, {"colour": "red"}):
            with pytest.raises(TypeError, match="cannot be changed"):
                ledger.change_run("r1", **wrong)
        with pytest.raises(ConfigurationError, match="no run r7"):
            ledger.change_run("r7", reason="later")
        assert run(reason="later") == ledger.run("r1")

    def test_a_batch_is_written_over_its_older_self(self, ledger: Ledger) -> None:
        """Recording touches the batches that it names and no others."""
        ledger.create_run(run(), [batch(position=0), batch(position=1)])

        assert ledger.record([], [batch(position=1, state=BatchState.ACCEPTED)]) == []

        assert [batch(position=0), batch(position=1, state=BatchState.ACCEPTED)] == (
            ledger.batches("r1")
        )

    def test_run_ids_are_short_and_sort_by_time(self, ledger: Ledger, clock: Clock) -> None:
        """Ids of one moment differ, ids of later moments follow."""
        seen = []
        for _ in range(200):
            seen.append(ledger.new_run_id())
            clock.move(0.1)

        assert seen == sorted(set(seen))
        assert re.fullmatch(r"r20261121-[0-9a-z]{10}", seen[0])
        assert len({ledger.new_run_id() for _ in range(100)}) == 100


class LeasesContract(LedgerContract):
    def test_a_lease_has_one_holder_at_a_time(self, ledger: Ledger, clock: Clock) -> None:
        """The second is told who works and until when; after the end it gets a higher token."""
        first = ledger.take_lease("vip at meta-se", "worker-1", 60)

        assert NOON + timedelta(seconds=60) == first.expires_at
        with pytest.raises(BusyError, match=r"worker-1, at most until 2026-11-21 12:01:00 UTC"):
            ledger.take_lease("vip at meta-se", "worker-2", 60)
        assert ledger.take_lease("vip at google-se", "worker-2", 60).token == 1
        clock.move(60)
        assert first.token < ledger.take_lease("vip at meta-se", "worker-2", 60).token

    def test_a_dead_holder_is_overtaken_at_once(self, ledger: Ledger) -> None:
        """A crash does not cost the rest of the lease; a living holder keeps it."""
        dead = ledger.take_lease("vip", "worker-1", 60)
        with pytest.raises(BusyError):
            ledger.take_lease("vip", "worker-2", 60, alive=lambda holder: holder == "worker-1")

        taken = ledger.take_lease("vip", "worker-2", 60, alive=lambda holder: holder != "worker-1")

        assert taken.token == dead.token + 1
        with pytest.raises(BusyError):
            ledger.record([line()], (), dead)

    def test_tokens_grow_over_releases(self, ledger: Ledger) -> None:
        """A token is never used twice, or a late writer could pass for the new holder."""
        tokens = []
        for holder in ("worker-1", "worker-1", "worker-2"):
            lease = ledger.take_lease("vip", holder, 60)
            tokens.append(lease.token)
            ledger.release_lease(lease)

        assert tokens == sorted(set(tokens))

    def test_a_lease_is_renewed_until_it_is_lost(self, ledger: Ledger, clock: Clock) -> None:
        """A late renewal is fine while nobody took over; then it fails, and so does the release."""
        lease = ledger.take_lease("vip", "worker-1", 60)
        clock.move(90)

        renewed = ledger.renew_lease(lease, 60)

        assert replace(lease, expires_at=NOON + timedelta(seconds=150)) == renewed
        with pytest.raises(BusyError):
            ledger.take_lease("vip", "worker-2", 60)
        clock.move(60)
        second = ledger.take_lease("vip", "worker-2", 60)
        with pytest.raises(BusyError, match="no longer held by worker-1"):
            ledger.renew_lease(renewed, 60)
        ledger.release_lease(renewed)
        assert second.token == ledger.renew_lease(second, 60).token

    def test_a_lost_lease_writes_nothing(self, ledger: Ledger, clock: Clock) -> None:
        """A worker that slept too long can neither move a run nor log nor save a list."""
        ledger.create_run(run(), [batch()])
        stale = ledger.take_lease("vip", "worker-1", 60)
        clock.move(61)
        fresh = ledger.take_lease("vip", "worker-2", 60)
        sent = batch(state=BatchState.SENDING)
        known = RemoteList(audience="lapsed-vip", destination="meta-se", members=5)

        with pytest.raises(BusyError):
            ledger.record([line()], [sent], stale)
        with pytest.raises(BusyError):
            ledger.move_run("r1", RunState.HELD, expect={RunState.PLANNED}, lease=stale)
        with pytest.raises(BusyError):
            ledger.save_remote_list(known, expect_generation=0, lease=stale)

        assert list(ledger.log_lines()) == []
        assert [batch()] == ledger.batches("r1")
        assert run() == ledger.run("r1")
        assert ledger.remote_lists() == []
        assert ledger.record([line()], [sent], fresh) == [1]
        ledger.release_lease(fresh)
        with pytest.raises(BusyError):
            ledger.record([line()], [sent], fresh)


class ListsContract(LedgerContract):
    def test_an_unknown_list_is_empty(self, ledger: Ledger) -> None:
        """No one has to ask whether it is there."""
        assert RemoteList(audience="vip", destination="meta-se") == (
            ledger.remote_list("vip", "meta-se")
        )
        assert ledger.remote_lists() == []

    def test_a_list_comes_back_as_it_was_saved(self, ledger: Ledger) -> None:
        """Every field survives; the time is the ledger's."""
        full = RemoteList(
            audience="vip",
            destination="meta-se",
            remote_id="2385",
            marker="audience-sync:vip",
            creation_intended_at=NOON,
            adopted=True,
            account="1234567890",
            generation=3,
            members=5_000_000_000,
            forms={"email": "email/plain@1"},
            manifest={"files": ["a", "b"], "sizes": {"a": 1}},
            statistics={"low": 100, "high": None},
            refreshed_at=NOON,
        )

        saved = ledger.save_remote_list(full, expect_generation=0)

        assert replace(full, updated_at=NOON) == saved == ledger.remote_list("vip", "meta-se")
        assert [saved] == ledger.remote_lists()
        assert ledger.accounts("meta-se") == {"1234567890"}
        assert ledger.accounts("google-se") == set()

    def test_a_list_is_saved_on_top_of_what_was_read(self, ledger: Ledger) -> None:
        """Of two that read the same generation, the second is told and changes nothing."""
        first = RemoteList(audience="vip", destination="meta-se", generation=1, members=1)
        ledger.save_remote_list(first, expect_generation=0)

        for expected in (0, 2):
            with pytest.raises(BusyError, match="another run changed vip at meta-se"):
                ledger.save_remote_list(replace(first, members=9), expect_generation=expected)
        with pytest.raises(BusyError):
            ledger.save_remote_list(replace(first, audience="new"), expect_generation=1)

        assert ledger.remote_list("vip", "meta-se").members == 1
        second = replace(first, generation=2, members=2)
        ledger.save_remote_list(second, expect_generation=1)
        assert ledger.remote_list("vip", "meta-se").members == 2
