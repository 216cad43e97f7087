"""Checkpoints held against one another, and lines against the checkpoints that signed them."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace

from audience_sync.ledger.chain import GENESIS, Chain, span
from audience_sync.ledger.merkle import EMPTY, Tree, leaf, leaf_salt
from audience_sync.ledger.records.log import Checkpoint, Verification
from audience_sync.ledger.statements import digest, is_sound, statement

FOREIGN = "it is signed with a key that is not this project's"


class Trail:
    """Follows the lines of a log beside its checkpoints.

    `trusted` are the public keys whose signatures count; None takes each at its word. A `part` of
    a log begins with any checkpoint.
    """

    def __init__(
        self,
        checkpoints: Sequence[Checkpoint],
        trusted: Collection[str] | None = None,
        *,
        part: bool = False,
    ) -> None:
        self._all = checkpoints
        self._trusted = trusted
        self._part = part
        self._tree = Tree()
        purged = self.purged_through
        self._open = [c for c in checkpoints if c.first <= c.sequence and c.first > purged]

    @property
    def purged_through(self) -> int:
        """The number of the last line that was purged."""
        return self._all[-1].purged_through if self._all else 0

    @property
    def signed(self) -> int:
        """The number of the last line that is under a signature."""
        return self._all[-1].sequence if self._all else 0

    def told(self, sound: Verification) -> Verification:
        """What went well, with what the checkpoints say."""
        purged = self.purged_through
        return replace(sound, checkpoints=len(self._all), signed=self.signed, purged=purged)

    def chain(self) -> Chain:
        """Where the lines that are left begin."""
        if self._part:
            return Chain(self._all[0].first - 1, None)
        if not self._all:
            return Chain()
        return Chain(self.purged_through, self._all[-1].purged_hash)

    def fault(self) -> Verification | None:
        """What is wrong with the checkpoints, before any line is looked at."""
        before: Checkpoint | None = None
        for checkpoint in self._all:
            finding = self._fault(checkpoint, before)
            if finding is not None:
                told = f"checkpoint {checkpoint.number}: {finding}"
                return Verification(lines=0, finding=told, broken_checkpoint=checkpoint.number)
            before = checkpoint
        return None

    def _fault(self, checkpoint: Checkpoint, before: Checkpoint | None) -> str | None:
        try:
            stated = statement(checkpoint)
        except ValueError:  # its salt is not what we write
            return "it was changed"
        if not is_sound(stated, checkpoint.signature):
            return "its signature does not fit: it was changed, or the signature was exchanged"
        if self._trusted is not None and checkpoint.public_key not in self._trusted:
            return FOREIGN
        if checkpoint.first > checkpoint.sequence and checkpoint.merkle_root != EMPTY:
            return "it signs no line, but tells of some"
        return self._unbound(checkpoint, before)

    def _unbound(self, checkpoint: Checkpoint, before: Checkpoint | None) -> str | None:
        if before is None:
            begins = checkpoint.number == 1 and checkpoint.previous == GENESIS
            stands_in = checkpoint.number > 1 and checkpoint.first <= self.purged_through + 1
            return None if begins or stands_in or self._part else "those before it are missing"
        if checkpoint.number != before.number + 1:
            return f"it follows checkpoint {before.number}: those between them are missing"
        follows = digest(statement(before)) == checkpoint.previous
        if not follows or checkpoint.first != before.sequence + 1:
            return f"it does not follow checkpoint {before.number}: one of them was replaced"
        if checkpoint.purged_through < before.purged_through:
            return "it knows of fewer purged lines than the one before"
        return None

    def see(self, number: int, line_hash: str) -> str | None:
        """A line; at the end of a checkpoint's lines whether they are those that it signed."""
        if not self._open:
            return None
        checkpoint = self._open[0]
        self._tree.add(leaf(leaf_salt(checkpoint.salt, number), line_hash))
        if number < checkpoint.sequence:
            return None
        root, self._tree = self._tree.root, Tree()
        del self._open[0]
        if root == checkpoint.merkle_root and line_hash == checkpoint.head:
            return None
        lines = span(checkpoint.first, checkpoint.sequence)
        return f"{lines} not what checkpoint {checkpoint.number} signed: rewritten"

    def end(self, last: int) -> str | None:
        """What is wrong when the lines end with this number."""
        if not self._open:
            return None
        checkpoint = self._open[0]
        missing = span(last + 1, self._open[-1].sequence)
        return f"{missing} missing at the end, which checkpoint {checkpoint.number} signed: deleted"
