"""What the demonstration says of the simulated partners is looked at, not assumed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import requests
from order_shop import OrderShop, order_line
from shop import PATIENCE, Shop, people, sha256
from shop_abroad import open_abroad

from audience_sync.cli.comparing import Compared, compared, print_comparison
from audience_sync.sandbox import RunningSandbox

DEVICES = (
    "    allow_unhashed_device_ids: true\n    ios_app_id: '123456789'\n"
    "    android_app_id: com.example.app\n    further_accounts: [{operating_account: '5551234'}]\n"
)
IDFA, GAID = "6d92078a-8246-4ba4-ae5b-76104861e7dc", "38400000-8cf0-11bd-b23e-10b96e40000d"


def _with_devices(text: str) -> str:
    text = text.replace("phone: phone, ", "phone: phone, idfa: idfa, gaid: gaid, ")
    return text.replace("connector: google\n", f"connector: google\n{DEVICES}")


def _look(shop: Shop | OrderShop) -> list[Compared]:
    return list(compared(shop.folder / "audience-sync.yaml", shop.url))


def test_every_kind_at_every_account_is_compared(open_shop: Callable[..., Shop]) -> None:
    """Google's lists of contacts and of devices are one audience, in each account."""
    shop = open_shop(people(3), destinations="[google-se]", change=_with_devices)
    shop.sql("ALTER TABLE customers ADD COLUMN idfa TEXT")
    shop.sql("ALTER TABLE customers ADD COLUMN gaid TEXT")
    shop.sql(f"UPDATE customers SET idfa = '{IDFA}', gaid = '{GAID}' WHERE id = 1")  # noqa: S608 - our own ids
    shop.must("sync", "everyone")

    found = _look(shop)

    assert [one.place for one in found] == ["google-se", "google-se 5551234"]
    assert all(one.same and one.believed["device"] == 2 for one in found)


def test_what_differs_is_counted(
    open_shop: Callable[..., Shop], capsys: pytest.CaptureFixture[str]
) -> None:
    """An identifier that nobody sent is one more; what the partner forgot is fewer."""
    shop = open_shop(people(3), destinations="[meta-se]")
    shop.must("sync", "everyone")
    [one] = _look(shop)
    assert (one.same, one.believed["email"]) == (True, 3)
    state = requests.get(f"{shop.url}/_control/state", timeout=PATIENCE).json()
    [listed] = state["meta"]["lists"]
    requests.post(
        f"{shop.url}/meta/v26.0/{listed['id']}/users",
        headers={"Authorization": "Bearer sandbox-token"},
        json={"payload": {"schema": "EMAIL_SHA256", "data": [sha256("stranger@example.com")]}},
        timeout=PATIENCE,
    ).raise_for_status()

    [one] = _look(shop)

    assert (one.more, one.fewer) == (1, 0)
    shop.control("reset")
    [one] = _look(shop)
    assert (one.more, one.fewer) == (0, sum(one.believed.values()))
    capsys.readouterr()
    assert print_comparison(shop.project, shop.url) is False
    assert f"0 more, {one.fewer} fewer identifiers" in capsys.readouterr().out


def test_the_line_that_begins_a_list_from_files_is_nobodys(
    tmp_path: Path, sandbox: RunningSandbox
) -> None:
    """TikTok's lists from files, one a kind, are one audience."""
    lines = (
        f"base_url: {sandbox.url}/tiktok",
        'advertiser_id: "7000000000000000001"',
        "access_token: file:secrets/partner-token",
        "flow: files",
    )
    shop = open_abroad(tmp_path, sandbox.url, "tiktok", lines)
    shop.must("sync")

    [one] = _look(shop)

    assert (one.same, one.believed["email"]) == (True, 30)
    assert one.believed["phone"] > 0


def test_orders_are_compared_line_by_line(tmp_path: Path, sandbox: RunningSandbox) -> None:
    """A line that counts other than we believe, and one that nobody knows, are found."""
    shop = OrderShop(tmp_path, sandbox.url)
    shop.write()
    shop.customers([(1, "anna@example.com", None, "granted")])
    shop.orders(order_line("100045", 1, "SKU1", "49.99"), order_line("100046", 1, "SKU2", "5"))
    shop.must("sync", "orders")
    [one] = _look(shop)
    assert (one.same, one.place) == (True, "rakuten-se: 2 orders")
    [call, *_] = shop.calls()
    assert call["operation"] == "order"
    requests.get(
        f"{shop.url}/rakuten/ep",
        params={
            "mid": "37978",
            "ord": "100045",
            "tr": "click",
            "land": "20261101_0900",
            "skulist": "SKU1",
            "qlist": "1",
            "namelist": "Scarf",
            "amtlist": "100",
            "cur": "USD",
        },
        timeout=PATIENCE,
    ).raise_for_status()

    [one] = _look(shop)

    assert (one.more, one.fewer) == (1, 1)
    shop.control("reset")
    [one] = _look(shop)
    assert (one.more, one.fewer) == (0, 2)
