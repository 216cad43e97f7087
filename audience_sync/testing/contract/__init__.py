"""What every connector has to keep; a plugin's test class inherits it and gains all its tests.

    class TestMyPartner(ConnectorContract):
        connector_class = MyConnector

        def settings(self): return MySettings(base_url="https://partner.example", token="…")
        def partner(self): return MyFakePartner()

`MyFakePartner` is a `FakePartner` that answers as the partner would. The tests are ordinary
methods without fixtures, so they can also be called one by one.
"""

from audience_sync.testing.contract.declares import Declares
from audience_sync.testing.contract.does import Does
from audience_sync.testing.contract.errors import TellsErrors
from audience_sync.testing.contract.never import NeverDoes
from audience_sync.testing.contract.silence import KeepsSilent

__all__ = ["ConnectorContract"]


class ConnectorContract(Declares, Does, NeverDoes, TellsErrors, KeepsSilent):
    """Inherit, name the connector class, and write `settings` and `partner`."""
