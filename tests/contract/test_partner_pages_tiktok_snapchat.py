"""The pages of TikTok and Snapchat show what is sent: their examples are what is written."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pytest
from snapchat_fake import ACCOUNT, SnapchatFake
from tiktok_fake import TikTokFake

from audience_sync.connector import Connector, Kind, Members
from audience_sync.testing.builders import FakePartner, answered, made_up_audience, made_up_upload
from connectors.snapchat import SnapchatConnector, SnapchatSettings
from connectors.tiktok import TikTokConnector, TikTokSettings

PAGES = Path(__file__).parents[2] / "docs/partners"
JANE = "86e0b9e56c17cc4d12387e1949b85053fbe73bc3ce5a1188713a9d300cc6133d"
DOE = "d6117306485ed0e50afab3ac871e98f81699151f30281527d63ff5f233656c69"
DEVICE = "d4181bb455a74b3bc8b37c75ac9b2c702eb6b9930bd040b861403b31ca85634d"
NONE = "00" * 32


def _members(phone: str) -> Members:
    """Two people; the first has no device, the second no phone."""

    def column(*values: str) -> np.ndarray[Any, Any]:
        return np.array([[list(bytes.fromhex(value))] for value in values], dtype=np.uint8)

    return Members(
        {
            Kind.EMAIL: column(JANE, DOE),
            Kind.PHONE: column(phone, NONE),
            Kind.GAID: column(NONE, DEVICE),
        }
    )


def _bodies(partner: FakePartner) -> list[Any]:
    return [sent.json() for sent in partner.uploads if sent.content_type == "application/json"]


def _ensured(connector: Connector[Any]) -> str:
    marker = f"[audience-sync:nordic-fashion/lapsed-vip/{connector.name}-se]"
    asked = made_up_audience(name="nordic-fashion lapsed-vip", title="lapsed-vip", marker=marker)
    return connector.ensure_audience(asked)


def _tiktok() -> dict[str, Any]:
    settings = TikTokSettings(advertiser_id="7000000000000000001", access_token="tiktok-canary")
    partner = TikTokFake()
    connector = TikTokConnector(settings, partner)
    partner.bind(connector)
    _ensured(connector)
    phone = "36a2cef4ff9bf7a1abd2a93359136b870393be4106e6c5d19b72ff564f9deca4"
    connector.add(made_up_upload(remote_id="7100000000000000010"), _members(phone))
    done: dict[str, Any] = {"code": 0, "data": {"file_path": "a1b2c3/members.csv"}}
    partner.answers.extend([answered(done)] * 2)
    leaving = made_up_upload(remote_id="email:7100000000000000009", consent=None)
    connector.remove(leaving, _members(phone).only(Kind.EMAIL))
    _, create, add, remove = _bodies(partner)
    connector.delete_audience("7100000000000000010")
    connector.delete_audience("email:7100000000000000009")
    deleted = dict(zip(("delete", "delete_files"), _bodies(partner)[4::2], strict=True))
    return {"add": add, "create": create, "remove": remove} | deleted


def _snapchat() -> dict[str, Any]:
    settings = SnapchatSettings(
        ad_account_id=ACCOUNT,
        client_id="snap-app",
        client_secret="snap-secret-canary",
        refresh_token="snap-refresh-canary",
        retention_days=180,
    )
    partner = SnapchatFake()
    connector = SnapchatConnector(settings, partner)
    partner.bind(connector)
    phone = "413ba75461ab5f99d36820e561ea97e2bd80f9cb586f7ecea6cf4c496518950a"
    connector.add(made_up_upload(remote_id=_ensured(connector)), _members(phone))
    _, create, add, phones, devices = _bodies(partner)
    return {"add": add, "phones": phones, "devices": devices, "create": create}


def _shown(page: str) -> dict[str, Any]:
    text = (PAGES / f"{page}.md").read_text()
    found = re.findall(r"<!-- example: (\w+) -->\n```json\n(.*?)```", text, re.DOTALL)
    assert len(found) == text.count("```json")
    return {name: orjson.loads(body) for name, body in found}


@pytest.mark.parametrize(("page", "written"), [("tiktok", _tiktok), ("snapchat", _snapchat)])
def test_examples_are_what_is_sent(page: str, written: Any) -> None:
    """Every body that a page shows was written by its connector, to the key."""
    assert _shown(page) == written()


@pytest.mark.parametrize("kind", [TikTokConnector, SnapchatConnector])
def test_every_setting_is_explained(kind: type[Connector[Any]]) -> None:
    """A person finds each setting of a destination on the partner's page."""
    text = (PAGES / f"{kind.name}.md").read_text()
    settings = kind.settings_class.model_fields
    # docs/sandbox.md tells of base_url
    assert {name for name in settings if f"`{name}`" not in text} <= {"base_url"}


def test_every_code_of_tiktok_is_explained() -> None:
    """A person who sees a code in the log finds it on the page, alone or in a range."""
    from connectors._tiktok_words import MEANINGS  # noqa: PLC0415 - only this test looks inside

    text = (PAGES / "tiktok.md").read_text()
    ranges = [range(int(a), int(b) + 1) for a, b in re.findall(r"(\d{5})\u2013(\d{5})", text)]
    missing = [
        code
        for code in MEANINGS
        if str(code) not in text and not any(code in found for found in ranges)
    ]
    assert missing == []
