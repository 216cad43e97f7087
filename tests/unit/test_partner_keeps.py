"""What the record of processing says of how long each partner keeps who is on a list."""

from __future__ import annotations

from typing import Any

import pytest

from audience_sync.connector import Connector, ConnectorSettings
from connectors.google import GoogleConnector
from connectors.meta import MetaConnector
from connectors.pinterest import PinterestConnector
from connectors.snapchat import SnapchatConnector
from connectors.tiktok import TikTokConnector
from connectors.x import XConnector

STAY = "members stay on a list until they are taken off"
LEAVE = "members leave a list {} days after they were last sent, at the latest"


@pytest.mark.parametrize(
    ("kind", "given", "told"),
    [
        (GoogleConnector, {}, LEAVE.format(540)),
        (GoogleConnector, {"membership_duration_days": 30}, LEAVE.format(30)),
        (MetaConnector, {}, STAY),
        (MetaConnector, {"retention_days": 180}, LEAVE.format(180)),
        (SnapchatConnector, {}, STAY),
        (SnapchatConnector, {"retention_days": 60}, LEAVE.format(60)),
        (XConnector, {}, LEAVE.format(390)),
        (XConnector, {"membership_days": 60}, LEAVE.format(60)),
        (TikTokConnector, {}, STAY),
        (TikTokConnector, {"flow": "files"}, "a list ends 365 days after it was last used"),
        (
            TikTokConnector,
            {"flow": "files", "retention_days": 90},
            "a list ends 90 days after it was made",
        ),
        (PinterestConnector, {}, ""),
    ],
)
def test_the_record_says_what_the_settings_make_of_it(
    kind: type[Connector[ConnectorSettings]], given: dict[str, Any], told: str
) -> None:
    """By the partner's documentation; nothing where that says nothing."""
    found = kind.keeps(kind.settings_class.model_construct(**given))
    assert found.startswith(told)
    assert bool(found) is bool(told)
