"""A person asks what is held of them, and to be erased; canary values prove that nothing leaks."""

from __future__ import annotations

import io
import sys
from collections.abc import Callable, Iterator

import pytest
from shop import Ended, Shop, people, sha256

from audience_sync.runs import steps

EMAIL = "subject-zq77x@example.com"
PHONE = "070 918 27 36"
DIGITS = "46709182736"
CUSTOMER = 7731
HASHES = tuple(sha256(text) for text in (EMAIL, DIGITS, f"+{DIGITS}"))
RAW = (EMAIL, "subject-zq77x", PHONE, "0709182736", DIGITS)
ROW = (CUSTOMER, EMAIL, PHONE, "granted", "SE")


@pytest.fixture
def shop(synced_shop: Callable[..., Shop]) -> Shop:
    """Two lists at two partners, the person on all four."""
    return synced_shop([*people(24), ROW])


def _leaks(shop: Shop, *ended: Ended) -> list[tuple[str, str]]:
    places: list[tuple[str, bytes]] = [
        (f"output {number}", (one.out + one.err).encode()) for number, one in enumerate(ended)
    ]
    folder = shop.folder / ".audience-sync"
    places += [(p.name, p.read_bytes()) for p in folder.rglob("*") if p.is_file()]
    return [
        (place, value)
        for place, content in places
        for value in (*RAW, *HASHES)
        for written in _written(value)
        if written in content
    ]


def _written(value: str) -> Iterator[bytes]:
    yield value.encode()
    if value in HASHES:
        yield bytes.fromhex(value)


@pytest.mark.parametrize(
    "by", [("--email", EMAIL), ("--phone", PHONE), ("--customer-id", str(CUSTOMER))]
)
def test_every_list_is_found_by_any_identifier(shop: Shop, by: tuple[str, str]) -> None:
    """All four lists, with since when, by which run and on what decision; no identifier in it."""
    found = shop.must("subject", "find", *by, "--json")

    held = found.json["held"]
    assert {(one["audience"], one["destination"]) for one in held} == {
        (audience, destination)
        for audience in ("everyone", "swedes")
        for destination in ("meta-se", "google-se")
    }
    runs = {run["id"] for run in shop.must("runs", "--json").json["runs"]}
    assert all(set(one["runs"]) <= runs and len(one["runs"]) == 1 for one in held)
    assert all(one["decision"] == "granted" and one["judged_at"] for one in held)
    assert all(one["recipient"] and one["recipient_country"] == "IE" for one in held)
    assert _leaks(shop, found) == []


def test_somebody_else_is_not_found(shop: Shop) -> None:
    """A stranger is held nowhere, and what cannot be read is told without repeating it."""
    nobody = shop.must("subject", "find", "--email", "stranger@example.com", "--json").json
    assert nobody["held"] == nobody["held_before"] == nobody["waiting"] == []
    letter = shop.must("subject", "find", "--email", "stranger@example.com").out
    assert "no partner holds you" in letter
    refused = shop.run("subject", "find", "--email", "not an address")
    assert refused.code == 2
    assert "not an address" not in refused.err


