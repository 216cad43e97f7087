"""A red team: values that stand nowhere else are looked for in every byte that we write or say."""

from __future__ import annotations

from typing import Any

from redteam.attack import WELL, Attack, command_names
from redteam.scenarios import LASTING, SCENARIOS, TOGETHER
from redteam.target import customer
from shop import sha256

PARTNERS = ("meta", "google", "tiktok", "snapchat", "pinterest", "x", "webhook", "rakuten")
FAULTS: tuple[dict[str, Any], ...] = (
    {"kind": "rate-limit", "minutes": 0},
    {"kind": "5xx"},
    {"kind": "expired-token"},
    {"kind": "terms-not-accepted"},
    {"kind": "html"},
    {"kind": "half-json"},
    {"kind": "drop"},
    {"kind": "fail-after-change"},
    {"kind": "reject-share", "share": 0.5, "record_indices": True},
    {"kind": "reject-values", "values": [sha256(customer(7)["email"].strip().lower())]},
    {"kind": "final-failure"},
)
AT_ONCE = 4  # faults of a partner in one sync
ECHOES = {
    200: ("status", "--poll"),
    400: ("withdraw", "--email", customer(10)["email"]),
    401: ("check",),
    429: ("withdrawals", "--deliver"),
    500: ("subject", "erase", "--email", customer(17)["email"], "--patience", "0"),
}


def test_every_command_is_attacked() -> None:
    """A new command needs a scenario of its own, here or in the test that it runs in."""
    assert command_names() == set(SCENARIOS) | TOGETHER | LASTING


def test_no_command_says_or_writes_a_value(attack: Attack) -> None:
    """Every command, for people and as JSON, with the logs of all libraries at DEBUG."""
    for scenario in SCENARIOS.values():
        scenario(attack)

    useless = {name for name, codes in attack.codes.items() if not codes & WELL}
    assert useless == set()
    assert attack.codes.keys() >= set(SCENARIOS) | TOGETHER
    assert attack.hits() == []


def test_failing_partners_are_not_repeated(attack: Attack) -> None:
    """Partners that meet every fault, and such as repeat our whole request in their answers."""
    attack.run("sync", "--force")
    for turn in range(0, len(FAULTS), AT_ONCE):
        attack.target.change(turn)
        for at, partner in enumerate(PARTNERS):
            for fault in (*FAULTS, *FAULTS)[(turn + at) % len(FAULTS) :][:AT_ONCE]:
                attack.target.fault(partner=partner, operation="*", **fault)
        attack.run("sync", "--debug")
        attack.target.clear_faults()
    for status, more in ECHOES.items():
        attack.target.change(status)
        attack.mirror.echo = status
        attack.run("sync", "--force")
        attack.run(*more, "--debug")
        attack.mirror.echo = None
    attack.run("sync", "--json")

    assert attack.hits() == []
    assert attack.mirror.repeated >= len(ECHOES) * len(PARTNERS)
    sent = {hit.value.partition(" of ")[0] for hit in attack.sent()}
    assert sent >= {"email", "phone", "idfa", "gaid", "loyalty", "number", "META_TOKEN"}
