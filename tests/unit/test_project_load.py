"""The project file as people write it, right and wrong."""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from dataclasses import FrozenInstanceError
from pathlib import Path
from typing import Any, ClassVar
from zoneinfo import ZoneInfo

import pytest
from pydantic import ValidationError

from audience_sync.connector import (
    AudienceRequest,
    Connector,
    ConnectorSettings,
    Kind,
    Limits,
    Members,
    Receipt,
    Recipient,
    SecretStr,
    Upload,
)
from audience_sync.errors import ConfigurationError
from audience_sync.project import Period, Project, load_project
from audience_sync.project.wording import connector_meant

TOKEN = "EAAB-very-secret-token"
ENVIRON = {"META_SE_TOKEN": TOKEN, "DB_PASSWORD": "hunter2000"}


class FakeSettings(ConnectorSettings):
    base_url: str = "https://partner.example"
    account: str
    token: SecretStr
    others: dict[str, SecretStr] | None = None


class FakeConnector(Connector[FakeSettings]):
    name = "fake"
    title = "Fake"
    settings_class = FakeSettings
    forms: ClassVar[Mapping[Kind, str]] = {
        Kind.EMAIL: "email/plain",
        Kind.PHONE: "phone/digits",
        Kind.IDFA: "device/raw",
    }
    limits = Limits(members_per_request=10)
    recipient = Recipient(name="Fake Ltd", country="IE")

    def check(self) -> None: ...

    def ensure_audience(self, audience: AudienceRequest) -> str:
        return "1"

    def add(self, upload: Upload, members: Members) -> Receipt:
        return Receipt(accepted=len(members))

    def remove(self, upload: Upload, members: Members) -> Receipt:
        return Receipt(accepted=len(members))


class FoldingConnector(FakeConnector):
    name = "folding"
    forms: ClassVar[Mapping[Kind, str]] = {Kind.EMAIL: "email/gmail-folded"}


CONNECTORS: Mapping[str, type[Connector[Any]]] = {
    "fake": FakeConnector,
    "folding": FoldingConnector,
}

RIGHT = """\
project: nordic-fashion
controller: Nordic Fashion AB
timezone: Europe/Stockholm
source:
  url: postgresql://reader:${DB_PASSWORD}@db/shop
  query: SELECT * FROM customers
  columns:
    customer_id: id
    email: email
    idfa: ios_ad_id
    consent: ads_consent
    consent_at: ads_consent_at
    last_activity_at: last_purchase_at
    birth_date: birth_date
    origin: collected_through
policy:
  consent_max_age: 24 months
  keep_after_last_activity: 3 years
  minimum_age: 18
  default_country: NO
guards:
  maximum_growth: off
  maximum_removals: 25%
destinations:
  meta-se:
    connector: fake
    account: "1234567890"
    token: ${META_SE_TOKEN}
audiences:
  lapsed-vip:
    title: Lapsed
    where: "market = 'SE'"
    destinations: [meta-se]
    schedule: "0 3 * * *"
    holdout: 5%
    expires_after: 180 days
    guards: {minimum_members: off}
"""


def load(folder: Path, text: str, environ: Mapping[str, str] = ENVIRON) -> Project:
    path = folder / "audience-sync.yaml"
    path.write_text(text, encoding="utf-8")
    return load_project(path, CONNECTORS, environ)


def findings(folder: Path, text: str, environ: Mapping[str, str] = ENVIRON) -> list[str]:
    with pytest.raises(ConfigurationError) as caught:
        load(folder, text, environ)
    return str(caught.value).split("\n")


def only(folder: Path, old: str, new: str, environ: Mapping[str, str] = ENVIRON) -> str:
    """The single finding after one change to the right file."""
    assert old in RIGHT
    (found,) = findings(folder, RIGHT.replace(old, new), environ)
    return found


