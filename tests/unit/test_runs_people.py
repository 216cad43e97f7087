"""Who is sent, kept out, remembered and forgotten (L3, L9, L10, L14)."""

from __future__ import annotations

import base64
import hashlib
from datetime import timedelta

import numpy as np
import pytest
from pipeline_world import World, digest, fast_folder, granted

from audience_sync.connector import Kind
from audience_sync.ledger.records.runs import RunState
from audience_sync.runs.compare import held_out
from audience_sync.runs.suppression import fingerprints


def email(number: int) -> str:
    return f"p{number}@example.com"


def people(*numbers: int) -> list[dict[str, str | None]]:
    return [granted(str(n), email=email(n)) for n in numbers]


def hashes(*numbers: int) -> set[str]:
    return {digest(email(n)) for n in numbers}


def test_l3_duplicates_merge_and_the_funnel_adds_up() -> None:
    """Three accounts of one person are one member with two phones."""
    here = World(fast_folder())
    rows = [
        granted("1", email=email(1), phone="+46701234561"),
        granted("2", email=f" {email(1).upper()} ", phone="+46701234562"),
        granted("3", email=email(1)),
        granted("4", email="not an address"),
        granted("5", email=email(5), market="DE"),
        granted("6", email=email(6), consent=None),
    ]
    here.write(rows)
    run = here.ran()
    told = {name: count for name, count in run.funnel.items() if count}
    assert told == {
        "rows_read": 6,
        "merged": 2,
        "members": 1,
        "no_usable_identifier": 1,
        "not_in_audience": 1,
        "no_consent": 1,
    }
    assert here.partner.holds == hashes(1) | {digest("46701234561"), digest("46701234562")}
    assert here.ledger.remote_list("vip", "memory-1").members == 1


def test_a_holdout_is_a_stable_share_of_people() -> None:
    """The same people are kept out in every run, and counted; the share is about right."""
    here = World(fast_folder())
    here.aim(holdout=0.2, batch_size=1000)
    rows = people(*range(600))
    here.write(rows)
    run = here.ran()
    sent = set(here.partner.holds)
    assert 0.14 < run.funnel["suppressed"] / 600 < 0.26
    assert run.funnel["members"] + run.funnel["suppressed"] == 600
    here.write(list(reversed(rows)) + people(600, 601))
    here.ran()
    assert not (hashes(*range(600)) - sent) & here.partner.holds
    assert sent <= here.partner.holds


def test_holdouts_of_two_audiences_have_nothing_to_do_with_each_other() -> None:
    """Who is held out of one audience is no likelier held out of another."""
    here = World(fast_folder())
    identity = np.random.default_rng(3).integers(0, 256, (50_000, 32), dtype=np.uint8)
    here.aim(holdout=0.2)
    first = held_out(identity, here.target)
    for name in ("b", "vip2", "lapsed", "vip "):
        here.aim(audience=name)
        second = held_out(identity, here.target)
        assert 0.19 < second.mean() < 0.21
        assert 0.03 < (first & second).mean() < 0.05
    here.aim(holdout=0.0)
    assert not held_out(identity, here.target).any()
    here.aim(holdout=1.0)
    assert held_out(identity, here.target).all()


def test_l9_who_was_rejected_rests_thirty_days() -> None:
    """Dropped from the membership, counted as suppressed, not sent for thirty days, then again."""
    here = World(fast_folder())
    here.partner.rejects = hashes(2)
    here.write(people(*range(5)))
    here.ran()
    assert here.held() == here.partner.holds == hashes(0, 1, 3, 4)
    here.partner.uploads.clear()
    run = here.ran()
    assert here.partner.uploads == []
    assert run.funnel["suppressed"] == 1
    assert run.funnel["members"] == 4
    here.partner.rejects = set()
    here.time += timedelta(days=29)
    here.ran()
    assert here.partner.uploads == []
    here.time += timedelta(days=1, hours=1)
    here.ran()
    assert here.partner.digests() == [hashes(2)]
    assert here.held() == hashes(*range(5))


def test_l9_a_changed_member_is_tried_again_at_once() -> None:
    """A new phone makes somebody else of the rejected member, as far as the partner can tell."""
    here = World(fast_folder())
    here.partner.rejects = hashes(1)
    here.write(people(1))
    here.ran()
    here.partner.rejects = set()
    here.write([granted("1", email=email(1), phone="+46701234567")])
    here.ran()
    assert here.partner.holds == hashes(1) | {digest("46701234567")}


def test_l9_a_rejected_member_is_recognised_whatever_columns_the_list_has() -> None:
    """A kind that the list once had makes no difference to who was rejected."""
    here = World(fast_folder(), partitions=1)
    here.write([granted("0", email=email(0), phone="+46701234567")])
    here.ran()
    here.aim(forms={Kind.EMAIL: "email/plain"})
    here.partner.rejects = hashes(1)
    here.write(people(0, 1))
    here.ran()
    here.write([])
    here.ran()
    here.partner.uploads.clear()
    here.write(people(0, 1))
    here.ran()
    assert here.partner.digests() == [hashes(0)]


