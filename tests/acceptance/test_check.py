"""`check` is red wherever `sync` would fail."""

from __future__ import annotations

import base64
import os
from collections.abc import Callable

import pytest
from shop import Shop, expected, people, sha256

Open = Callable[..., Shop]


def _red(shop: Shop, subject: str) -> str:
    """The one finding that is wrong, which is about this."""
    ended = shop.run("check", "--json")
    wrong = [found for found in ended.json["findings"] if not found["ok"]]
    assert [found["subject"] for found in wrong] == [subject], ended
    assert ended.code in (1, 2)
    return str(wrong[0]["detail"])


def _secret() -> str:
    return base64.b64encode(os.urandom(32)).decode()


def test_a_broken_decisions_source(open_shop: Open) -> None:
    """A consent log that cannot be read stops every sync."""
    shop = open_shop(
        change=lambda text: text.replace("policy:", "decisions: {url: consent.csv}\npolicy:")
    )
    assert "consent.csv" in _red(shop, "decisions")
    columns = "customer_id,decision,decided_at\n"
    (shop.folder / "consent.csv").write_text(f"{columns}1,granted,2026-01-01\n")
    assert "limited to" not in shop.must("check").out
    (shop.folder / "consent.csv").write_text(
        "customer_id,decision,decided_at,partner\n"
        "1,granted,2026-01-01,Meta\n2,granted,2026-01-01,meta-se\n"
    )
    assert "1 of the first 2 rows are limited to a partner" in shop.must("check").out


def test_a_column_of_hashes(open_shop: Open) -> None:
    """It would be hashed twice and match nobody."""
    shop = open_shop([(n, sha256(str(n)), None, "granted", "SE") for n in range(5)])
    assert "looks like SHA-256" in _red(shop, "source")


def test_keys_of_another_state(open_shop: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither another state key nor another fingerprint key goes unnoticed, by sync either."""
    shop = open_shop(destinations="[meta-se]")
    right = _secret()
    monkeypatch.setenv("AUDIENCE_SYNC_STATE_KEYS", f"one:{_secret()}")
    monkeypatch.setenv("AUDIENCE_SYNC_FINGERPRINT_KEY", right)
    shop.must("sync", "everyone")
    shop.must("check")
    monkeypatch.setenv("AUDIENCE_SYNC_FINGERPRINT_KEY", _secret())
    assert "FINGERPRINT_KEY" in _red(shop, "keys")
    assert "FINGERPRINT_KEY" in shop.run("sync", "everyone").err
    monkeypatch.setenv("AUDIENCE_SYNC_FINGERPRINT_KEY", right)
    monkeypatch.setenv("AUDIENCE_SYNC_STATE_KEYS", f"one:{_secret()}")
    assert "STATE_KEYS" in _red(shop, "state")


@pytest.mark.parametrize("partner", ["meta", "google"])
def test_an_adopted_list_that_is_not_there(open_shop: Open, partner: str) -> None:
    """The project names a list; that there is none shows before anything is sent."""
    shop = open_shop(people(3), destinations=f'{{{partner}-se: {{remote_id: "424242"}}}}',
                     change=lambda text: text.partition("  swedes:")[0])  # fmt: skip
    told = _red(shop, f"destination {partner}-se")
    assert "424242" in told
    assert "remote_id" in told


def test_a_list_that_was_deleted(open_shop: Open) -> None:
    """Somebody deleted our list at the partner; the finding names the way out, and it works."""
    rows = people(3)
    shop = open_shop(rows, destinations="[meta-se]")
    assert shop.run("forget", "everyone", "meta-se").code == 2
    shop.must("sync", "everyone")
    still = shop.run("forget", "everyone", "meta-se")
    assert still.code == 2
    assert "still has the list" in still.err
    shop.control("reset")
    assert "audience-sync forget everyone meta-se" in _red(shop, "destination meta-se")
    shop.must("forget", "everyone", "meta-se")
    shop.must("check")
    shop.must("sync", "everyone")
    assert shop.held() == expected(rows)


def test_an_address_in_an_error_is_whole(open_shop: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    """People copy it in one piece: a narrow terminal folds before and after it."""
    address = "https://business.facebook.com/ads/manage/customaudiences/tos/?act=1234567890"
    monkeypatch.setenv("COLUMNS", "80")
    shop = open_shop(people(3), destinations="[meta-se]")
    shop.fault("terms-not-accepted", operation="account", times=2)
    assert address in shop.run("check").out
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setattr("rich.console.Console.is_terminal", True)
    assert address in shop.run("check").out


def test_a_wrong_condition_names_file_and_line(open_shop: Open) -> None:
    """As every other mistake in the project file does."""
    shop = open_shop(people(3), change=lambda text: text.replace("market = 'SE'", "marked = 'SE'"))
    [line] = [
        number
        for number, text in enumerate(shop.project.read_text().splitlines(), start=1)
        if "marked" in text
    ]
    told = shop.run("sync", "swedes")
    assert told.code == 2
    assert f"audience-sync.yaml:{line}: " in told.err
    assert "audiences.swedes.where" in told.err


def test_a_destination_that_there_is_not(open_shop: Open) -> None:
    """A slip of the pen is told as one, with the names that there are."""
    ended = open_shop().run("check", "meta-xx")
    assert ended.code == 2, ended
    assert "no destination meta-xx in audience-sync.yaml; there are meta-se" in ended.out


def test_what_is_wrong_twice_is_told_once(open_shop: Open) -> None:
    """Two destinations with one wrong token need one piece of advice; JSON has it for each."""
    shop = open_shop()
    secret = shop.folder / "secrets" / "expired"
    secret.write_text("expired")
    secret.chmod(0o600)
    common = (
        f'connector: tiktok, base_url: {shop.url}/tiktok, advertiser_id: "7000000000000000001", '
        "access_token: file:secrets/expired"
    )
    shop.write(
        destinations="[tiktok-se, tiktok-files]",
        change=lambda text: text.replace(
            "destinations:\n",
            f"destinations:\n  tiktok-se: {{{common}}}\n"
            f"  tiktok-files: {{{common}, flow: files}}\n",
            1,
        ),
    )
    told = " ".join(shop.run("check").out.split())
    assert told.count("authorise the app again") == 1
    assert "✗ destination tiktok-files the same as destination tiktok-se" in told
    wrong = [one for one in shop.run("check", "--json").json["findings"] if not one["ok"]]
    assert ["authorise the app again" in one["detail"] for one in wrong] == [True, True]
