"""The contract, inherited as a plugin author would."""

from __future__ import annotations

import subprocess
import sys

from toy_fake import ToyFake
from toy_partner import ToyConnector, ToySettings

from audience_sync.connector import ConnectorSettings
from audience_sync.testing import ConnectorContract
from audience_sync.testing.builders import FakePartner


class TestToy(ConnectorContract):
    """A connector that keeps to the interface passes."""

    connector_class = ToyConnector

    def settings(self) -> ConnectorSettings:
        return ToySettings(token="toy-token-canary", allow_unhashed_device_ids=True)

    def partner(self) -> FakePartner:
        return ToyFake()


def test_the_product_does_not_need_pytest() -> None:
    """The test kit's package is imported by the product without the tests' libraries."""
    code = "import audience_sync.testing, sys; sys.exit('pytest' in sys.modules)"
    found = subprocess.run([sys.executable, "-c", code], check=False)  # noqa: S603 - our own code
    assert found.returncode == 0
