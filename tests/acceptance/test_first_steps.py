"""What a newcomer gets wrong on the first day, and the sentence that says so."""

from __future__ import annotations

import base64
import os
import re
from collections.abc import Callable

import pytest
from shop import Shop, people, sha256

Open = Callable[..., Shop]


def _line(shop: Shop, text: str) -> int:
    """The only line of the project file that has this."""
    lines = shop.project.read_text().splitlines()
    [found] = [number for number, line in enumerate(lines, start=1) if text in line]
    return found


def _red(shop: Shop, subject: str) -> str:
    found = shop.run("check", "--json").json["findings"]
    [wrong] = [one for one in found if not one["ok"]]
    assert wrong["subject"] == subject
    return str(wrong["detail"])


def test_a_default_country_that_is_none_names_file_and_line(open_shop: Open) -> None:
    """`check` finds it before a sync does."""
    shop = open_shop(people(3), change=lambda text: text.replace("country: SE", "country: XX"))
    begins = f"audience-sync.yaml:{_line(shop, 'XX')}: policy.default_country: no phone numbers "
    assert _red(shop, "project").startswith(begins)
    told = shop.run("sync", "everyone")
    assert told.code == 2
    assert f"audience-sync: {begins}" in told.err


def test_a_column_of_hashes_names_file_and_line(open_shop: Open) -> None:
    """Raw columns that look hashed, and declared ones that do not."""
    shop = open_shop([(n, sha256(str(n)), None, "granted", "SE") for n in range(5)])
    begins = f"audience-sync.yaml:{_line(shop, 'columns:')}: "
    assert _red(shop, "source").startswith(begins)
    assert begins in shop.run("sync", "everyone").err
    shop.customers(people(3))
    shop.write(
        destinations="[meta-se]",
        change=lambda text: text.replace(
            "policy:", "  hashed:\n    email: email/plain\npolicy:"
        ).replace("  swedes", "  # swedes"),
    )
    begins = f"audience-sync.yaml:{_line(shop, 'email/plain')}: source.hashed.email says"
    assert _red(shop, "source").startswith(begins)
    assert begins in shop.run("sync", "everyone").err


@pytest.mark.parametrize(
    ("instead", "word"), [("table: customers", "table"), ("query: SELECT 1 AS id", "query")]
)
def test_a_column_is_missing_in_the_table_or_the_query(
    open_shop: Open, instead: str, word: str
) -> None:
    """The sentence speaks of what the project file speaks of."""
    shop = open_shop(
        people(3),
        change=lambda text: text.replace("table: customers", instead).replace(": email", ": mail"),
    )
    assert f'names "mail", but the {word} has no such column' in _red(shop, "source")


def test_a_key_column_that_nobody_reads_is_missing_in_the_table(open_shop: Open) -> None:
    """A sync does not read the customers' keys, but it looks for their column."""
    shop = open_shop(
        people(3), change=lambda text: text.replace("customer_id: id", "customer_id: x")
    )
    assert 'names "x", but the table has no such column' in shop.run("sync", "everyone").err


def test_an_option_without_its_value_points_at_its_command(open_shop: Open) -> None:
    """Not at the whole program."""
    shop = open_shop(people(3))
    told = shop.run("log", "--run")
    assert told.code == 2
    assert told.err.strip().endswith("see `audience-sync log --help`")
    assert "see `audience-sync log verify --help`" in shop.run("log", "verify", "--key").err
    assert "see `audience-sync --help`" in shop.run("--nonsense").err