def test_l9_a_fingerprint_is_neither_the_hash_nor_found_without_the_key() -> None:
    """It is an HMAC of the whole member; another key gives another one."""
    here = World(fast_folder())
    here.partner.rejects = hashes(1)
    here.write(people(1, 2))
    here.ran()
    database = (here.folder / "ledger.sqlite").read_bytes()
    for one in hashes(1, 2):
        assert bytes.fromhex(one) not in database
        assert one.encode() not in database
    from membership_model import lines_of  # noqa: PLC0415 - only here

    lines = lines_of({n: frozenset({(Kind.EMAIL, n)}) for n in range(20)})
    mine, other = fingerprints(lines, b"f" * 32), fingerprints(lines, b"g" * 32)
    assert len({row.tobytes() for row in np.concatenate([mine, other])}) == 40
    assert not {row.tobytes() for row in mine} & {
        row.tobytes() for row in np.concatenate([lines.keys, lines.columns[Kind.EMAIL]])
    }


def test_l9_nothing_of_a_rejected_member_rests() -> None:
    """The membership that the plan foresaw, with the rejected member in it, is deleted."""
    here = World(fast_folder())
    here.partner.rejects = hashes(2)
    here.write(people(*range(5)))
    run = here.ran()
    remote = here.ledger.remote_list("vip", "memory-1")
    inside = {str(path.relative_to(here.folder / "state")) for path in here.files()}
    assert inside == set(remote.manifest["files"].values())
    assert all(batch.rejected_positions == () for batch in here.ledger.batches(run.id))


CANARIES = {
    "email": "canary.person@example.com",
    "phone": "+46709998877",
    "idfa": "deadbeef-8cf0-11bd-b23e-10b96e40000d",
}


def test_l10_neither_values_nor_hashes_rest() -> None:
    """After syncs, a rejection and a plan no file but the customers' own shows them."""
    here = World(fast_folder())
    here.write([granted("4711-canary", **CANARIES), *people(1, 2)])
    here.ran()
    here.partner.rejects = {digest(CANARIES["email"])}
    here.aim(forms={Kind.EMAIL: "email/plain", Kind.IDFA: "device/lower"})
    here.ran()
    here.ran(deliver=False)
    written = [*CANARIES.values(), "46709998877", "0709998877", "4711-canary"]
    secrets = [value.encode() for value in written]
    for value in written:
        hashed = hashlib.sha256(value.encode()).digest()
        secrets += [hashed, hashed.hex().encode(), hashed.hex().upper().encode()]
        secrets += [base64.b64encode(hashed)[:40], base64.urlsafe_b64encode(hashed)[:40]]
    looked = 0
    for path in here.folder.rglob("*"):
        if path.is_file() and path.name != "customers.parquet":
            content = path.read_bytes()
            looked += 1
            for secret in secrets:
                assert secret not in content, path
    assert looked > 3
    shown = repr((here.ledger.runs(), here.log(), here.ledger.remote_lists(), here.partner))
    assert not any(secret.decode("latin-1") in shown for secret in secrets)


def test_l14_a_changed_form_removes_the_old_hash_and_adds_the_new() -> None:
    """The same people, written by another rule: nobody stays there under the old hash."""
    here = World(fast_folder())
    here.write([granted("1", email="An.Na+x@gmail.com"), granted("2", email=email(2))])
    here.ran()
    assert here.partner.holds == {digest("an.na+x@gmail.com"), digest(email(2))}
    here.aim(forms={Kind.EMAIL: "email/gmail-folded"})
    here.partner.uploads.clear()
    run = here.ran()
    assert [op for op, _, _ in here.partner.uploads] == ["remove", "add"]
    assert here.partner.digests()[0] == {digest("an.na+x@gmail.com")}
    assert digest("anna@gmail.com") in here.partner.holds
    assert here.partner.holds == here.held()
    assert run.delta["changed"] == 1
    forms = here.ledger.remote_list("vip", "memory-1").forms
    assert dict(forms) == {"email": "email/gmail-folded@1"}


def test_l4_a_kind_no_longer_sent_is_taken_off() -> None:
    """Leaving phones out of an audience removes the phones that were sent."""
    here = World(fast_folder())
    here.write([granted(str(n), email=email(n), phone=f"+4670123456{n}") for n in range(4)])
    here.ran()
    here.aim(forms={Kind.EMAIL: "email/plain"})
    here.ran()
    assert here.partner.holds == hashes(*range(4)) == here.held()


@pytest.mark.parametrize("again", [1, 3])
def test_l9_members_leave_by_age_and_come_back_after_a_pause(again: int) -> None:
    """Expired members are taken off once, stay away while wanted, and return after a pause."""
    here = World(fast_folder())
    here.write(people(1, 2))
    here.ran()
    here.aim(expired_before=here.time + timedelta(hours=1))
    here.time += timedelta(days=2)
    run = here.ran()
    assert run.delta["removals"] == 2
    assert here.partner.holds == set() == here.held()
    for _ in range(again):
        assert here.ran().reason == "nothing changed"
    here.write(people(2))
    here.ran()
    here.write(people(1, 2))
    run = here.ran()
    assert run.state is RunState.CONFIRMED
    assert here.partner.holds == hashes(1) == here.held()
