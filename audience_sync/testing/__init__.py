"""What plugin authors test a connector with: contracts to inherit, and builders for them.

The contracts are imported on first use, because they need pytest and the product does not.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from audience_sync.testing.contract import ConnectorContract
    from audience_sync.testing.order_contract import OrderContract

__all__ = ["ConnectorContract", "OrderContract"]

_HOMES = {"ConnectorContract": "contract", "OrderContract": "order_contract"}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