def test_a_right_file_becomes_typed_values_with_every_default(tmp_path: Path) -> None:
    """What is written is typed, and what is left out has the documented default."""
    project = load(tmp_path, RIGHT)
    audience = project.audiences["lapsed-vip"]
    assert project.name == "nordic-fashion"
    assert project.purpose == "advertising to consenting customers"
    assert project.policy.consent_max_age == Period(24, "month")
    assert project.policy.origins is not None
    assert "customer_service" in project.policy.origins
    assert project.guards.maximum_growth is None
    assert project.guards.maximum_removals == 0.25
    assert project.guards.minimum_members == 100
    assert audience.guards.minimum_members is None
    assert audience.guards.maximum_removals == 0.25
    assert audience.timezone == ZoneInfo("Europe/Stockholm")
    assert audience.holdout == 0.05
    assert audience.expires_after == Period(180, "day")
    assert audience.identifiers is None


def test_norway_is_a_country_and_not_a_boolean(tmp_path: Path) -> None:
    """An unquoted NO stays text."""
    assert load(tmp_path, RIGHT).policy.default_country == "NO"


def test_a_project_is_frozen(tmp_path: Path) -> None:
    """Nothing can change a project after it was checked."""
    project = load(tmp_path, RIGHT)
    with pytest.raises(FrozenInstanceError):
        project.name = "other"  # type: ignore[misc]  # the attempt is the test
    with pytest.raises(ValidationError):
        project.policy.minimum_age = 3  # type: ignore[misc]  # the attempt is the test


def test_no_secret_is_in_the_representation(tmp_path: Path) -> None:
    """Printing a project shows neither token nor database password, yet it carries both."""
    project = load(tmp_path, RIGHT)
    settings = project.destinations["meta-se"].settings
    assert isinstance(settings, FakeSettings)
    assert settings.token.get_secret_value() == TOKEN
    assert "hunter2000@" in project.source.url.get_secret_value()
    for secret in ENVIRON.values():
        assert secret not in repr(project)
        assert secret not in str(project.source)


def test_a_project_survives_pickling(tmp_path: Path) -> None:
    """A project may travel to another process and is the same there."""
    project = load(tmp_path, RIGHT)
    assert pickle.loads(pickle.dumps(project)) == project  # noqa: S301 - our own bytes


def test_raw_device_ids_are_left_out_silently_by_default(tmp_path: Path) -> None:
    """Without the switch, an audience that lists nothing sends hashed kinds only."""
    use = load(tmp_path, RIGHT).audiences["lapsed-vip"].destinations["meta-se"]
    assert use.kinds == (Kind.EMAIL,)


def test_raw_device_ids_travel_where_the_destination_allows_them(tmp_path: Path) -> None:
    """The switch is per destination."""
    allowed = RIGHT.replace("    account:", "    allow_unhashed_device_ids: true\n    account:")
    use = load(tmp_path, allowed).audiences["lapsed-vip"].destinations["meta-se"]
    assert use.forms == {Kind.EMAIL: "email/plain", Kind.IDFA: "device/raw"}


def test_listing_a_raw_kind_that_nobody_may_receive_names_the_switch(tmp_path: Path) -> None:
    """An explicit wish that cannot be met is an error with its remedy."""
    found = only(tmp_path, "    holdout: 5%\n", "    identifiers: [email, idfa]\n")
    assert "audiences.lapsed-vip.identifiers" in found
    assert "allow_unhashed_device_ids: true" in found


