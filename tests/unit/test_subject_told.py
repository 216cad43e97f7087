"""What somebody who asks is told of lists that lost them, and of withdrawals: nothing untrue."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pipeline_world import granted
from withdrawn_world import WithdrawnWorld, takes_nobody_alone

from audience_sync.customers.look_up import customer_row
from audience_sync.errors import ConfigurationError
from audience_sync.identifiers.kinds import Kind
from audience_sync.period import Period
from audience_sync.runs.escalation import OnRefusedRemoval
from audience_sync.runs.lane import Lane
from audience_sync.runs.subject import Findings, Person, Subjects
from audience_sync.runs.sync import Pipeline
from audience_sync.runs.traces import Leavers

KEY = b"f" * 32


def email(number: int) -> str:
    return f"p{number}@example.com"


class AskedWorld(WithdrawnWorld):
    """Six people, one list; whoever leaves is remembered, and everybody may ask."""

    def __init__(self, folder: Path, **options: Any) -> None:
        super().__init__(folder, **options)
        self.leavers = Leavers(self.ledger, KEY, self.now, Period(1, "year"))
        self.write([granted(f"c{n}", email=email(n)) for n in range(6)])

    def lane(self, holder: str = "lane:1") -> Lane:
        """The same, with a memory."""
        return dataclasses.replace(super().lane(holder), leavers=self.leavers)

    def pipeline(self) -> Pipeline:
        """The same, with a memory."""
        made = super().pipeline()
        settlement = dataclasses.replace(made.deliverer.settlement, leavers=self.leavers)
        return dataclasses.replace(
            made,
            deliverer=dataclasses.replace(made.deliverer, settlement=settlement),
            confirmer=dataclasses.replace(made.confirmer, settlement=settlement),
        )

    def ask(self, **person: Any) -> Findings:
        """What is known of somebody."""
        return Subjects(
            ledger=self.ledger,
            location=self.location,
            keyring=self.keyring,
            fingerprint_keys=[KEY],
            identity={Kind.EMAIL: "email/plain"},
            hashed={},
            known_by_id=False,
            default_country="SE",
            partner_of=lambda _destination: "memory",
            look_up=lambda customer: customer_row(self.selection().source, customer),
            now=self.now,
        ).find(Person(**person))

    def keeps_few(self) -> None:
        """The partner takes nobody off alone from now on."""
        takes_nobody_alone(self)
        self.partner.limits = dataclasses.replace(self.partner.limits, members_per_request=9)
        self.policy = OnRefusedRemoval.EMPTY_AND_REBUILD


@pytest.fixture
def world(tmp_path: Path) -> AskedWorld:
    """Six people on one list."""
    return AskedWorld(tmp_path)


def _refuses(world: AskedWorld) -> None:
    people = [granted(f"c{n}", email=email(n)) for n in range(6)]
    world.write([people[0] | {"consent": "denied"}, *people[1:]])
    world.sync()


def _withdraws(world: AskedWorld) -> None:
    world.withdraw(email=email(0))
    world.lane_works()


@pytest.mark.parametrize("leave", [_withdraws, _refuses])
def test_whoever_was_taken_off_with_everybody_is_told_so(
    world: AskedWorld, leave: Callable[[AskedWorld], None]
) -> None:
    """It was somebody else who withdrew, or refused; only that one is told of a withdrawal."""
    world.ran()
    world.keeps_few()
    leave(world)
    [told] = world.ask(email=email(3)).before
    assert (told.because, told.withdrawal) == ("list emptied", None)
    assert (told.run is None) == (leave is _withdraws)
    if leave is _withdraws:
        found = world.ask(email=email(0))
        [theirs] = found.before
        assert theirs.because == "withdrawn"
        assert theirs.withdrawal is not None


def test_a_new_address_is_told_as_one(world: AskedWorld) -> None:
    """Whoever asks by what stayed, too, learns that the old one was replaced; others just left."""
    people = [granted(f"c{n}", email=email(n), phone=f"+4670000000{n}") for n in range(6)]
    world.write(people)
    world.ran()
    world.write([people[0] | {"email": "new@example.com"}, *people[2:]])
    run = world.ran().id
    [told] = world.ask(email=email(0), customer_id="c0").before
    assert (told.because, told.run) == ("replaced", run)
    [told] = world.ask(email=email(1)).before
    assert (told.because, told.run) == (None, run)


def test_a_withdrawal_is_told_with_its_partner_and_whether_a_grant_lifted_it(
    world: AskedWorld,
) -> None:
    """One that concerns another partner is no reason for this one, nor lifted by being held."""
    world.ran()
    elsewhere = world.withdraw(email=email(0), partner="other").withdrawals[0]
    everywhere = world.withdraw(email=email(0)).withdrawals[0]
    world.lane_works()
    told = [(one.id, one.partner, one.lifted_at) for one in world.ask(email=email(0)).withdrawn]
    assert told == [(elsewhere, "other", ()), (everywhere, None, ())]
    later = world.now().isoformat()
    world.forbidden.clear()
    world.write([granted(f"c{n}", email=email(n), consent_at=later) for n in range(6)])
    world.ran()
    found = world.ask(email=email(0))
    assert [one.decision for one in found.held] == ["granted"]
    told = [(one.id, one.partner, one.lifted_at) for one in found.withdrawn]
    assert told == [(elsewhere, "other", ()), (everywhere, None, ("memory-1",))]


def test_a_withdrawal_by_customer_id_is_told_by_its_own_id(world: AskedWorld) -> None:
    """Not by that of what the source had of the customer, which nobody was told."""
    world.ran()
    withdrawal = world.withdraw(customer_id="c2").withdrawals[0]
    world.lane_works()
    for by in ({"email": email(2)}, {"customer_id": "c2"}):
        found = world.ask(**by)
        assert [one.id for one in found.withdrawn] == [withdrawal]
        assert {one.withdrawal for one in found.before} == {withdrawal}


def test_whoever_withdrew_by_an_id_that_the_source_lost_is_found_by_it(world: AskedWorld) -> None:
    """With what was held before; an id that nobody knows is no error, unlike one of blanks."""
    world.ran()
    withdrawal = world.withdraw(customer_id="c2").withdrawals[0]
    world.lane_works()
    world.write([granted(f"c{n}", email=email(n)) for n in range(6) if n != 2])
    found = world.ask(customer_id="c2")
    assert [one.id for one in found.withdrawn] == [withdrawal]
    assert [one.withdrawal for one in found.before] == [withdrawal]
    nobody = world.ask(customer_id="c77")
    assert nobody.held == nobody.before == nobody.waiting == nobody.withdrawn == ()
    with pytest.raises(ConfigurationError, match="nobody can be looked for"):
        world.ask(customer_id="  ")
