"""Shops whose first sync is over: made once, with what partners hold since, and copied after."""

from __future__ import annotations

import os
import shutil
from collections.abc import Hashable, Sequence
from copy import deepcopy
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from shop import Shop, new_shop

from audience_sync.sandbox import RunningSandbox


@dataclass(frozen=True)
class _Prepared:
    folder: Path
    partners: dict[str, Any]
    journal: list[dict[str, Any]]


@dataclass
class PreparedShops:
    """One folder for each shop that was asked for; a copy is like the first one, a little older."""

    sandbox: RunningSandbox
    place: Path
    _known: dict[Hashable, _Prepared] = field(default_factory=dict)

    def open(self, folder: Path, rows: Sequence[Sequence[Any]], **more: Any) -> Shop:
        """A shop with these customers after `audience-sync sync`, at partners that hold nothing."""
        shop = new_shop(folder, self.sandbox.url, rows, **more)
        settings = tuple((n, v) for n, v in os.environ.items() if n.startswith("AUDIENCE_SYNC_"))
        key = (shop.project.read_text(), tuple(map(tuple, rows)), settings)
        if key in self._known:
            self._copy(self._known[key], folder)
        else:
            shop.must("sync")
            self._known[key] = self._kept(folder)
        return shop

    def _kept(self, folder: Path) -> _Prepared:
        kept = self.place / str(len(self._known))
        shutil.copytree(folder, kept)
        partners, journal = self.sandbox.app.state.partners, self.sandbox.world.journal
        return _Prepared(kept, self._alike(partners), deepcopy(list(journal)))

    def _copy(self, found: _Prepared, folder: Path) -> None:
        shutil.rmtree(folder)
        shutil.copytree(found.folder, folder)
        self.sandbox.app.state.partners.update(self._alike(found.partners))
        self.sandbox.world.journal.extend(deepcopy(found.journal))

    def _alike(self, partners: dict[str, Any]) -> dict[str, Any]:
        """The same partners in the same world."""
        return deepcopy(dict(partners), {id(self.sandbox.world): self.sandbox.world})
