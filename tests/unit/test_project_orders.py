"""`orders:` in the project file: what it says, and what is wrong with it in one sentence."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from audience_sync.customers.orders import TAKEN_BACK
from audience_sync.errors import ConfigurationError
from audience_sync.ordering import order_targets, reporting_of
from audience_sync.plugins import installed_connectors
from audience_sync.project import Project, load_project

PROJECT = """\
project: corner-shop
controller: Corner Shop AB
source:
  url: customers.csv
  columns: {customer_id: id, email: email, consent: consent}
destinations:
  rakuten-se: {connector: rakuten, merchant_id: "37978"}
  rakuten-files:
    connector: rakuten
    merchant_id: "37978"
    send_by: sftp
    sftp:
      host: sftp.example
      host_key: SHA256:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA
      username: shop
      password: ${SECRET}
      lines_per_file: 500
  meta-se: {connector: meta, ad_account_id: "1234567890", access_token: "${SECRET}"}
audiences: {}
orders:
  url: orders.csv
  columns:
    order_id: number
    customer_id: customer
    ordered_at: at
    sku: article
    amount: total
    click_id: click
    landed_at: landed
  amounts: major
  currency: SEK
  destinations: [rakuten-se, rakuten-files]
"""


def load(tmp_path: Path, text: str = PROJECT) -> Project:
    """A project out of this text."""
    path = tmp_path / "audience-sync.yaml"
    path.write_text(text)
    return load_project(path, installed_connectors().connectors, {"SECRET": "a-long-secret"})


def test_orders_are_read(tmp_path: Path) -> None:
    """Where they are, how amounts are written, and what each destination needs."""
    project = load(tmp_path)
    connectors = installed_connectors().connectors
    reporting = reporting_of(project, connectors)
    assert reporting.window == timedelta(days=90)
    assert reporting.source.taken_back == TAKEN_BACK
    assert (reporting.source.in_minor_units, reporting.source.currency) == (False, "SEK")
    assert reporting.needs == {
        "rakuten-se": ("click_id", "landed_at"),
        "rakuten-files": ("click_id",),
    }
    targets = order_targets(project, connectors, None)
    assert [(target.name, target.batch_size) for target in targets] == [
        ("orders/rakuten-se", 1),
        ("orders/rakuten-files", 500),
    ]
    assert order_targets(project, connectors, "rakuten-files") == targets[1:]
    assert project.names("orders", "rakuten-se")
    assert not project.names("orders", "meta-se")
    assert list(project.scheduled) == ["orders"]


@pytest.mark.parametrize(
    ("before", "after", "told"),
    [
        ("[rakuten-se, rakuten-files]", "[meta-se]", "takes audiences, not orders"),
        ("[rakuten-se, rakuten-files]", "[rakuten-no]", "rakuten-no is not defined"),
        ("[rakuten-se, rakuten-files]", "[]", "destinations"),
        ("[rakuten-se, rakuten-files]", "[rakuten-se, rakuten-se]", "each destination once"),
        ("    landed_at: landed\n", "", "rakuten-se needs landed_at"),
        ("  currency: SEK\n", "", "map columns.currency"),
        ("  currency: SEK\n", "  currency: kronor\n", "currency"),
        ("  amounts: major\n", "", "orders.amounts: is missing; write amounts"),
        ("amounts: major", "amounts: cents", "should be 'major' or 'minor'"),
        ("url: orders.csv", "url: sqlite:///shop.db", "query: SELECT"),
        ("    sku: article\n", "", "orders.columns.sku: is missing"),
        ("    sku: article\n", "    sku: article\n    colour: c\n", "unknown key"),
        ("audiences: {}", "audiences: {orders: {destinations: [meta-se]}}", "choose another"),
        ("audiences: {}", "audiences: {a: {destinations: [rakuten-se]}}", "it takes none"),
        ("      password: ${SECRET}\n", "", "write password: or private_key:"),
        ("      password: ${SECRET}\n", "      password: plain\n", "secret"),
        ("send_by: sftp\n    sftp:", "send_by: sftp\n    other:", "unknown key"),
        ("lines_per_file: 500", "fields: [order_id, e-mail]", "not e-mail"),
    ],
)
def test_what_is_wrong_is_told(tmp_path: Path, before: str, after: str, told: str) -> None:
    """With its line, and with what would be right."""
    assert before in PROJECT
    with pytest.raises(ConfigurationError) as caught:
        load(tmp_path, PROJECT.replace(before, after))
    assert told in str(caught.value)
    assert "a-long-secret" not in str(caught.value)
