"""What is tried with each command; a command without a scenario fails the test by its name."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from redteam.attack import Attack
from redteam.target import customer

from audience_sync.keys import KEY_FILE


def _init(attack: Attack) -> None:
    for name, more in (("fresh", ()), ("made-up", ("--demo", "--customers", "40"))):
        (attack.root / name).mkdir()
        place = ("--project", str(attack.root / name))
        attack.run("init", *more, *place)


def _schema(attack: Attack) -> None:
    attack.both("schema")


def _new(attack: Attack) -> None:
    attack.run("connectors", "new", "zq-partner", "--into", str(attack.root / "home"))


def _check(attack: Attack) -> None:
    attack.run("check")
    attack.run("check", "webhook-se", "--json")


def _plan(attack: Attack) -> None:
    attack.both("plan", "everyone")
    attack.both("plan", "orders")
    attack.both("plan", "nobody-knows")


def _cancel(attack: Attack) -> None:
    attack.both("cancel", attack.newest("everyone", "meta-se"))


def _sync(attack: Attack) -> None:
    attack.run("sync", "--dry-run", "--json")
    attack.run("sync", "--force", "--debug")
    attack.target.sql("UPDATE customers SET consent = 'withdrawn' WHERE id LIKE '%zqvx005%'")
    attack.target.sql("UPDATE order_lines SET quantity = 2 WHERE number LIKE '%00004'")
    attack.target.sql("UPDATE order_lines SET status = 'cancelled' WHERE number LIKE '%00006'")
    attack.run("sync", "--json")


def _approve(attack: Attack) -> None:
    attack.target.sql("UPDATE customers SET consent = 'granted' WHERE id LIKE '%zqvx005%'")
    text = attack.target.project.read_text()
    held = text.replace("minimum_members: off", "minimum_members: 5000")
    attack.target.project.write_text(held)
    assert attack.both("sync", "everyone", "--destination", "meta-se").code == 3
    attack.both("approve", attack.newest("everyone", "meta-se"))
    attack.target.project.write_text(text)


def _resume(attack: Attack) -> None:
    attack.target.sql("UPDATE customers SET consent = 'denied' WHERE id LIKE '%zqvx006%'")
    attack.mirror.echo = 503
    attack.run("sync", "everyone", "--destination", "webhook-se", "--debug")
    attack.mirror.echo = None
    attack.both("resume", attack.newest("everyone", "webhook-se"))


def _forget(attack: Attack) -> None:
    attack.target.control("reset")
    attack.run("sync", "north", "--destination", "meta-se")
    attack.run("forget", "north", "meta-se")


def _withdraw(attack: Attack) -> None:
    given = attack.target.folder / "given"
    attack.run("withdraw", "--email", customer(10)["email"])
    attack.run("withdraw", "--phone", "-", "--partner", "meta", stdin=customer(11)["phone"] + "\n")
    attack.run("withdraw", "--device", customer(12)["gaid"], "--partner", "meta")
    attack.run("withdraw", "--customer-id", customer(13)["id"], "--partner", "webhook", "--json")
    attack.run("withdraw", "--file", str(given / "leaving.csv"), "--json")
    attack.run(
        "withdraw", "--file", "-", "--partner", "x", stdin=f"phone\n{customer(14)['phone']}\n"
    )
    for wrong in ("Zqvxbad0 is no address", customer(15)["name"]):
        attack.both("withdraw", "--email", wrong)
        attack.run("withdraw", "--phone", wrong)
        attack.run("withdraw", "--partner", wrong, "--email", customer(15)["email"])
    attack.both("withdraw", "--file", str(given / "nonsense.csv"))


def _withdrawals(attack: Attack) -> None:
    attack.both("withdrawals")
    attack.both("withdrawals", "--deliver")


def _find(attack: Attack) -> None:
    one = customer(16)
    attack.both("subject", "find", "--email", one["email"])
    attack.both("subject", "find", "--phone", one["phone"], "--customer-id", one["id"])
    attack.run("subject", "find", "--device", "-", stdin=one["idfa"] + "\n")
    attack.run("subject", "find", "--email", customer(10)["email"], "--json")
    attack.both("subject", "find", "--email", "Zqvxbad0 is no address")


def _erase(attack: Attack) -> None:
    attack.run("subject", "erase", "--email", customer(17)["email"], "--json")
    attack.run("subject", "erase", "--customer-id", customer(18)["id"], "--patience", "0")
    attack.both("subject", "erase", "--resume", "Zqvxbad0 is no address")


def _keys(attack: Attack) -> None:
    attack.both("keys", "show")
    attack.both("keys", "rotate")
    attack.both("keys", "drop", "k1")


def _keys_of_a_file(attack: Attack) -> None:
    """Keys that we made ourselves: they stand in their file and nowhere else."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("STATE_KEYS", "FINGERPRINT_KEY", "SIGNING_KEY"):
            patch.delenv(f"AUDIENCE_SYNC_{name}")
        other = attack.elsewhere("other")
        other.run("sync", "everyone", "--destination", "webhook-se")
        other.both("keys", "rotate")
        other.both("keys", "rotate", "--fingerprint")
        for name in [key["name"] for key in other.run("keys", "show", "--json").json["keys"]]:
            other.both("keys", "drop", name)
        assert (other.target.folder / ".audience-sync" / KEY_FILE).exists()


