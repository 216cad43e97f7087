"""Bad input, named: each is a clear error or a counted drop; nothing is lost or sent by mistake."""

from __future__ import annotations

import errno
import shlex
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from shop import ROOT, Shop, counts, expected, people, sha256

from audience_sync.membership.location import FolderLocation

Open = Callable[..., Shop]


def _funnel(shop: Shop, *words: str) -> dict[str, int]:
    [first, *_] = shop.must("sync", "everyone", *words, "--json").json["outcomes"]
    found: dict[str, int] = first["run"]["funnel"]
    return found


def _refused(shop: Shop, *words: str, code: int = 2) -> str:
    """The sentence with which a sync is refused; nothing was sent."""
    ended = shop.run("sync", "everyone", *words)
    assert ended.code == code, ended
    assert "Traceback" not in ended.out + ended.err
    assert [e for e in shop.journal() if e["operation"] in ("add", "remove")] == []
    return ended.out + ended.err


def test_an_empty_source(open_shop: Open) -> None:
    """Nobody is nobody: nothing to send, and no error when no guard says otherwise."""
    shop = open_shop([])
    assert _funnel(shop)["rows_read"] == 0
    assert shop.journal() == []


def test_one_row(open_shop: Open) -> None:
    """One customer arrives."""
    rows = people(1)
    shop = open_shop(rows)
    assert _funnel(shop)["members"] == 1
    assert shop.held() == expected(rows)


@pytest.mark.parametrize("column", ["email", "phone", "consent"])
def test_a_column_of_nulls(open_shop: Open, column: str) -> None:
    """Without e-mails phones go, without phones e-mails; without consent nobody."""
    shop = open_shop(people(5))
    shop.sql(f"UPDATE customers SET {column} = NULL")  # noqa: S608 - our own columns
    funnel = _funnel(shop)
    assert funnel["members"] == (0 if column == "consent" else 5)
    assert funnel["no_consent"] == (5 if column == "consent" else 0)
    assert column not in shop.held()


@pytest.mark.parametrize("make", [int, str, lambda n: str(uuid.UUID(int=n))])
def test_ids_of_every_kind(open_shop: Open, make: Callable[[int], Any]) -> None:
    """Integers, strings, UUIDs."""
    rows = [(make(row[0]), *row[1:]) for row in people(6)]
    shop = open_shop(rows)
    assert _funnel(shop)["members"] == 6
    assert shop.held() == expected(rows)


def test_duplicate_ids_and_people(open_shop: Open) -> None:
    """A row that comes twice, and two accounts of one person, are one member each; sums hold."""
    rows = [*people(4), people(1)[0], (77, "PERSON.2@example.com", None, "granted", "SE")]
    shop = open_shop(rows)
    funnel = _funnel(shop)
    assert (funnel["rows_read"], funnel["members"], funnel["merged"]) == (6, 4, 2)
    assert shop.held() == expected(rows)


def test_strange_addresses(open_shop: Open) -> None:
    """Long, with NUL, several @, quotes, international: dropped and counted, or rightly hashed."""
    rows = [
        (1, "x" * 1_000_000 + "@example.com", None, "granted", "SE"),
        (2, "nul\0byte@example.com", None, "granted", "SE"),
        (3, "two@at@example.com", None, "granted", "SE"),
        (4, '"quoted name"@example.com', None, "granted", "SE"),
        (5, "anna@exämple.se", None, "granted", "SE"),
        (6, "plain@example.com", None, "granted", "SE"),
        (7, "", "letters", "granted", "SE"),
    ]
    shop = open_shop(rows)
    funnel = _funnel(shop)
    assert funnel["rows_read"] == 7
    assert funnel["members"] + funnel["no_usable_identifier"] == 7
    held = shop.held()["email"]
    assert sha256("plain@example.com") in held
    assert sha256("two@at@example.com") not in held
    assert sha256("") not in held
    assert len(held) == funnel["members"]


def test_lone_surrogates_in_a_file(open_shop: Open) -> None:
    """Half a character in a CSV file is told in a sentence, or dropped and counted."""
    shop = open_shop(change=lambda text: text.replace(
        "url: sqlite:///customers.db\n  table: customers", "url: customers.csv"
    ))  # fmt: skip
    (shop.folder / "customers.csv").write_bytes(
        b"id,email,phone,consent,market\n1,\xed\xa0\x80@example.com,,granted,SE\n"
        b"2,fine@example.com,,granted,SE\n"
    )
    ended = shop.run("sync", "everyone", "--json")
    assert "Traceback" not in ended.err
    if ended.code == 0:
        assert shop.held()["email"] <= {sha256("fine@example.com")}
    else:
        assert "UTF-8" in ended.err
        assert shop.journal() == []


@pytest.mark.parametrize("born", ["1850-01-01", "0001-01-01", "2999-12-31", "not a date"])
def test_birth_dates_that_cannot_be(open_shop: Open, born: str) -> None:
    """They do not prove an age, so the customer is left out as under age."""
    shop = open_shop(people(3), change=lambda text: text.replace(
        "consent: consent}", "consent: consent, birth_date: born}"
    ).replace("default_country: SE", "default_country: SE, minimum_age: 18"))  # fmt: skip
    shop.sql("ALTER TABLE customers ADD COLUMN born TEXT DEFAULT '1980-05-05'")
    shop.sql(f"UPDATE customers SET born = '{born}' WHERE id = 1")  # noqa: S608 - our own dates
    funnel = _funnel(shop)
    assert (funnel["under_age"], funnel["members"]) == (1, 2)


