"""Looks for many values at once in everything that was written, and names what it finds where."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from redteam.spellings import SHORTEST, spelled, spelled_bytes

_MIX, _SHIFT = np.uint64(0x9E3779B97F4A7C15), np.uint64(40)  # spreads eight bytes over a table


class Hit(NamedTuple):
    """A value that stands where it must not, by its name, and what stands around it."""

    value: str
    place: str
    around: bytes


class Needles:
    """The values, spelled in every way, and a search that goes through a text once."""

    def __init__(self, values: Mapping[str, str], keys: Mapping[str, bytes] | None = None) -> None:
        self._named: dict[bytes, str] = {}
        for name, value in values.items():
            self._add(name, spelled(value))
        for name, key in (keys or {}).items():
            self._add(name, spelled_bytes(key))
        self._by_start: dict[int, list[bytes]] = {}
        for needle in self._named:
            start = int.from_bytes(needle[:SHORTEST], "little")
            self._by_start.setdefault(start, []).append(needle)
        self._starts = np.array(sorted(self._by_start), dtype=np.uint64)
        self._perhaps = np.zeros(1 << 24, dtype=bool)
        self._perhaps[self._starts * _MIX >> _SHIFT] = True

    def __len__(self) -> int:
        return len(self._named)

    def _add(self, name: str, spellings: Iterable[bytes]) -> None:
        for one in spellings:
            self._named.setdefault(one, name)
            self._named.setdefault(one.lower(), name)

    def hits(self, place: str, text: bytes | str) -> list[Hit]:
        """Every value that stands in a text, however it is written there."""
        content = text.encode("utf-8", "surrogateescape") if isinstance(text, str) else text
        found: dict[str, Hit] = {}
        for written in {content, content.lower()}:
            for needle, at in self._matches(written):
                name = self._named[needle]
                around = content[max(0, at - 60) : at + len(needle) + 60]
                found.setdefault(name, Hit(name, place, around))
        return list(found.values())

    def _matches(self, text: bytes) -> Iterator[tuple[bytes, int]]:
        for shift in range(SHORTEST):
            length = (len(text) - shift) // SHORTEST * SHORTEST
            if length <= 0:
                continue
            words = np.frombuffer(text, dtype="<u8", count=length // SHORTEST, offset=shift)
            for word in self._known(words):
                at = shift + int(word) * SHORTEST
                for needle in self._by_start[int(words[word])]:
                    if text.startswith(needle, at):
                        yield needle, at

    def _known(self, words: NDArray[np.uint64]) -> NDArray[np.intp]:
        likely = np.flatnonzero(self._perhaps[words * _MIX >> _SHIFT])
        places = np.searchsorted(self._starts, words[likely])
        found = self._starts[np.minimum(places, len(self._starts) - 1)] == words[likely]
        return likely[found]

    def in_files(self, folder: Path, *, but: Iterable[Path] = ()) -> list[Hit]:
        """The same in the names and the contents of all files of a folder, but of these."""
        left_out = set(but)
        found: list[Hit] = []
        for path in sorted(folder.rglob("*")):
            if any(path == one or one in path.parents for one in left_out):
                continue
            name = str(path.relative_to(folder))
            found += self.hits(f"the name of {name}", name)
            if path.is_file():
                found += self.hits(name, path.read_bytes())
        return found
