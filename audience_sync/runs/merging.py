"""Keeps the files of withdrawals few, since every plan reads all of them.

Files of about as many withdrawals are merged once there are enough, so that whatever the number of
withdrawals, a few dozen files hold them. The ledger points at the new file before the old ones go:
stopped at any moment, what is pointed at can be read, and what is not is deleted later.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from math import log

from audience_sync.ledger.ledger import Ledger
from audience_sync.ledger.records.work import Lease
from audience_sync.ledger.withdrawal_files import WithdrawalFile
from audience_sync.membership.location import StateLocation
from audience_sync.membership.sealed import Keyring
from audience_sync.runs.leases import LEASE_SECONDS
from audience_sync.runs.named import FOLDER, holders, joined, read_file, write_many

TOGETHER = 16  # files of a size that are merged
_LARGEST = 250_000  # identifiers of a file that is merged; above it gains nothing
_LEASE = "merging of withdrawals"  # no list is named so
_SETTLED = timedelta(days=2)  # until a file that nothing points at was surely left behind
_MANY = "m"  # begins the name of a merged file, as w that of a withdrawal's own
_DATE = "%Y%m%d"


@dataclass(frozen=True, kw_only=True)
class Merger:
    """Merges files of withdrawals, one process at a time; whoever reads meanwhile reads the same.

    BusyError where another is at it.
    """

    ledger: Ledger
    location: StateLocation
    keyring: Keyring
    holder: str
    alive: Callable[[str], bool]
    now: Callable[[], datetime] = field(repr=False)

    def merge(self) -> int:
        """Merge what is to be merged; how many files went."""
        gone, names = 0, self.location.names(FOLDER)
        # The ledger may hold millions; files are few, and larger ones come of those alone.
        if sum(not name.startswith(_MANY) for name in names) < TOGETHER:
            return gone
        if not any(_together(self.ledger.withdrawal_files())):
            return gone
        lease = self._lease()
        try:
            while group := next(_together(self.ledger.withdrawal_files()), None):
                lease = self.ledger.renew_lease(lease, LEASE_SECONDS)
                self._into_one([file.path for file in group], lease)
                gone += len(group) - 1
        finally:
            self.ledger.release_lease(lease)
        return gone

    def tidy(self) -> int:
        """Delete what nothing in the ledger points at any more; how many files went or shrank."""
        lease, changed = self._lease(), 0
        try:
            names = self.location.names(FOLDER)
            used = {file.path for file in self.ledger.withdrawal_files()}
            for path in (f"{FOLDER}/{name}" for name in names):
                lease = self.ledger.renew_lease(lease, LEASE_SECONDS)
                if path not in used:
                    changed += self._left_behind(path)
                elif _name(path).startswith(_MANY):
                    changed += self._without_strangers(path, lease)
        finally:
            self.ledger.release_lease(lease)
        return changed

    def _lease(self) -> Lease:
        return self.ledger.take_lease(_LEASE, self.holder, LEASE_SECONDS, alive=self.alive)

    def _into_one(self, files: Sequence[str], lease: Lease) -> None:
        read = [
            read_file(self.location, self.keyring, file.path, file.sequences)
            for file in self.ledger.filed_withdrawals(files=files)
        ]
        made = f"{_MANY}{self.now():{_DATE}}-{secrets.token_hex(8)}.sealed"
        write_many(self.location, self.keyring, f"{FOLDER}/{made}", joined(read))
        self.ledger.move_withdrawals(files, f"{FOLDER}/{made}", lease)
        for path in files:
            self.location.delete(path)

    def _without_strangers(self, path: str, lease: Lease) -> int:
        """Withdrawals that were purged leave a file of many, too."""
        filed = self.ledger.filed_withdrawals(files=[path])
        kept = {number for file in filed for number in file.sequences.tolist()}
        if not holders(self.location, self.keyring, path) - kept:
            return 0
        self._into_one([path], lease)
        return 1

    def _left_behind(self, path: str) -> int:
        """A new one is written before the ledger points at it, by somebody else perhaps."""
        try:
            made = datetime.strptime(_name(path)[1:9], _DATE).replace(tzinfo=UTC)
        except ValueError:  # not ours
            return 0
        if self.now() - made < _SETTLED:
            return 0
        self.location.delete(path)
        return 1


def _together(files: Sequence[WithdrawalFile]) -> Iterator[list[WithdrawalFile]]:
    """Files of one partner and about one size, as soon as there are enough of them."""
    groups: dict[tuple[str | None, int], list[WithdrawalFile]] = {}
    for file in files:
        if file.identifiers <= _LARGEST:
            tier = int(log(file.withdrawals, TOGETHER) + 1e-9)
            groups.setdefault((file.partner, tier), []).append(file)
    return (group for group in groups.values() if len(group) >= TOGETHER)


def _name(path: str) -> str:
    """Without the dot of one that was never finished."""
    return path.rpartition("/")[2].removeprefix(".")