def test_what_is_piped_is_as_wide_as_it_needs(
    synced_shop: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No line is padded, none is folded, so that grep finds whole ids and whole lists."""
    monkeypatch.delenv("COLUMNS", raising=False)
    shop = synced_shop(people(3), change=lambda text: text.replace("everyone:", f"{'e' * 60}:"))
    runs = shop.must("runs").out
    for run in shop.must("runs", "--json").json["runs"]:
        assert f"{run['audience']}, {run['destination']}" in runs
        assert run["id"] in runs
    shop.write(change=lambda text: text.replace("email: email", "email: mail"))
    for told in (
        runs,
        shop.run("check").out,
        shop.must("status").out,
        shop.run("plan", "swedes").out,
    ):
        assert [line for line in told.splitlines() if line != line.rstrip()] == []
    red = [line for line in shop.run("check").out.splitlines() if line.startswith("✗")]
    assert len(red) == 1
    assert red[0].endswith("There are: id, email, phone, consent, market")


def test_columns_says_how_wide_a_pipe_is(
    synced_shop: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Sentences are folded there between words; ids are whole all the same."""
    monkeypatch.setenv("COLUMNS", "60")
    shop = synced_shop(people(3))
    ids = [run["id"] for run in shop.must("runs", "--json").json["runs"]]
    assert [run for run in ids if run not in shop.must("runs").out] == []
    planned = shop.must("plan", "everyone", "--json").json["outcomes"]
    assert planned[0]["run"]["id"] in shop.must("runs").out
    told = shop.must("sync").out
    newest = [run["id"] for run in shop.must("runs", "--json").json["runs"]][:4]
    assert [run for run in newest if run not in told] == []
    shop.write(change=lambda text: text.replace("email: email", "email: mail"))
    red = shop.run("check").out.partition("✗")[2].partition("\n✓")[0]
    assert max(map(len, red.splitlines())) <= 60
    assert "There are: id, email, phone, consent, market" in " ".join(red.split())


def test_keys_are_named_by_where_they_came_from(open_shop: Open) -> None:
    """Who never set a variable is not sent to look for one."""
    shop = open_shop(people(3), destinations="[meta-se]")
    shop.must("sync", "everyone")
    file = shop.folder / ".audience-sync" / "state.key"
    right = file.read_text()
    other = base64.b64encode(os.urandom(32)).decode()
    for line, subject in (("state_keys=first:", "state"), ("fingerprint_key=", "keys")):
        file.write_text(re.sub(rf"(?m)^{line}.*$", line + other, right))
        told = shop.run("sync", "everyone")
        assert told.code == 2, told
        assert f"audience-sync: {file}: the " in told.err
        assert "AUDIENCE_SYNC" not in told.err
        assert str(file) in _red(shop, subject)
    file.write_text(right.replace("=first:", "=second:"))
    assert f"audience-sync: {file}: there is none of the keys" in shop.run("sync", "everyone").err
    file.write_text(right)
    shop.must("sync", "everyone")


def test_an_empty_source_is_told(open_shop: Open) -> None:
    """On a first sync nothing differs, which is no good news."""
    shop = open_shop([], destinations="[meta-se]")
    told = " ".join(shop.must("sync").out.split())
    assert told.count("The source has no rows") == 1
    [one, _] = shop.must("runs", "--json").json["runs"]
    assert one["reason"] == "the source has no rows"
    assert "the source has no rows" in shop.must("run", one["id"]).out
    assert _warned(shop, "source") == "the source has no rows"
    shop.customers(people(3))
    assert "no rows" not in shop.must("sync").out + shop.must("check").out


def _warned(shop: Shop, subject: str) -> str:
    found = shop.must("check", "--json").json["findings"]
    [one] = [one["detail"] for one in found if one.get("warning") and one["subject"] == subject]
    return str(one)


@pytest.mark.parametrize(
    ("column", "told"),
    [
        ("market", "97% of the first rows repeat the id of another"),
        ("CASE WHEN id % 7 = 0 THEN NULL ELSE id END", "some of the first rows have no id"),
    ],
)
@pytest.mark.parametrize("decided", ["", "decisions: {url: consent.csv}\n"])
def test_a_column_that_is_no_key_of_customers(
    open_shop: Open, column: str, told: str, decided: str
) -> None:
    """`check` warns, and so does a first sync; with decisions by customer every one does."""
    shop = open_shop(
        people(60),
        destinations="[meta-se]",
        change=lambda text: (
            text.replace("table: customers", f"query: SELECT *, {column} AS key FROM customers")  # noqa: S608 - our own column
            .replace("customer_id: id", "customer_id: key")
            .replace("policy:", f"{decided}policy:")
        ),
    )
    (shop.folder / "consent.csv").write_text("customer_id,decision,decided_at\n")
    warned = _warned(shop, "source")
    begins = f"audience-sync.yaml:{_line(shop, 'columns:')}: source.columns.customer_id"
    assert warned.startswith(begins)
    assert told in warned
    assert "source.columns.customer_id" in shop.must("plan", "everyone").err
    shop.must("sync", "everyone")
    assert ("source.columns.customer_id" in shop.must("sync", "everyone").err) == bool(decided)


def test_a_few_twice_are_nothing_to_warn_of(open_shop: Open) -> None:
    """A customer with two rows happens."""
    shop = open_shop([*people(60), people(1)[0]], destinations="[meta-se]")
    assert "customer_id" not in shop.must("check").out + shop.must("sync").err


def test_a_dry_run_names_no_run(open_shop: Open) -> None:
    """It keeps none, so that nobody could look at it."""
    shop = open_shop(people(3), destinations="[meta-se]")
    told = shop.must("sync", "--dry-run")
    assert re.findall(r"r\d{8}-\w+", told.out) == []
    assert "planned" in told.out
    outcome = shop.must("sync", "--dry-run", "--json").json["outcomes"][0]
    assert outcome["run"]["id"] is None
    assert outcome["run"]["delta"]["additions"] == 3