@pytest.mark.parametrize(
    ("old", "new", "line", "key", "remedy"),
    [
        ("project: nordic-fashion", "project: Nordic", 1, "project", "small letters"),
        ("controller: Nordic Fashion AB\n", "", 1, "controller", "is missing"),
        ("Europe/Stockholm", "Europe/Stokholm", 3, "timezone", "IANA"),
        ("  query: SELECT * FROM customers\n", "", 4, "source", "either query"),
        ("    email: email", "    emial: email", 9, "source.columns.emial", "did you mean email?"),
        ("24 months", "24 moons", 17, "policy.consent_max_age", '"24 months"'),
        ("default_country: NO", "default_country: Norway", 20, "policy.default_country", "SE"),
        ("default_country: NO", "default_country: XX", 20, "policy.default_country", "such as SE"),
        ("default_country: NO", "default_country: AQ", 20, "policy.default_country", "such as SE"),
        ("minimum_age: 18", 'minimum_age: "old"', 19, "policy.minimum_age", "whole number"),
        ("25%", "25", 23, "guards.maximum_removals", "30%"),
        ("25%", "125%", 23, "guards.maximum_removals", "at most 100%"),
        ("maximum_growth", "maximum_grow", 22, "guards.maximum_grow", "maximum_growth?"),
        ("connector: fake", "connector: fakee", 26, "meta-se.connector", "did you mean fake?"),
        ('"1234567890"', "1234567890", 27, "meta-se.account", "put it in quotes"),
        ("destinations: [meta-se]", "destinations: [meta-no]", 33, "destinations", "meta-se?"),
        ("0 3 * * *", "0 3 * *", 34, "schedule", "five cron fields"),
        ("0 3 * * *", "61 3 * * *", 34, "schedule", "five cron fields"),
        ("0 3 * * *", "0 0 30 2 *", 34, "schedule", "never due"),
        ("holdout: 5%", "holdout: 100%", 35, "holdout", "less than 100%"),
        ("  lapsed-vip:", "  Lapsed_VIP:", 30, "audiences.Lapsed_VIP", "small letters"),
        ("policy:\n", "polcy:\n", 16, "polcy", "did you mean policy?"),
        ("    birth_date: birth_date\n", "", 18, "policy.minimum_age", "birth_date"),
    ],
)
def test_an_error_names_line_key_and_remedy(
    tmp_path: Path, old: str, new: str, line: int, key: str, remedy: str
) -> None:
    """Each mistake is one line that says where it is and what to write."""
    found = only(tmp_path, old, new)
    assert found.startswith(f"audience-sync.yaml:{line}: ")
    assert key in found
    assert remedy in found


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("facebook", "meta"),
        ("Instagram", "meta"),
        ("google-ads", "google"),
        ("dv360", "google"),
        ("twitter", "x"),
        ("tik-tok", "tiktok"),
        ("taboola", None),
    ],
)
def test_a_connector_that_there_is_not_leads_to_the_partner_meant(
    written: str, meant: str | None
) -> None:
    """By what people call the partner, never by a word that only looks alike."""
    told = connector_meant(written, ["meta", "google", "x", "tiktok", "webhook", "pinterest"])
    assert told == ("" if meant is None else f"did you mean {meant}? ")


def test_all_errors_are_told_at_once_in_the_order_of_the_file(tmp_path: Path) -> None:
    """One look at the message is enough to repair the whole file."""
    wrong = RIGHT.replace("nordic-fashion", "Nordic").replace("25%", "25").replace("5%", "x")
    lines = [int(found.split(":")[1]) for found in findings(tmp_path, wrong)]
    assert lines == [1, 23, 35]


@pytest.mark.parametrize("column", ["consent: ads_consent", "customer_id: id"])
def test_l1_consent_must_be_mapped(tmp_path: Path, column: str) -> None:
    """A missing consent column is a configuration error, not consent (L1)."""
    found = only(tmp_path, f"    {column}\n", "")
    assert "audience-sync.yaml:7: source.columns." in found
    assert "consent" in found
    assert "must be mapped" in found


def test_a_key_that_is_written_twice_is_an_error(tmp_path: Path) -> None:
    """YAML would keep the last one silently."""
    found = only(tmp_path, "  minimum_age: 18\n", "  minimum_age: 18\n  minimum_age: 13\n")
    assert found == (
        "audience-sync.yaml:20: policy.minimum_age: is written twice, first in line 19; keep one"
    )


def test_a_literal_secret_is_refused_and_not_repeated(tmp_path: Path) -> None:
    """A token in the file is told by its place, with a variable's name to use instead."""
    found = only(tmp_path, "${META_SE_TOKEN}", TOKEN)
    assert "destinations.meta-se.token" in found
    assert "${META_SE_TOKEN} or file:/path" in found
    assert TOKEN not in found


