"""The pages of partners show what is sent: their examples are what the connectors write."""

from __future__ import annotations

import hashlib
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import orjson
import pytest
from pinterest_fake import PinterestFake
from x_fake import XFake

from audience_sync.connector import Answer, Connector, Kind, Members
from audience_sync.testing.builders import (
    FakePartner,
    Sent,
    answered,
    made_up_audience,
    made_up_upload,
)
from connectors.google import GoogleConnector
from connectors.meta import MetaConnector
from connectors.pinterest import PinterestConnector
from connectors.x import XConnector

PAGES = Path(__file__).parents[2] / "docs/partners"
CREDENTIALS = (
    '{"type":"authorized_user","client_id":"1","client_secret":"GOCSPX","refresh_token":"1//r"}'
)
FURTHER = {
    "operating_account": "5551234",
    "account_type": "DISPLAY_VIDEO_ADVERTISER",
    "login_account": "777001",
    "login_account_type": "DISPLAY_VIDEO_PARTNER",
}


class Obliging(FakePartner):
    """Says yes to whatever is asked."""

    def respond(self, sent: Sent) -> Answer:
        counts = {"num_received": 2, "num_invalid_entries": 0}
        token = {"access_token": "ya29.x", "expires_in": 3599}
        made = {"id": "1"} if sent.method == "POST" else {"data": []}
        return answered(counts | token | made | {"requestId": "r"})


def _column(*texts: str) -> Any:
    digests = [hashlib.sha256(text.encode()).digest() if text else bytes(32) for text in texts]
    return np.array([[list(digest)] for digest in digests], dtype=np.uint8)


def _sent(kind: type[Connector[Any]], **settings: Any) -> tuple[Connector[Any], Obliging]:
    partner = Obliging()
    connector = kind(kind.settings_class(**settings), partner)
    partner.bind(connector)
    return connector, partner


def _ensured(connector: Connector[Any], destination: str) -> None:
    marker = f"[audience-sync:nordic-fashion/lapsed-vip/{destination}]"
    asked = made_up_audience(name="nordic-fashion lapsed-vip", title="lapsed-vip", marker=marker)
    connector.ensure_audience(asked)


def _meta() -> dict[str, Any]:
    usual = {"ad_account_id": "1234567890", "access_token": "EAATESTTOKEN"}
    members = Members(
        {
            Kind.EMAIL: _column("mary@example.com", "dana@example.com"),
            Kind.PHONE: _column("15559876543", ""),
        }
    )
    connector, partner = _sent(MetaConnector, **usual)
    upload = made_up_upload(remote_id="23851054958460684")
    connector.add(upload, members)
    connector.withdraw(members.take([1]))
    _ensured(connector, "meta-se")
    add, withdraw, create = (sent.json() for sent in partner.uploads if sent.body)
    place = {"limited_data_use_country": 1, "limited_data_use_state": 1000}
    limited, partner = _sent(
        MetaConnector, **usual, **place, limited_data_use=True, send_external_id=True
    )
    ids = {Kind.EMAIL: _column("mary@example.com"), Kind.EXTERNAL_ID: _column("cust-000042")}
    limited.add(upload, Members(ids))
    return {
        "add": add,
        "withdraw": withdraw,
        "create": create,
        "limited": partner.uploads[0].json(),
    }


def _google() -> dict[str, Any]:
    connector, partner = _sent(
        GoogleConnector,
        operating_account="123-456-7890",
        login_account="999-888-7777",
        further_accounts=[FURTHER],
        credentials=CREDENTIALS,
    )
    members = Members(
        {
            Kind.EMAIL: _column("dana@example.com", "alexf@example.com"),
            Kind.PHONE: _column("+18005550100", ""),
        }
    )
    both = "contact:9876543210,contact@5551234:4455667788"
    connector.add(made_up_upload(remote_id=both), members)
    gone = made_up_upload(remote_id="9876543210", consent=None)
    connector.remove(gone, members.take([1]))
    connector.drop_stale("9876543210", datetime(2026, 11, 21, 2, tzinfo=UTC))
    _ensured(connector, "google-se")
    add, remove, strangers, create, _ = (sent.json() for sent in partner.uploads if sent.body)
    return {"add": add, "remove": remove, "strangers": strangers, "create": create}


def _people() -> Members:
    return Members(
        {
            Kind.EMAIL: _column("jane.doe@example.com", "janedoe@gmail.com"),
            Kind.PHONE: _column("14155550123", ""),
            Kind.GAID: _column("", "38400000-8cf0-11bd-b23e-10b96e40000d"),
        }
    )


def _bound(
    kind: type[Connector[Any]], partner: FakePartner, **settings: Any
) -> tuple[Connector[Any], str]:
    connector = kind(kind.settings_class(**settings), partner)
    partner.bind(connector)
    _ensured(connector, f"{kind.name}-se")
    return connector, next(iter(partner.lists))


def _pinterest() -> dict[str, Any]:
    partner = PinterestFake()
    settings = {"ad_account_id": "549756359984", "app_id": "1", "app_secret": "secret"}
    connector, number = _bound(
        PinterestConnector, partner, **settings, refresh_token=partner.refresh_token
    )
    receipt = connector.add(made_up_upload(remote_id=number), _people())
    gone = made_up_upload(remote_id=number, consent=None)
    connector.remove(gone, _people().only(Kind.EMAIL).take([0]))
    connector.poll(str(receipt.reference))
    written = [sent.json() for sent in partner.uploads if sent.body]
    return dict(zip(("create", "clear", "add", "remove", "audience"), written, strict=True))


def _x() -> dict[str, Any]:
    partner = XFake()
    secrets = ("consumer_key", "consumer_secret", "access_token", "access_token_secret")
    settings = dict.fromkeys(secrets, "token-canary") | {"account_id": "18ce54d4x5t"}
    with patch("connectors.x.day_after", return_value="2027-12-16T00:00:00Z"):
        connector, number = _bound(XConnector, partner, **settings, do_not_reach=True)
        people = _people().only(Kind.EMAIL, Kind.PHONE)
        connector.add(made_up_upload(remote_id=number), people)
        connector.remove(made_up_upload(remote_id=number, consent=None), people.take([1]))
        connector.withdraw(people.take([1]))
    written = [sent.json() for sent in partner.uploads if sent.body]
    return dict(zip(("add", "remove", "withdraw"), written, strict=True))


def _shown(page: str) -> dict[str, Any]:
    text = (PAGES / f"{page}.md").read_text()
    found = re.findall(r"<!-- example: (\w+) -->\n```json\n(.*?)```", text, re.DOTALL)
    assert len(found) == text.count("```json")
    return {name: orjson.loads(body) for name, body in found}


@pytest.mark.parametrize(
    ("page", "written"),
    [("meta", _meta), ("google", _google), ("pinterest", _pinterest), ("x", _x)],
)
def test_examples_are_what_is_sent(page: str, written: Any) -> None:
    """Every body that a page shows was written by its connector, to the key."""
    assert _shown(page) == written()


@pytest.mark.parametrize(
    ("page", "kind"),
    [
        ("meta", MetaConnector),
        ("google", GoogleConnector),
        ("pinterest", PinterestConnector),
        ("x", XConnector),
    ],
)
def test_every_setting_is_explained(page: str, kind: type[Connector[Any]]) -> None:
    """A person finds each setting of a destination on the partner's page."""
    text = (PAGES / f"{page}.md").read_text()
    missing = {
        name
        for name in kind.settings_class.model_fields
        if f"`{name}`" not in text and not name.endswith("_state")
    }
    assert missing <= {"base_url"}  # docs/sandbox.md tells of that
