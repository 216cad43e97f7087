"""Statements that were compiled, for every ledger that this process opens."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from sqlalchemy.util import LRUCache

_MOST = 1000  # the ledger knows some two hundred


class Compiled(LRUCache[Any, Any]):
    """SQLAlchemy's option `compiled_cache`, whose entries every engine of a kind finds.

    By itself each engine compiles anew, and a worker opens the ledger for every task: compiling
    took longer than what most tasks ask of the database.
    """

    def get(self, key: Any, default: Any = None) -> Any:
        """What was compiled for this statement in the words of this database."""
        return super().get(_shared(key), default)

    def __setitem__(self, key: Any, value: Any) -> None:
        super().__setitem__(_shared(key), value)


def _shared(key: Any) -> Any:
    """The key with the kind of a dialect in place of the engine's own dialect."""
    return tuple(_kind(part) if isinstance(part, sa.Dialect) else part for part in key)


def _kind(dialect: sa.Dialect) -> Any:
    return type(dialect), getattr(dialect, "server_version_info", None)


COMPILED = Compiled(_MOST)