def test_a_secret_that_is_partly_literal_is_refused(tmp_path: Path) -> None:
    """A reference inside other text does not make a literal a reference."""
    assert "does not stand" in only(tmp_path, "${META_SE_TOKEN}", "abc${META_SE_TOKEN}")


def test_secrets_within_a_mapping_are_refused_too(tmp_path: Path) -> None:
    """A secret type below another type is still a secret."""
    found = only(tmp_path, "    account:", "    others: {one: plain-text}\n    account:")
    assert "destinations.meta-se.others.one" in found
    assert "plain-text" not in found


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://reader:letmein@db/shop",
        "postgresql://reader:x${DB_PASSWORD}@db/shop",
        "postgresql://db/shop?user=a&password=letmein",
        "s3://bucket/customers.parquet?secret_access_key=letmein",
    ],
)
def test_a_password_in_the_sources_url_is_refused(tmp_path: Path, url: str) -> None:
    """A database password stands in the environment, not in the file."""
    found = only(tmp_path, "postgresql://reader:${DB_PASSWORD}@db/shop", url)
    assert "source.url" in found
    assert "${DB_PASSWORD}" in found
    assert "letmein" not in found


def test_a_missing_variable_is_named(tmp_path: Path) -> None:
    """The operator reads which variable to set."""
    (found,) = findings(tmp_path, RIGHT, {"DB_PASSWORD": "hunter2000"})
    assert "audience-sync.yaml:28: destinations.meta-se.token:" in found
    assert "META_SE_TOKEN is not set" in found


def test_a_secret_comes_from_a_file_without_its_last_newline(tmp_path: Path) -> None:
    """`file:` is relative to the project file."""
    (tmp_path / "token").write_text(f"{TOKEN}\n")
    project = load(tmp_path, RIGHT.replace("${META_SE_TOKEN}", "file:token"))
    settings = project.destinations["meta-se"].settings
    assert isinstance(settings, FakeSettings)
    assert settings.token.get_secret_value() == TOKEN


def test_an_unreadable_secret_file_is_named(tmp_path: Path) -> None:
    """The operator reads which file is missing."""
    found = only(tmp_path, "${META_SE_TOKEN}", "file:/nowhere/token")
    assert "/nowhere/token cannot be read" in found


def test_what_a_reference_gave_is_hidden_from_other_errors(tmp_path: Path) -> None:
    """A value of the environment that is wrong elsewhere is not shown either."""
    found = only(
        tmp_path,
        "destinations: [meta-se]",
        "destinations: {meta-se: {}, '${DB_PASSWORD}': {}}",
    )
    assert "hunter2000" not in found


def test_yaml_that_cannot_be_read_names_its_line_and_no_value(tmp_path: Path) -> None:
    """A syntax error never repeats what stands there."""
    found = only(tmp_path, "${META_SE_TOKEN}", "*EAABsecret")
    assert found.startswith("audience-sync.yaml:28: this is not YAML")
    assert "EAABsecret" not in found


@pytest.mark.parametrize("text", ["", "just text", "- a\n- b\n", "a: &a [*a]\n", "\x00"])
def test_a_file_that_is_no_project_is_an_error(tmp_path: Path, text: str) -> None:
    """Whatever the file holds, the answer is a ConfigurationError."""
    assert findings(tmp_path, text)[0].startswith("audience-sync.yaml:1")


def test_a_missing_file_points_to_init(tmp_path: Path) -> None:
    """Who has no project yet reads how to get one."""
    with pytest.raises(ConfigurationError, match="audience-sync init"):
        load_project(tmp_path / "audience-sync.yaml", CONNECTORS, {})


def test_hashes_in_an_unfit_form_are_an_error_that_names_both(tmp_path: Path) -> None:
    """What was hashed by one rule cannot be written by another."""
    found = only(
        tmp_path,
        "  query: SELECT * FROM customers\n",
        "  query: SELECT * FROM customers\n  hashed: {email: email/gmail-folded}\n",
    )
    assert "email/plain" in found
    assert "email/gmail-folded" in found