def _log(attack: Attack) -> None:
    attack.both("log")
    attack.both("log", "--last", "0", "--since", "7d")


def _proofs(attack: Attack) -> None:
    bundle, proof = attack.root / "bundle.jsonl", attack.root / "proof.json"
    attack.both("log", "verify")
    attack.both("log", "export", "--output", str(bundle))
    attack.both("log", "prove", "3", "--output", str(proof))
    for file in (bundle, proof):
        attack.both("log", "verify", str(file))


def _orders(attack: Attack) -> None:
    attack.both("orders")
    for at, settle in ((15, "arrived"), (16, "lost")):
        attack.target.add_order(f"order-zqvx9{at:04}", like=at)
        attack.target.fault("fail-after-change", "order", "rakuten", then="drop")
        for _ in range(2):  # the first is cut off, the second finds out that nobody knows
            attack.run("sync", "orders", "--destination", "rakuten-se")
        waiting = attack.run("orders", "--json").json["destinations"][0]["unknown"]
        for run in waiting:
            attack.run("orders", settle, run)


def _runs(attack: Attack) -> None:
    attack.both("runs")
    attack.both("run", attack.newest("everyone", "webhook-se"))
    attack.both("run", attack.newest("orders", "rakuten-se"))


def _plain(*words: str) -> Callable[[Attack], None]:
    def tried(attack: Attack) -> None:
        attack.both(*words)

    return tried


# In this order, one after the other, in one process.
SCENARIOS: dict[str, Callable[[Attack], None]] = {
    "schema": _schema,
    "init": _init,
    "migrate": _plain("migrate"),
    "health": _plain("health"),
    "ready": _plain("ready"),
    "connectors": _plain("connectors"),
    "connectors show": _plain("connectors", "show", "webhook"),
    "connectors new": _new,
    "check": _check,
    "plan": _plan,
    "cancel": _cancel,
    "sync": _sync,
    "approve": _approve,
    "resume": _resume,
    "orders": _orders,
    "status": _plain("status", "--poll"),
    "runs": _runs,
    "canaries": _plain("canaries"),
    "withdraw": _withdraw,
    "withdrawals": _withdrawals,
    "subject find": _find,
    "subject erase": _erase,
    "keys show": _keys,
    "keys drop": _keys_of_a_file,
    "purge": _plain("purge"),
    "records": _plain("records", "--markdown"),
    "log": _log,
    "log verify": _proofs,
    "forget": _forget,
}
TOGETHER = {  # with another one's scenario
    "run", "orders arrived", "orders lost", "keys rotate", "log export", "log prove",
}  # fmt: skip
LASTING = {"worker", "beat", "serve", "sandbox", "demo"}  # tests of their own
