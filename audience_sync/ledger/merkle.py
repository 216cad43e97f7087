"""A tree of hashes over lines: its root stands for all, a path to it for one (as in RFC 9162).

Each leaf is salted, so that a path tells nothing of the lines beside it, not even to a guess.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Sequence

EMPTY = hashlib.sha256(b"").hexdigest()  # the root over no line


def leaf_salt(salt: str, sequence: int) -> str:
    """The salt of one line, which tells nothing of the others'."""
    return hmac.digest(bytes.fromhex(salt), str(sequence).encode(), "sha256").hex()


def leaf(salt: str, line_hash: str) -> bytes:
    """The leaf of a line, given its own salt."""
    return hashlib.sha256(b"\0" + bytes.fromhex(salt) + bytes.fromhex(line_hash)).digest()


class Tree:
    """Takes leaves one by one and keeps only what the root needs."""

    def __init__(self) -> None:
        self._parts: list[tuple[int, bytes]] = []  # full trees by size, each smaller than the last

    def add(self, leaf: bytes) -> None:
        """One leaf more."""
        size, top = 1, leaf
        while self._parts and self._parts[-1][0] == size:
            left = self._parts.pop()[1]
            size, top = 2 * size, _joined(left, top)
        self._parts.append((size, top))

    @property
    def root(self) -> str:
        """The root over the leaves so far, in hex."""
        if not self._parts:
            return EMPTY
        top = self._parts[-1][1]
        for _, left in reversed(self._parts[:-1]):
            top = _joined(left, top)
        return top.hex()


def path(leaves: Sequence[bytes], index: int) -> list[str]:
    """What leads from a leaf to the root, from the bottom up, in hex."""
    if len(leaves) == 1:
        return []
    split = _split(len(leaves))
    if index < split:
        return [*path(leaves[:split], index), _root(leaves[split:]).hex()]
    return [*path(leaves[split:], index - split), _root(leaves[:split]).hex()]


def root_by(leaf: bytes, index: int, size: int, path: Sequence[str]) -> str | None:
    """The root that a path leads to; None when a tree of this size has no such path."""
    steps: list[bool] = []  # from the top down: whether the leaf is on the left
    while size > 1:
        split = _split(size)
        left = index < split
        steps.append(left)
        index, size = (index, split) if left else (index - split, size - split)
    if index or len(steps) != len(path):
        return None
    top = leaf
    for left, beside in zip(reversed(steps), path, strict=True):
        other = bytes.fromhex(beside)
        top = _joined(top, other) if left else _joined(other, top)
    return top.hex()


def _root(leaves: Sequence[bytes]) -> bytes:
    tree = Tree()
    for one in leaves:
        tree.add(one)
    return bytes.fromhex(tree.root)


def _split(size: int) -> int:
    """The largest power of two that is smaller."""
    return 1 << (size - 1).bit_length() - 1


def _joined(left: bytes, right: bytes) -> bytes:
    return hashlib.sha256(b"\1" + left + right).digest()