def test_hashes_in_the_right_form_are_taken(tmp_path: Path) -> None:
    """A fit form is no error."""
    text = RIGHT.replace("policy:\n", "  hashed: {email: email/plain}\npolicy:\n")
    assert load(tmp_path, text).source.form_of(Kind.EMAIL) == "email/plain"


def test_an_unfit_kind_may_be_left_out_by_the_audience(tmp_path: Path) -> None:
    """An audience that does not list the kind is not concerned by its form."""
    text = (
        RIGHT.replace("policy:\n", "  hashed: {email: email/gmail-folded}\npolicy:\n")
        .replace("    email: email\n", "    email: email\n    phone: phone\n")
        .replace("    holdout: 5%\n", "    identifiers: [phone]\n")
    )
    assert load(tmp_path, text).audiences["lapsed-vip"].destinations["meta-se"].kinds == (
        Kind.PHONE,
    )


@pytest.mark.parametrize("form", ["email/plian", "phone/digits", "device/raw"])
def test_a_hashed_form_that_does_not_exist_is_an_error(tmp_path: Path, form: str) -> None:
    """The remedy is the nearest form of that kind, or the list of them."""
    text = RIGHT.replace("policy:\n", f"  hashed: {{email: {form}}}\npolicy:\n")
    found = findings(tmp_path, text)
    assert any("source.hashed.email" in line and "email/plain" in line for line in found)


def test_an_audience_without_a_usable_kind_is_an_error(tmp_path: Path) -> None:
    """A destination that can take nothing of an audience is told, with what it takes."""
    found = only(tmp_path, "    email: email\n", "    external_id: key\n")
    assert "can take none" in found
    assert "email, phone" in found


def test_identifiers_that_the_source_does_not_map_are_an_error(tmp_path: Path) -> None:
    """Listing a kind needs its column."""
    found = only(tmp_path, "    holdout: 5%\n", "    identifiers: [email, phone]\n")
    assert "map source.columns.phone" in found


def test_an_existing_list_is_adopted_by_its_id(tmp_path: Path) -> None:
    """The long form of `destinations` names the list to take over (L15)."""
    text = RIGHT.replace("[meta-se]", '{meta-se: {remote_id: "2385"}}')
    assert load(tmp_path, text).audiences["lapsed-vip"].destinations["meta-se"].remote_id == "2385"


def test_l15_two_audiences_cannot_adopt_one_list(tmp_path: Path) -> None:
    """They would take turns in emptying it (L15)."""
    text = RIGHT.replace("[meta-se]", '{meta-se: {remote_id: "2385"}}')
    twice = text + "  second:\n    destinations: {meta-se: {remote_id: '2385'}}\n"
    (found,) = findings(tmp_path, twice)
    assert "audiences.second.destinations.meta-se.remote_id" in found
    assert "lapsed-vip" in found


def test_files_need_no_query(tmp_path: Path) -> None:
    """A query belongs to a database; a file ends in a suffix that we can read."""
    url = "postgresql://reader:${DB_PASSWORD}@db/shop"
    assert "belongs to a database" in only(tmp_path, url, "customers/*.parquet")
    without = RIGHT.replace("  query: SELECT * FROM customers\n", "")
    assert load(tmp_path, without.replace(url, "s3://b/customers.csv.gz")).source.is_sql is False
    (found,) = findings(tmp_path, without.replace(url, "customers.xlsx"))
    assert "source.url" in found
    assert ".parquet" in found


def test_two_destinations_may_want_different_forms(tmp_path: Path) -> None:
    """Each destination of an audience gets its own form of a kind."""
    text = RIGHT.replace("[meta-se]", "[meta-se, other]").replace(
        "audiences:\n",
        "  other: {connector: folding, account: x, token: '${META_SE_TOKEN}'}\naudiences:\n",
    )
    uses = load(tmp_path, text).audiences["lapsed-vip"].destinations
    assert uses["meta-se"].forms == {Kind.EMAIL: "email/plain"}
    assert uses["other"].forms == {Kind.EMAIL: "email/gmail-folded"}
