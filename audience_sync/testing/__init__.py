"""What plugin authors test a connector with: the contract to inherit, and builders for it.

`ConnectorContract` is imported on first use, because it needs pytest and the product does not.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from audience_sync.testing.contract import ConnectorContract

__all__ = ["ConnectorContract"]


def __getattr__(name: str) -> Any:
    if name != "ConnectorContract":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from audience_sync.testing.contract import ConnectorContract  # noqa: PLC0415 - see above

    return ConnectorContract