def test_a_consent_value_that_nobody_knows(open_shop: Open) -> None:
    """Closed by default, counted, and shown to the person who can mend it."""
    rows = people(5)
    rows[2] = (*rows[2][:3], "jawohl", "SE")
    shop = open_shop(rows)
    funnel = _funnel(shop)
    assert (funnel["members"], funnel["no_consent"], funnel["unknown_consent_values"]) == (4, 1, 1)
    told = shop.must("sync", "everyone").out
    assert "1 rows hold a consent value that nobody knows" in told
    assert "jawohl" not in told
    assert shop.held() == expected(rows)


def test_two_project_files(open_shop: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    """Which one counts is not guessed."""
    shop = open_shop()
    (shop.folder / "audience-sync.yml").write_text(shop.project.read_text())
    ended = Shop.run(shop, "--project", str(shop.folder), "sync")
    assert ended.code == 2
    assert "keep one" in ended.err


def test_a_state_folder_from_another_key(open_shop: Open) -> None:
    """Our memory cannot be read: said so, and nothing is sent."""
    shop = open_shop()
    shop.must("sync", "everyone")
    key = shop.folder / ".audience-sync/state.key"
    key.unlink()
    shop.sql("DELETE FROM customers WHERE id = 1")
    before = len(shop.journal())
    ended = shop.run("sync", "everyone")
    assert ended.code in (1, 2)
    assert "key" in ended.err
    assert shop.journal()[before:] == []


def test_a_full_disk_while_the_outbox_is_written(
    open_shop: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Told in a sentence, nothing sent; with room again the sync goes through."""
    rows = people(20)
    shop = open_shop(rows)
    whole = FolderLocation._create

    @contextmanager
    def full(self: FolderLocation, path: str, **more: Any) -> Iterator[Any]:
        with whole(self, path, **more) as file:
            yield _FullDisk() if path.startswith("outbox") else file

    monkeypatch.setattr(FolderLocation, "_create", full)
    told = _refused(shop, code=1)
    assert "the state location is full" in told
    monkeypatch.setattr(FolderLocation, "_create", whole)
    shop.must("sync", "everyone")
    assert shop.held() == expected(rows)


class _FullDisk:
    """A file for which there is no room."""

    def write(self, _content: bytes) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    def flush(self) -> None:
        self.write(b"")

    def tell(self) -> int:
        return 0


def test_a_disk_that_fills_up_anywhere(open_shop: Open) -> None:
    """The same with a real limit on the size of files, wherever it is met first."""
    rows = people(9_000)
    shop = open_shop(rows, destinations="[meta-se]")
    shop.must("sync", "everyone", "--dry-run")
    python, project = shlex.quote(sys.executable), shlex.quote(str(shop.project))
    command = f"ulimit -f 250; exec {python} -m audience_sync.cli --project {project}"
    ended = subprocess.run(  # noqa: S603 - our own command
        ["/bin/bash", "-c", f"{command} sync everyone"],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert ended.returncode == 1, ended
    assert "unexpected" not in ended.stderr, ended.stderr
    assert shop.held() == {}
    shop.must("sync", "everyone")
    assert shop.held() == expected(rows)


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("email: email", "email: mail_adress", "mail_adress"),
        ("consent: consent", "consent: ads_ok", "ads_ok"),
        (", consent: consent", "", "consent"),
        ("table: customers", "table: nowhere", "nowhere"),
        ("sqlite:///customers.db", "sqlite:///absent.db", "absent.db"),
        ("market = 'SE'", "market === ;", "swedes"),
        ("connector: meta", "connector: mata", "did you mean"),
        ("file:secrets/meta-token", "sandbox-token", "access_token"),
        ("policy:", "polices:", "polices"),
    ],
)
def test_a_wrong_project(open_shop: Open, old: str, new: str, told: str) -> None:
    """Every mistake is a sentence that names what is wrong; exit 2 or 1, nothing sent."""
    shop = open_shop(change=lambda text: text.replace(old, new, 1))
    ended = shop.run("sync")
    assert ended.code in (1, 2), ended
    assert told in ended.err
    assert "unexpected" not in ended.err
    assert shop.journal() == []
    check = shop.run("check")
    assert check.code == ended.code
    assert "✗" in check.out


def test_names_that_do_not_exist(open_shop: Open) -> None:
    """A wrong audience, destination or run is told with what there is."""
    shop = open_shop()
    assert "there are everyone, swedes" in shop.run("sync", "nobody").err
    assert "meta-se" in shop.run("sync", "--destination", "nowhere").err
    assert shop.run("sync", "--nonsense").code == 2
    assert shop.run("log", "--since", "yesterday").code == 2
    assert shop.run("sync", "--dry-run", "--force").code == 2
    assert counts(shop.must("sync", "--json"))["additions"] == 24
