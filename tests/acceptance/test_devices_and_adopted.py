"""Device IDs that leave unhashed, where that is allowed, and lists that were there before us."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import requests
from shop import PATIENCE, Shop, expected, people

Open = Callable[..., Shop]

IDFA = "6d92078a-8246-4ba4-ae5b-76104861e7dc"
GAID = "38400000-8cf0-11bd-b23e-10b96e40000d"


def _device_shop(open_shop: Open, partner: str, settings: str) -> Shop:
    """A shop whose customers have devices, and whose partner may have them unhashed."""

    def change(text: str) -> str:
        text = text.replace("phone: phone, ", "phone: phone, idfa: idfa, gaid: gaid, ")
        return text.replace(f"connector: {partner}\n", f"connector: {partner}\n{settings}")

    shop = open_shop(people(3), destinations=f"[{partner}-se]", change=change)
    shop.sql("ALTER TABLE customers ADD COLUMN idfa TEXT")
    shop.sql("ALTER TABLE customers ADD COLUMN gaid TEXT")
    shop.sql(f"UPDATE customers SET idfa = '{IDFA}', gaid = '{GAID}' WHERE id = 1")  # noqa: S608 - our own ids
    return shop


def _held_anywhere(shop: Shop, partner: str) -> dict[str, set[str]]:
    """What all lists of a partner hold together, by kind."""
    found: dict[str, set[str]] = {}
    state = requests.get(f"{shop.url}/_control/state", timeout=PATIENCE).json()
    for entry in state[partner]["lists"]:
        asked = {"partner": partner, "list": entry["id"]}
        told = requests.get(f"{shop.url}/_control/members", params=asked, timeout=PATIENCE).json()
        for kind, values in told["identifiers"].items():
            found.setdefault(kind, set()).update(values)
    return {kind: values for kind, values in found.items() if values}


@pytest.mark.parametrize(
    ("partner", "settings"),
    [
        ("meta", "    allow_unhashed_device_ids: true\n"),
        (
            "google",
            (
                "    allow_unhashed_device_ids: true\n    ios_app_id: '123456789'\n"
                "    android_app_id: com.example.app\n"
            ),
        ),
    ],
)
def test_allowed_device_ids_travel_and_are_removed(
    open_shop: Open, partner: str, settings: str
) -> None:
    """They arrive, every line about them says that they were raw, and a refusal removes them."""
    shop = _device_shop(open_shop, partner, settings)
    shop.must("sync", "everyone")
    held = _held_anywhere(shop, partner)
    devices = {value.lower() for kind in held for value in held[kind]} & {IDFA, GAID}
    assert devices == {IDFA, GAID}, held
    shop.run("status", "--poll")
    lines = [entry["line"] for entry in shop.must("log", "--json").json["lines"]]
    lines = [line for line in lines if line["batch"] is not None]  # others name nobody
    assert lines
    assert all(line["raw_device_ids"] for line in lines)
    assert all("idfa=device/raw@1" in line["forms"] for line in lines)

    shop.sql("UPDATE customers SET consent = 'withdrawn' WHERE id = 1")
    shop.must("sync", "everyone")
    held = _held_anywhere(shop, partner)
    assert not {value.lower() for kind in held for value in held[kind]} & {IDFA, GAID}
    assert len(held["email"]) == 2
    last = shop.must("log", "--json").json["lines"][-1]["line"]
    assert (last["operation"], last["raw_device_ids"]) == ("remove", True)


def test_a_system_without_an_app_is_not_claimed(open_shop: Open) -> None:
    """Google gets no device ID of a system whose app nobody named, and the log claims none."""
    settings = '    allow_unhashed_device_ids: true\n    ios_app_id: "123456789"\n'
    shop = _device_shop(open_shop, "google", settings)
    shop.must("sync", "everyone")
    held = _held_anywhere(shop, "google")
    assert GAID not in {value.lower() for kind in held for value in held[kind]}
    told = shop.must("log", "--json").out
    assert "idfa=device/raw@1" in told
    assert "gaid" not in told
    shop.write(destinations="[google-se]", change=lambda text: text.replace(
        "connector: google\n", "connector: google\n    allow_unhashed_device_ids: true\n"
    ))  # fmt: skip
    refused = shop.run("sync", "everyone")
    assert refused.code == 2
    assert "ios_app_id" in refused.err


def test_device_ids_stay_here_without_permission(open_shop: Open) -> None:
    """A mapped column alone is no permission."""
    shop = _device_shop(open_shop, "meta", "")
    shop.must("sync", "everyone")
    assert set(_held_anywhere(shop, "meta")) == {"email", "phone"}


def _adopting(shop: Shop, remote_id: str) -> None:
    shop.write(
        destinations=f'{{meta-se: {{remote_id: "{remote_id}"}}}}',
        change=lambda text: text.partition("  swedes:")[0],
    )


def _made_by_hand(shop: Shop) -> str:
    """A list that somebody made at Meta, outside of this project."""
    answer = requests.post(
        f"{shop.url}/meta/v25.0/act_1234567890/customaudiences",
        data={"name": "by hand", "subtype": "CUSTOM", "customer_file_source": "USER_PROVIDED_ONLY"},
        headers={"Authorization": f"Bearer {(shop.folder / 'secrets/meta-token').read_text()}"},
        timeout=PATIENCE,
    )
    return str(answer.json()["id"])


def test_an_adopted_list_is_the_one_that_is_changed(open_shop: Open) -> None:
    """No list is made; additions and removals go to the one that the project names."""
    rows = people(4)
    shop = open_shop(rows)
    remote_id = _made_by_hand(shop)
    _adopting(shop, remote_id)
    shop.must("check")
    shop.must("sync", "everyone")
    shop.customers(rows[1:])
    shop.must("sync", "everyone")
    [only] = requests.get(f"{shop.url}/_control/state", timeout=PATIENCE).json()["meta"]["lists"]
    assert only["id"] == remote_id
    assert len(_held_anywhere(shop, "meta")["email"]) == 3
    assert shop.must("status", "--json").json["lists"][0]["remote_id"] == remote_id


def test_a_wrong_remote_id_can_be_corrected(open_shop: Open) -> None:
    """While nothing has arrived, the project's word counts; later it cannot be swapped."""
    shop = open_shop(people(4))
    remote_id = _made_by_hand(shop)
    _adopting(shop, "424242")
    assert shop.run("sync", "everyone").code == 1
    _adopting(shop, remote_id)
    shop.must("sync", "everyone")
    assert len(_held_anywhere(shop, "meta")["email"]) == 4
    _adopting(shop, "434343")
    shop.customers(people(5))
    swapped = shop.run("sync", "everyone")
    assert swapped.code == 2
    assert "another list" in swapped.out


def test_a_wrong_remote_id_can_be_taken_out(open_shop: Open) -> None:
    """Then the audience gets a list of its own, as if no other had ever been named."""
    rows = people(4)
    shop = open_shop(rows)
    _adopting(shop, "424242")
    assert shop.run("sync", "everyone").code == 1
    shop.write(destinations="[meta-se]")
    shop.must("sync", "everyone")
    assert shop.held() == expected(rows)
