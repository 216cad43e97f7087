"""`webhooks:` in the project file: what it says, and what is wrong with it in one sentence."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from audience_sync.errors import ConfigurationError
from audience_sync.plugins import installed_connectors
from audience_sync.project import Project, load_project, project_schema

SECRET = "canary-secret-6621-of-the-shop"
HEAD = """\
project: corner-shop
controller: Corner Shop AB
source:
  url: customers.csv
  columns: {customer_id: id, email: email, consent: consent}
"""


def load(tmp_path: Path, section: str) -> Project:
    """A project with this section."""
    path = tmp_path / "audience-sync.yaml"
    path.write_text(HEAD + section)
    variables = {"SECRET": SECRET, "OTHER": f"Basic {SECRET}", "SHORT": "canary-short"}
    return load_project(path, installed_connectors().connectors, variables)


def test_a_sender_needs_no_more_than_a_key(tmp_path: Path) -> None:
    """Everything else has a default, and no key is ever printed."""
    found = load(tmp_path, "webhooks: {keys: {shop: '${SECRET}'}}").webhooks

    assert found is not None
    assert found.keys["shop"].get_secret_value() == SECRET
    assert (found.tolerance, found.batch_limit, found.platforms) == (300, 10_000, {})
    noon = datetime(2026, 11, 22, 12, tzinfo=UTC)
    assert (noon - found.remember.before(noon)).days == 7
    assert SECRET not in repr(found)


def test_a_platform_needs_proof_and_purposes(tmp_path: Path) -> None:
    """Where its words stand is known, and may be said otherwise."""
    found = load(
        tmp_path,
        """\
webhooks:
  usercentrics:
    authorization: ["${SECRET}"]
    purposes: {BJ59EidsWQ: [meta, google], LykAT-gy: all, H1Vl5: none}
  onetrust:
    keys: {first: "${OTHER}"}
    subject: {customer_id: payload.contactFields.Customer}
    purposes: {"3e900659": all}
""",
    ).webhooks

    assert found is not None
    assert found.usercentrics is not None
    assert found.onetrust is not None
    assert found.usercentrics.subject == {"customer_id": "controller_id"}
    assert found.usercentrics.purposes["BJ59EidsWQ"] == ("meta", "google")
    assert found.usercentrics.refused == (False,)
    assert found.onetrust.subject == {"customer_id": "payload.contactFields.Customer"}
    assert set(found.platforms) == {"onetrust", "usercentrics"}


@pytest.mark.parametrize(
    ("section", "told"),
    [
        ("webhooks: {}", "write keys:, onetrust: or usercentrics:"),
        ("webhooks: {keys: {shop: canary-literal-secret}}", "a secret does not stand in the"),
        ("webhooks: {keys: {shop: '${SHORT}'}}", "is shorter than 16 characters"),
        ("webhooks: {keys: {shop: '${UNSET} '}}", "a secret does not stand in the"),
        ("webhooks: {keys: {shop: 'file:'}}", "a secret does not stand in the"),
        ("webhooks: {keys: {shop: '${SECRET}'}, onetrust: {purposes: {a: all}}}", "write keys: or"),
        (
            "webhooks: {onetrust: {keys: {a: '${SECRET}'}, purposes: {a: [metta]}}}",
            "did you mean meta?",
        ),
        (
            "webhooks: {onetrust: {keys: {a: '${SECRET}'}, purposes: {a: []}}}",
            "name partners such as [meta]",
        ),
        (
            "webhooks: {onetrust: {keys: {a: '${SECRET}'}, purposes: {a: all}, granted: [CANCEL]}}",
            "an answer stands under both",
        ),
        (
            "webhooks: {onetrust: {authorization: [canary-literal], purposes: {a: all}}}",
            "a secret does not stand in the",
        ),
        ("webhooks: {keys: {shop: '${SECRET}'}, tolerance: 0}", "should be at least 1"),
        ("webhooks: {keys: {shop: '${SECRET}'}, limit: 3}", "unknown key"),
    ],
)
def test_what_is_wrong_is_told_without_secrets(tmp_path: Path, section: str, told: str) -> None:
    """One sentence with file and line, and none of the values."""
    with pytest.raises(ConfigurationError) as found:
        load(tmp_path, section)

    assert told in str(found.value)
    assert "canary" not in str(found.value)
    assert str(found.value).startswith("audience-sync.yaml:6")


@pytest.mark.parametrize(
    ("written", "told"),
    [("${UNSET}", "variable UNSET is not set"), ("file:nowhere", "nowhere cannot be read")],
)
def test_a_secret_that_only_serving_needs_stops_nothing_else(
    tmp_path: Path, written: str, told: str
) -> None:
    """A machine that syncs need not know who may send withdrawals to another."""
    found = load(tmp_path, f"webhooks: {{keys: {{shop: '{written}', other: '${{SECRET}}'}}}}")

    assert found.webhooks is not None
    assert found.webhooks_lack.startswith("audience-sync.yaml:6: webhooks.keys.shop: ")
    assert told in found.webhooks_lack
    assert "other" not in found.webhooks_lack


def test_senders_that_share_a_secret_are_not_served(tmp_path: Path) -> None:
    """What is signed names no address, so a request of one would be believed at the other's."""
    section = """\
webhooks:
  keys: {shop: "${OTHER}", new: "${SECRET}"}
  onetrust:
    keys: {first: "${SECRET}", gone: "${UNSET}"}
    purposes: {a: all}
  usercentrics:
    authorization: ["${UNSET}", "${OTHER}"]
    purposes: {a: all}
"""
    lines = load(tmp_path, section).webhooks_lack.splitlines()
    shared = [line for line in lines if "own secret" in line]

    assert [line.partition(" is ")[0] for line in shared] == [
        "audience-sync.yaml:9: webhooks.onetrust.keys.first:",
        "audience-sync.yaml:12: webhooks.usercentrics.authorization.1:",
    ]
    assert "webhooks.keys.new" in shared[0]
    assert "webhooks.keys.shop" in shared[1]
    assert not any("canary" in line for line in lines)


@pytest.mark.parametrize(
    ("section", "first", "second"),
    [
        ("keys: {old: '${SECRET}', new: '${SECRET}'}", "keys.old", "keys.new"),
        (
            "onetrust: {authorization: ['${SECRET}', '${SECRET}'], purposes: {a: all}}",
            "onetrust.authorization.0",
            "onetrust.authorization.1",
        ),
    ],
)
def test_a_secret_that_one_sender_has_twice_is_not_served(
    tmp_path: Path, section: str, first: str, second: str
) -> None:
    """Who changed it from one to another would take the old name out, and its secret stayed."""
    [line] = load(tmp_path, f"webhooks: {{{section}}}").webhooks_lack.splitlines()

    assert f"webhooks.{second}: is the secret of webhooks.{first}, too; make a new" in line
    assert "the secret stays good when either name is taken out" in line
    assert "canary" not in line


def test_the_schema_describes_the_secrets_as_references() -> None:
    """An editor refuses a secret that is written out."""
    schema = project_schema(installed_connectors().connectors)
    keys = schema["$defs"]["Webhooks"]["properties"]["keys"]

    [pattern] = [key["pattern"] for key in keys["patternProperties"].values()]
    assert "file:" in pattern