def test_by_email_one_partition_of_each_list_is_read(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither the customer base nor more than a partition of a list is looked at."""
    from audience_sync.customers import look_up  # noqa: PLC0415 - patched here only
    from audience_sync.membership.held import Membership  # noqa: PLC0415 - the same

    read: list[int] = []
    whole = Membership.read

    def counted(self: Membership, partition: int, partitions: int) -> object:
        read.append(partition)
        return whole(self, partition, partitions)

    monkeypatch.setattr(Membership, "read", counted)
    monkeypatch.setattr(look_up, "open_source", None)
    shop.must("subject", "find", "--email", EMAIL)
    assert len(read) == 4


def test_the_value_is_read_from_stdin(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    """So it stands in no list of processes and no history of a shell."""
    monkeypatch.setattr(sys, "stdin", io.StringIO(f"{EMAIL}\n"))
    letter = shop.must("subject", "find", "--email", "-")

    assert "Meta" in letter.out
    assert "Corner Shop AB" in letter.out
    assert _leaks(shop, letter) == []


def test_what_was_held_before_is_told(shop: Shop) -> None:
    """By e-mail and by phone alike, with the run that took them off; a rotated key changes not."""
    shop.customers([*people(24), (*ROW[:3], "withdrawn", "SE")])
    shop.must("sync")
    shop.must("keys", "rotate", "--fingerprint")

    for by in (("--email", EMAIL), ("--phone", PHONE)):
        found = shop.must("subject", "find", *by, "--json")
        assert found.json["held"] == []
        before = found.json["held_before"]
        assert len(before) == 4
        assert all(one["held_since"] <= one["removed_at"] for one in before)
        assert _leaks(shop, found) == []
    assert "taken off since" in shop.must("subject", "find", "--email", EMAIL).out
    assert "held_before" in found.json
    assert shop.must("subject", "find", "--email", "person.1@example.com", "--json").json[
        "held_before"
    ] == []  # fmt: skip


def test_a_plan_that_waits_is_told(shop: Shop) -> None:
    """An outbox that names the person is found before it is sent."""
    shop.customers([*people(24), ROW, (1, "subject-two@example.com", None, "granted", "SE")])
    shop.must("plan", "everyone", "--destination", "meta-se")

    found = shop.must("subject", "find", "--email", "subject-two@example.com", "--json").json

    assert found["held"] == []
    assert [one["destination"] for one in found["waiting"]] == ["meta-se"]


def test_a_removal_that_is_not_confirmed_is_told_as_that(shop: Shop) -> None:
    """Not as held by a grant; once the partner has confirmed, asking it settles what is held."""
    shop.must("status", "--poll")
    shop.fault("slow-processing", operation="*", partner="google", seconds=600, times=None)
    withdrawal = shop.must("withdraw", "--email", EMAIL, "--json").json["withdrawals"][0]

    for by in (("--email", EMAIL), ("--phone", PHONE), ("--customer-id", str(CUSTOMER))):
        found = shop.must("subject", "find", *by, "--json").json
        assert [
            (one["destination"], one["state"], one["decision"], one["removed_for"])
            for one in found["held"]
        ] == [("google-se", "removal sent, being confirmed", "withdrawn", withdrawal)] * 2
    page = shop.must("subject", "find", "--email", EMAIL).out
    on_its_way = page.partition("On its way")[2]
    assert "decision      granted" not in page
    assert f"removal sent, being confirmed (withdrawal {withdrawal})" in on_its_way

    shop.must("status", "--poll")  # Google is not done
    assert len(shop.must("subject", "find", "--email", EMAIL, "--json").json["held"]) == 2
    shop.control("clock", advance_seconds=700)
    shop.must("status", "--poll")
    found = shop.must("subject", "find", "--email", EMAIL, "--json").json
    assert found["held"] == []
    assert {one["withdrawal"] for one in found["held_before"]} == {withdrawal}
    page = shop.must("subject", "find", "--email", EMAIL).out
    assert f"because you withdrew (withdrawal {withdrawal})" in page
    assert "withdrawal from" not in page


def test_a_grant_after_a_withdrawal_counts_again(shop: Shop) -> None:
    """Who withdrew once and agreed since is held by a grant, and nothing is on its way."""
    shop.must("status", "--poll")
    shop.must("withdraw", "--email", EMAIL)
    shop.must("status", "--poll")
    shop.write(
        change=lambda text: text.replace("consent: consent}", "consent: consent, consent_at: at}")
    )
    shop.sql("ALTER TABLE customers ADD COLUMN at TEXT")
    shop.sql("UPDATE customers SET at = datetime('now', '+1 second') || 'Z'")
    shop.must("sync")
    held = shop.must("subject", "find", "--email", EMAIL, "--json").json["held"]
    assert len(held) == 4
    assert {(one["decision"], one["removed_for"]) for one in held} == {("granted", None)}


def test_erasure_reaches_every_partner_and_leaves_a_proof(shop: Shop) -> None:
    """Removed everywhere, not found any more, not added again, and the log names nobody."""
    shop.must("status", "--poll")  # until then the outbox of a sync may still name the person
    done = shop.must("subject", "erase", "--email", EMAIL, "--patience", "90", "--json")

    assert done.json["waiting_for"] == []
    assert (done.json["lists"], done.json["destinations"]) == (4, 2)
    for audience in ("everyone", "swedes"):
        for partner in ("meta", "google"):
            assert sha256(EMAIL) not in shop.held(audience, partner)["email"]
    found = shop.must("subject", "find", "--email", EMAIL, "--json").json
    assert found["held"] == found["held_before"] == found["waiting"] == []
    assert [one["id"] for one in found["withdrawals"]] == [done.json["id"]]
    log = shop.must("log", "--json", "--last", "0")
    proofs = [one["line"] for one in log.json["lines"] if one["line"]["event"] == "erased"]
    assert {line["destination"] for line in proofs} == {"meta-se", "google-se"}
    assert all(line["reference"] == done.json["id"] for line in proofs)
    shop.must("log", "verify")
    again = shop.must("sync", "--json")
    assert sha256(EMAIL) not in shop.held()["email"]
    assert _leaks(shop, done, log, again) == []


@pytest.mark.parametrize("by", [("--email", EMAIL), ("--customer-id", str(CUSTOMER))])
def test_erasure_waits_for_the_partner_and_goes_on(
    shop: Shop, by: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without an acknowledgement it ends with 4 and an id; with one, the id finishes it."""
    monkeypatch.setattr(steps, "_FIRST_PAUSE", 0.01)  # seconds until it is tried again
    shop.must("status", "--poll")  # until then the outbox of a sync may still name the person
    shop.fault("5xx", operation="*", times=None)
    begun = shop.run("subject", "erase", *by, "--patience", "0", "--json")
    assert begun.code == 4
    shop.must("status", "--poll")  # Google's lists are free of the person before it goes on
    assert "meta-se" in begun.json["waiting_for"]  # Google may answer a moment later
    log = shop.must("log", "--json", "--last", "0").json["lines"]
    assert not any(one["line"]["event"] == "erased" for one in log)
    shop.clear_faults()

    done = shop.must("subject", "erase", "--resume", begun.json["id"], "--patience", "60", "--json")

    assert done.json["waiting_for"] == []
    assert (done.json["lists"], done.json["destinations"]) == (4, 2)  # all that held them before
    log = shop.must("log", "--json", "--last", "0").json["lines"]
    proofs = [one["line"]["note"] for one in log if one["line"]["event"] == "erased"]
    assert proofs == ["a person was erased, who was on 2 lists here"] * 2
    assert sha256(EMAIL) not in shop.held()["email"]
    assert _leaks(shop, begun, done) == []


def test_an_erasure_tells_an_acknowledgement_from_a_confirmation(shop: Shop) -> None:
    """A partner that took the removal and is not done is not one that did not take it."""
    shop.must("status", "--poll")
    shop.fault("slow-processing", operation="*", partner="google", seconds=600, times=None)
    begun = shop.run("subject", "erase", "--email", EMAIL, "--patience", "0", "--json")
    told = shop.run("subject", "erase", "--resume", begun.json["id"], "--patience", "0")
    assert (begun.code, told.code) == (4, 4)
    assert begun.json["waiting_for"] == begun.json["unconfirmed"] == ["google-se"]
    assert "Acknowledged, and not confirmed yet, by google-se." in told.out
    assert "Not acknowledged" not in told.out


def test_a_customer_whom_the_source_lost_can_be_erased(shop: Shop) -> None:
    """The withdrawal is recorded, and what the source no longer tells is said."""
    done = shop.must("subject", "erase", "--customer-id", "990099", "--patience", "0").out
    assert "The source does not have this customer id" in done
    [known] = shop.must("subject", "find", "--customer-id", "990099", "--json").json["withdrawals"]
    assert known["id"] in done


def test_an_erasure_after_a_withdrawal_says_what_was_left_to_do(shop: Shop) -> None:
    """Lists that the withdrawal had reached are none of those that the erasure found."""
    shop.must("status", "--poll")
    shop.must("withdraw", "--email", EMAIL, "--partner", "meta")
    told = " ".join(shop.must("subject", "erase", "--email", EMAIL, "--patience", "60").out.split())
    assert "2 lists still held the person when it was asked for; none at 2 destinations" in told


def test_erasure_drops_the_plans_that_name_the_person(shop: Shop) -> None:
    """Their outboxes are destroyed, and nobody can approve them any more."""
    new = (9, "subject-nine@example.com", None, "granted", "SE")
    shop.customers([*people(8), *people(24)[9:], ROW, new])
    plan = shop.must("plan", "everyone", "--destination", "meta-se", "--json").json
    run = plan["outcomes"][0]["run"]["id"]

    done = shop.must("subject", "erase", "--email", "subject-nine@example.com", "--json").json

    told = shop.must("run", run, "--json").json["run"]
    why = f"it names a person who is erased ({done['id']}); the next sync plans anew"
    again = shop.must("subject", "erase", "--resume", done["id"], "--json").json
    assert (done["plans"], again["plans"]) == (1, 1)
    assert (told["state"], told["reason"]) == ("cancelled", why)
    assert not (shop.folder / f".audience-sync/outbox/{run}").exists()
