"""Somebody withdraws at the command line, and both partners' lists lose them at once."""

from __future__ import annotations

import io
import os
import re
import signal
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from shop import COLUMNS, Shop, expected, people

from audience_sync.app import App
from audience_sync.cli.recorded import told_if_cut_off
from audience_sync.errors import AwayError, SourceError, TemporaryPartnerError
from audience_sync.ledger.withdrawals import Withdrawal


def test_a_withdrawal_reaches_every_list_without_a_sync(
    synced_shop: Callable[..., Shop], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its value is read from stdin and shown nowhere; the person is added by no later sync."""
    rows = people(12)
    shop = synced_shop(rows)
    email = rows[3][1]
    monkeypatch.setattr("sys.stdin", io.StringIO(f"{email}\n"))
    told = shop.run("withdraw", "--email", "-")
    assert told.code == 0, told
    assert email not in told.out + told.err

    left = [row for row in rows if row is not rows[3]]
    for audience in ("everyone", "swedes"):
        chosen = left if audience == "everyone" else [row for row in left if row[4] == "SE"]
        assert shop.held(audience) == expected(chosen)
        assert shop.held(audience, "google")["email"] == expected(chosen)["email"]
    shop.must("sync")
    assert shop.held("everyone") == expected(left)
    found = shop.must("withdrawals", "--deliver", "--json").json
    assert found["clock"]["late"] == found["clock"]["near"] == 0
    assert found["clock"]["p95"] is not None
    assert "withdraw" in shop.must("log").out
    assert shop.must("log", "verify").code == 0


def test_a_second_line_on_stdin_is_not_forgotten(
    synced_shop: Callable[..., Shop], monkeypatch: pytest.MonkeyPatch
) -> None:
    """One option reads one line: where there are more, nothing is done instead of a part."""
    rows = people(12)
    shop = synced_shop(rows)
    for command in (("withdraw",), ("subject", "find"), ("subject", "erase")):
        monkeypatch.setattr("sys.stdin", io.StringIO(f"{rows[3][1]}\n\n{rows[4][1]}\n"))
        told = shop.run(*command, "--email", "-")
        assert told.code == 2, told
        assert "more lines" in told.err
        assert "withdraw --file" in told.err
        assert not any(row[1] in told.out + told.err for row in rows)
        torn = shop.run(*command, "--email", "anna\udcff@example.com")  # as bytes that are no text
        assert torn.code == 2, torn
        assert "not UTF-8" in torn.err
        strict = io.TextIOWrapper(io.BytesIO(b"anna\xff@example.com\n"), encoding="utf-8")
        monkeypatch.setattr("sys.stdin", strict)
        read = shop.run(*command, "--email", "-")
        assert read.code == 2, read
        assert "not UTF-8" in read.err
    assert shop.held("everyone") == expected(rows)


def test_a_file_and_a_customer_id(synced_shop: Callable[..., Shop]) -> None:
    """Many at once by any column, and one by the shop's own key."""
    rows = people(12)
    shop = synced_shop(rows)
    written = "".join(f"{row[1]},\n" for row in rows[:3]) + f",{rows[3][2]}\n,nonsense\n"
    (shop.folder / "leaving.csv").write_text("email,phone\n" + written)
    told = shop.run("withdraw", "--file", str(shop.folder / "leaving.csv"), "--json")
    assert told.code == 2, told  # to try again helps nobody: somebody should mend the row
    assert (told.json["people"], told.json["unusable"]) == (4, 1)
    assert told.json["unusable_rows"] == [5]
    assert shop.run("withdraw", "--customer-id", str(rows[4][0])).code == 0
    assert shop.held("everyone") == expected(rows[5:])
    assert shop.held("everyone", "google")["email"] == expected(rows[5:])["email"]


def test_a_phone_alone_may_leave_a_list_to_the_next_sync(open_shop: Callable[..., Shop]) -> None:
    """A list without phones cannot tell whose it is, and the answer does not hide it."""
    shop = open_shop(people(3))
    note = "with the next sync"
    assert note in shop.must("withdraw", "--phone", "+46 70 123 45 67").out
    assert note in shop.must("withdraw", "--device", "9f0c2b2e-5b61-4a5d-8c3e-2f1f0a9b7c11").out
    assert note not in shop.must("withdraw", "--email", "person.1@example.com").out
    both = shop.must("withdraw", "--phone", "+46 70 123 45 67", "--customer-id", "1")
    assert note not in both.out


def test_rows_that_cannot_be_read_are_named(synced_shop: Callable[..., Shop]) -> None:
    """Not as something that is tried again; the others are taken in, and no value is told."""
    shop = synced_shop(people(12))
    leaving = shop.folder / "leaving.csv"
    for bad, sentence in (
        (1, "Row 3 holds no identifier that can be read and was left out: mend it"),
        (2, "Rows 3 and 4 hold no identifier that can be read and were left out: mend them"),
        (7, "7 rows, such as 3, 4, 5, 6, 7, hold no identifier that can be read and were left out"),
    ):
        rows = ["early@example.com", "person.1@example.com", *["nonsense"] * bad]
        leaving.write_text("\n".join(["email", *rows, ""]))
        told = shop.run("withdraw", "--file", str(leaving))
        assert told.code == 2, told
        assert sentence in told.out
        assert "2 people withdraw" in told.out
        assert "every future addition is blocked." in told.out
        assert "nonsense" not in told.out + told.err
    leaving.write_text(
        "email,decided_at\nperson.2@example.com,31/12/2025\nperson.3@example.com,2025-12-31\n"
        "person.4@example\n"
    )
    told = shop.run("withdraw", "--file", str(leaving))
    assert told.code == 2, told
    assert "2 people withdraw" in told.out
    assert "Row 3 holds not one field for each column and was left out: mend it" in told.out
    assert "See whether the file is whole" in told.out
    later = "except of those whose grant in the source is later than their decided_at"
    assert f"every future addition is blocked, {later}." in told.out
    assert "Row 1 holds a decided_at that cannot be read: it counts as decided now" in told.out
    leaving.write_text("email,phone,country\nearly@example.com,070 123 45 67,XX\n")
    told = shop.run("withdraw", "--file", str(leaving))
    assert told.code == 2, told
    assert "1 person withdraws" in told.out
    assert "Row 1 holds a country that nobody knows, so that its phone number was left" in told.out
    assert shop.run("withdraw", "--file", str(leaving), "--json").json["unplaced_rows"] == [1]
    assert shop.held("everyone") == expected(people(12)[3:])


@pytest.mark.parametrize(("threshold", "few"), [("off", "1"), ("10", "fewer than 10")])
def test_who_withdrew_after_the_plan_is_told_as_withheld(
    open_shop: Callable[..., Shop], threshold: str, few: str
) -> None:
    """Beside the members that were planned, by `approve` and by `run`, and counted discreetly."""
    rows = people(40)
    shop = open_shop(rows)
    shop.write(
        change=lambda text: text.replace("report_threshold: off", f"report_threshold: {threshold}")
    )
    run = shop.must("plan", "everyone", "--destination", "meta-se", "--json").json
    name = run["outcomes"][0]["run"]["id"]
    shop.must("withdraw", "--email", rows[0][1])
    sentence = f"{few} withheld, because they withdrew"
    assert "withheld" not in shop.must("run", name).out
    assert sentence in " ".join(shop.must("approve", name).out.split())
    page = shop.must("run", name).out
    assert sentence in " ".join(page.split())
    told = shop.must("run", name, "--json").json
    assert str(told["withheld"]) == few
    if threshold != "off":  # nor do the batches tell it by subtraction
        assert {(b["members"], b["accepted"], b["withheld"]) for b in told["batches"]} == {
            ("hidden", "hidden", "hidden")
        }
    assert shop.held("everyone") == expected(rows[1:])


def test_one_partner_only(synced_shop: Callable[..., Shop]) -> None:
    """The other keeps the person, now and after a sync."""
    rows = people(12)
    shop = synced_shop(rows)
    assert shop.run("withdraw", "--email", rows[0][1], "--partner", "meta").code == 0
    shop.must("sync")
    assert shop.held("everyone") == expected(rows[1:])
    assert shop.held("everyone", "google")["email"] == expected(rows)["email"]
    wrong = shop.run("withdraw", "--email", rows[0][1], "--partner", "mata")
    assert wrong.code == 2
    assert shop.run("withdraw").code == 2


def test_of_whom_nobody_holds_it_says_so(open_shop: Callable[..., Shop]) -> None:
    """Nothing was acknowledged, since nobody was asked; the block of the future is what counts."""
    rows = people(12)
    shop = open_shop(rows)
    before_any_list = shop.must("withdraw", "--email", "early@example.com").out
    assert "1 person withdraws" in before_any_list
    assert "no list holds this person" in before_any_list
    shop.must("sync")
    lines = len(shop.must("log", "--json").json)
    stranger = shop.must("withdraw", "--email", "stranger@example.com").out
    assert "no list holds this person" in stranger
    assert "every future addition by what was given is blocked" in stranger
    assert "cknowledged" not in stranger
    there = shop.must("withdraw", "--email", "third@example.com", "--partner", "meta").out
    assert "no list at meta holds this person; every future addition at meta by what" in there
    assert len(shop.must("log", "--json").json) == lines
    shop.customers([*rows, (99, "stranger@example.com", None, "granted", "SE")])
    shop.must("sync")
    assert shop.held("everyone") == expected(rows)


def test_it_counts_only_destinations_that_held_somebody(open_shop: Callable[..., Shop]) -> None:
    """One that held nobody named is told apart from one that acknowledged."""
    rows = people(12)
    shop = open_shop(rows)
    shop.must("sync", "--destination", "meta-se")
    told = shop.must("withdraw", "--email", rows[0][1])
    assert "1 person withdraws" in told.out
    assert "Acknowledged at 1 of 1 destinations that held this person" in told.out
    told = shop.must("withdraw", "--email", rows[1][1], "--json").json
    assert (told["destinations"], told["held"]) == ({"confirmed": 2}, 1)
    assert "by what was given is blocked" in shop.must("withdraw", "--phone", rows[0][2]).out


@pytest.mark.parametrize("by", [("--email", "stranger@example.com"), ("--customer-id", "4711")])
def test_a_delivery_that_is_not_confirmed_holds_no_stranger(
    synced_shop: Callable[..., Shop], by: tuple[str, str]
) -> None:
    """Others' removals that a partner has not confirmed concern nobody who was never there."""
    rows = people(12)
    shop = synced_shop(rows)
    shop.must("status", "--poll")
    shop.fault("slow-processing", operation="*", partner="google", seconds=600, times=None)
    shop.customers(rows[1:])
    shop.must("sync")

    told = shop.must("withdraw", *by).out
    assert "Nothing had to be removed, since no list holds this person" in told
    assert "cknowledged" not in told
    assert shop.must("withdraw", *by, "--json").json["held"] == 0
    leaving = shop.must("withdraw", "--email", rows[0][1], "--json").json
    assert leaving["held"] == 1  # the sync asked Google to take them off, and nobody knows yet
    assert shop.must("withdraw", "--email", rows[1][1], "--json").json["held"] == 2


def test_a_customer_id_that_the_source_does_not_have(synced_shop: Callable[..., Shop]) -> None:
    """Only the id can be blocked then, and the answer says so."""
    shop = synced_shop(people(12))
    told = shop.must("withdraw", "--customer-id", "4711").out
    assert "the source has no customer with this id" in told
    assert shop.must("withdraw", "--customer-id", "4711", "--json").json["missing"] == 1


def test_a_file_that_cannot_be_read_is_named(
    open_shop: Callable[..., Shop], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As the person wrote it, and not by a key of the project file that does not exist."""
    shop = open_shop(people(3))
    missing = shop.run("withdraw", "--file", "nope.csv")
    assert missing.code == 2, missing
    assert "nope.csv" in missing.err
    assert ".url" not in missing.err
    wrong = shop.run("withdraw", "--file", "people.xlsx")
    assert wrong.code == 2, wrong
    assert "people.xlsx" in wrong.err
    assert ".url" not in wrong.err
    (shop.folder / "short.csv").write_text("name\nanna\n")
    nobody = shop.run("withdraw", "--file", str(shop.folder / "short.csv"))
    assert nobody.code == 2, nobody
    assert "short.csv" in nobody.err
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b'"')))
    assert "stdin" in shop.run("withdraw", "--file", "-").err


@pytest.mark.parametrize(("threshold", "few"), [("off", "3"), ("10", "fewer than 10")])
def test_what_came_in_by_http_is_counted(
    open_shop: Callable[..., Shop], threshold: str, few: str
) -> None:
    """By sender and answer, of the last thirty days, and counted discreetly."""
    shop = open_shop(people(3))
    shop.write(
        change=lambda text: text.replace("report_threshold: off", f"report_threshold: {threshold}")
    )
    assert "by HTTP" not in shop.must("withdrawals").out
    with App.open(shop.project) as app:
        app.ledger.count_intake("onetrust", "accepted", 1204)
        app.ledger.count_intake("onetrust", "unknown_purpose", 3)
        app.ledger.count_intake("withdrawals", "repeated", 88)

    told = shop.must("withdrawals").out.splitlines()
    assert "What came in by HTTP in the last 30 days:" in told
    assert f"  onetrust  1,204 accepted, {few} unknown_purpose" in told
    assert "  withdrawals  88 repeated" in told
    found = shop.must("withdrawals", "--json").json["by_http"]
    few_or_number = 3 if threshold == "off" else few
    assert found == {
        "onetrust": {"accepted": 1204, "unknown_purpose": few_or_number},
        "withdrawals": {"repeated": 88},
    }


def test_a_list_that_is_being_filled_counts_though_no_audience_goes_there(
    open_shop: Callable[..., Shop],
) -> None:
    """Its first run may be at work while the project is changed; nobody may slip onto it."""
    rows = people(6)
    shop = open_shop(rows)
    shop.must("sync", "everyone")
    with App.open(shop.project) as app:
        remote = app.ledger.remote_list("everyone", "google-se")
        begun = replace(remote, manifest={}, members=0, generation=remote.generation + 1)
        app.ledger.save_remote_list(begun, expect_generation=remote.generation)
    shop.write(destinations="[meta-se]")

    shop.run("withdraw", "--email", rows[0][1])

    with App.open(shop.project) as app:
        told = {one.destination for one in app.ledger.withdrawal_deliveries()}
    assert told == {"meta-se", "google-se"}


def test_what_waits_for_the_customers_says_so(synced_shop: Callable[..., Shop]) -> None:
    """A broken row of the source may be of anybody: what is waited for, and what to do."""
    rows = people(12)
    shop = synced_shop(rows)
    lines = [f"{row[0]},{row[1]},{row[2]},{row[3]},{row[4]}" for row in rows]
    base = "\n".join([COLUMNS.replace(" ", ""), *lines, "13,half"])
    (shop.folder / "customers.csv").write_text(base)
    shop.write(
        change=lambda text: text.replace(
            "sqlite:///customers.db\n  table: customers", "customers.csv"
        )
    )
    told = shop.run("withdraw", "--customer-id", "4")
    assert told.code == 4, told
    assert "Acknowledged" not in told.out
    assert "It waits until the customers can be read" in told.out
    assert "until then nobody is added anywhere" in told.out
    assert "2 destinations were asked at once to take off" in told.out
    assert "row 14, counted with the header, has fewer fields" in told.out
    assert "Mend that: it is tried again" in told.out
    assert shop.held("everyone") == expected([row for row in rows if row[0] != 4])
    assert shop.run("withdraw", "--customer-id", "13", "--json").json["unresolved"] == 1
    (shop.folder / "customers.csv").write_text(base.replace("\n13,half", "\n"))
    shop.must("withdrawals", "--deliver")
    assert "Acknowledged at" in shop.must("withdraw", "--customer-id", "5").out


def test_more_open_ones_than_are_shown_are_counted(open_shop: Callable[..., Shop]) -> None:
    """Who reads the list learns that it is not all of it, and how to see the rest."""
    shop = open_shop(people(3))
    common: dict[str, Any] = {"source": "cli", "channel": "operator", "people": 1, "identifiers": 1}
    with App.open(shop.project) as app:
        made = [
            Withdrawal(id=f"w{n}", received_at=app.now(), file=f"w{n}", **common) for n in range(23)
        ]
        app.ledger.receive_withdrawals(made, {one.id: ["meta-se"] for one in made})

    told = shop.must("withdrawals").out
    assert told.count("  meta-se  queued") == 20
    assert "and 3 more; `audience-sync withdrawals --limit 0` shows all" in told
    assert shop.must("withdrawals", "--limit", "22").out.count("meta-se  queued") == 22
    everything = shop.must("withdrawals", "--limit", "0").out
    assert everything.count("  meta-se  queued") == 23
    assert " more;" not in everything


@pytest.mark.parametrize(
    ("end", "code", "told"),
    [
        (KeyboardInterrupt(), 130, "interrupted"),
        (AwayError("the ledger cannot be used: the disk is full"), 1, "the disk is full"),
        (OSError(28, "No space left on device"), 1, "full or fails"),
    ],
)
def test_who_is_cut_off_learns_that_it_is_recorded(
    open_shop: Callable[..., Shop],
    monkeypatch: pytest.MonkeyPatch,
    end: BaseException,
    code: int,
    told: str,
) -> None:
    """Ctrl-C or a full disk while partners are told: its id, so that nobody does it twice."""

    def cut_off(*_: object) -> None:
        raise end

    monkeypatch.setattr("audience_sync.withdrawing.Withdrawing.deliver", cut_off)
    shop = open_shop(people(3))
    ended = shop.run("withdraw", "--email", "person.1@example.com")
    assert ended.code == code, ended
    err = " ".join(ended.err.split())
    assert told in err
    assert re.search(r"recorded as w\d+-\w+ and need not be given again", err)
    assert "`audience-sync withdrawals --deliver` goes on" in err
    assert "no delivery is left to go on with" not in err


def test_who_interrupts_the_delivery_learns_what_is_open(
    open_shop: Callable[..., Shop], monkeypatch: pytest.MonkeyPatch
) -> None:
    """They are kept, so many are left at these partners, and the same command goes on."""

    def cut_off(*_: object, **_options: object) -> None:
        raise KeyboardInterrupt

    shop = open_shop(people(3))
    with monkeypatch.context() as patched:
        patched.setattr("audience_sync.withdrawing.Withdrawing.deliver", cut_off)
        ended = shop.run("withdrawals", "--deliver")
        none_open = " ".join(ended.err.split())
        common: dict[str, Any] = {
            "source": "cli",
            "channel": "operator",
            "people": 1,
            "identifiers": 1,
        }
        with App.open(shop.project) as app:
            made = Withdrawal(id="w1", received_at=app.now(), file="w1", **common)
            app.ledger.receive_withdrawals([made], {"w1": ["meta-se", "google-se"]})
        one_open = " ".join(shop.run("withdrawals", "--deliver").err.split())
    assert ended.code == 130, ended
    goes_on = "`audience-sync withdrawals --deliver` goes on, and so do `serve` and workers"
    assert f"interrupted; no withdrawal is open; {goes_on}" in none_open
    assert (
        f"interrupted; 1 withdrawal is open at google-se, meta-se, and kept; {goes_on}" in one_open
    )
    assert "no delivery is left to go on with" not in none_open + one_open


def test_decisions_that_cannot_be_read_hold_nothing_up(
    synced_shop: Callable[..., Shop], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is open is sent first, then it is told why no new refusals were looked for."""

    def broken(*_: object) -> None:
        raise SourceError("the decisions cannot be read")

    rows = people(12)
    shop = synced_shop(rows)
    with monkeypatch.context() as patched:
        patched.setattr("audience_sync.withdrawing.Withdrawing.deliver", broken)
        assert shop.run("withdraw", "--email", rows[3][1]).code == 1
    assert shop.held("everyone") == expected(rows)
    monkeypatch.setattr("audience_sync.withdrawing.Withdrawing.look", broken)
    ended = shop.run("withdrawals", "--deliver")
    assert ended.code == 1, ended
    assert "the decisions cannot be read" in ended.err
    assert shop.held("everyone") == expected([row for row in rows if row is not rows[3]])


def test_who_interrupts_an_erasure_learns_its_id(
    open_shop: Callable[..., Shop], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is recorded by then; without its id nobody could go on with it."""

    def cut_off(*_: object, **_options: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("audience_sync.withdrawing.Withdrawing.deliver", cut_off)
    shop = open_shop(people(3))
    ended = shop.run("subject", "erase", "--email", "person.1@example.com")
    assert ended.code == 130, ended
    told = " ".join(ended.err.split())
    found = re.search(r"recorded as (w\d+-\w+) and need not be given again", told)
    assert found is not None
    assert f"`audience-sync subject erase --resume {found[1]}` goes on" in told
    again = shop.run("subject", "erase", "--resume", found[1])
    assert f"erase --resume {found[1]}` goes on" in " ".join(again.err.split())


def test_sigterm_tells_that_it_is_recorded(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The process still ends by the signal, as who sent it expects."""
    ended: list[tuple[int, int]] = []
    monkeypatch.setattr(os, "kill", lambda *words: ended.append(words))
    before = signal.getsignal(signal.SIGTERM)
    with told_if_cut_off(["w1"]):
        stop = signal.getsignal(signal.SIGTERM)
        assert callable(stop)
        stop(signal.SIGTERM, None)
    assert signal.getsignal(signal.SIGTERM) is before
    assert ended == [(os.getpid(), signal.SIGTERM)]
    assert "stopped; the withdrawal is recorded as w1" in capfd.readouterr().err


def test_an_address_alone_is_what_is_blocked(open_shop: Callable[..., Shop]) -> None:
    """Whose address changes later is somebody else to us; the answer says so, and what helps."""
    shop = open_shop(people(3))
    alone = " ".join(shop.must("withdraw", "--email", "person.1@example.com").out.split())
    assert "every future addition by what was given is blocked" in alone
    assert "not the customer" in alone
    assert "give the --customer-id, too" in alone
    both = shop.must("withdraw", "--email", "person.2@example.com", "--customer-id", "2").out
    assert "every future addition is blocked" in " ".join(both.split())
    assert "not the customer" not in both


def test_a_country_says_whose_national_number_it_is(open_shop: Callable[..., Shop]) -> None:
    """One that nobody knows is refused, so that no phone is read as another country's."""
    shop = open_shop(people(3))
    phone = ("withdraw", "--phone", "030 12345678")
    shop.must(*phone, "--country", "DE")
    wrong = shop.run(*phone, "--country", "XX")
    assert wrong.code == 2, wrong
    assert "--country is no ISO 3166 code such as SE" in wrong.err
    for command in ("find", "erase"):
        wrong = shop.run("subject", command, *phone[1:], "--country", "XX")
        assert wrong.code == 2, wrong
        assert "--country is no ISO 3166 code such as SE" in wrong.err
    assert not shop.must("withdrawals", "--json").json["open"]
    assert shop.run("withdraw", "--file", "x.csv", "--country", "DE").code == 2


def test_who_could_not_be_told_is_named(
    open_shop: Callable[..., Shop], monkeypatch: pytest.MonkeyPatch
) -> None:
    """One reason of several destinations names them all, so that somebody knows where to look."""

    def failing(*_: object) -> None:
        raise TemporaryPartnerError("the connection to the partner failed")

    shop = open_shop(people(12))
    shop.must("sync")
    monkeypatch.setattr("audience_sync.runs.at_list.AtList.go", failing)
    monkeypatch.setattr("audience_sync.cli.withdraw.WAIT", 0.0)
    told = shop.run("withdraw", "--email", "person.1@example.com")
    assert told.code == 4, told
    assert "  google-se, meta-se: The connection to the partner failed" in told.out
