"""A setting of a partner that is wrong or missing is answered with what would be right."""

from __future__ import annotations

from pathlib import Path

import pytest

from audience_sync.errors import ConfigurationError
from audience_sync.plugins import installed_connectors
from audience_sync.project import load_project

PROJECT = """\
project: shop
controller: Shop AB
source: {url: customers.csv, columns: {customer_id: id, email: email, consent: consent}}
destinations:
  abroad:
    connector: CONNECTOR
    KEY: VALUE
audiences:
  everyone: {destinations: [abroad]}
"""
SETTINGS = [
    ("tiktok", "advertiser_id", "7000-1", '"7000000000000000001"'),
    ("tiktok", "api_version", "1.3", '"v1.3"'),
    ("snapchat", "ad_account_id", "422ef6f5", '"422ef6f5-0000-4000-8000-000000000001"'),
    ("pinterest", "ad_account_id", "act_1", '"549756359984"'),
    ("x", "account_id", "SHOP", '"18ce54d4x5t"'),
    ("x", "api_version", "v12", '"12"'),
]


def _told(folder: Path, connector: str, key: str, value: str) -> str:
    path = folder / "audience-sync.yaml"
    text = PROJECT.replace("CONNECTOR", connector).replace("KEY", key).replace("VALUE", value)
    path.write_text(text)
    with pytest.raises(ConfigurationError) as caught:
        load_project(path, installed_connectors().connectors, {})
    return str(caught.value)


@pytest.mark.parametrize(("connector", "key", "wrong", "right"), SETTINGS)
def test_a_wrong_setting_is_answered_with_a_right_one(
    connector: str, key: str, wrong: str, right: str, tmp_path: Path
) -> None:
    """A person sees how it is written, and no pattern; what was written is not repeated."""
    told = _told(tmp_path, connector, key, f'"{wrong}"')
    assert f":7: destinations.abroad.{key}: should be written like {right}" in told
    assert "pattern" not in told
    assert wrong not in told.replace(right, "")


@pytest.mark.parametrize(
    ("connector", "key", "right"),
    [(connector, key, right) for connector, key, _, right in SETTINGS if key != "api_version"],
)
def test_a_missing_account_is_asked_for(
    connector: str, key: str, right: str, tmp_path: Path
) -> None:
    """With the way that it is written."""
    told = _told(tmp_path, connector, "base_url", '"https://partner.example"')
    assert f"destinations.abroad.{key}: is missing; write {key}: {right}" in told
