"""Write the state anew under the current key, file by file, so that an older key may be taken out.

Safe beside anything that runs: a file takes its own place at once, whoever reads it goes on in the
new one, and what is replaced by others is written under its lease. Stopped at any moment, the next
call goes on with what is left.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

from audience_sync.errors import BusyError, StateError
from audience_sync.ledger.ledger import Ledger
from audience_sync.membership.location import StateLocation
from audience_sync.membership.sealed import Keyring, key_of, write_anew
from audience_sync.runs.sweep import SCRATCH
from audience_sync.runs.vault import FOLDER as CREDENTIALS

_LEASE = "rotation of keys"  # no list is named so
_LONGEST = 900.0  # seconds for one file, and between two renewals
_TRIES = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Rekeyed:
    """How far it came; `left` counts files by the older key that they still need."""

    written: int
    busy: int  # in use by others just now
    unreadable: int  # damaged, or their key is gone
    left: Mapping[str, int]


def sealed_files(location: StateLocation, folder: str = "") -> Iterator[tuple[str, str]]:
    """Every sealed file that rests in the state, with the name of its key.

    Whatever folder it is in; only what a plan works on just now is left out. Files in the root are
    not looked into: SQLite's ledger lies there, and a process that opens and closes a SQLite file
    beside its own connection gives up that connection's locks (a rule of POSIX), so that another
    process writes beside it and the ledger is torn.
    """
    for name in location.names(folder):
        path = f"{folder}/{name}" if folder else name
        if name.startswith(".") or path == SCRATCH:
            continue
        key = key_of(location, path) if folder else None
        if key is None:
            yield from sealed_files(location, path) if _is_folder(location, path, name) else ()
        else:
            yield path, key


def keys_in_use(location: StateLocation) -> Counter[str]:
    """How many files need each key."""
    return Counter(key for _, key in sealed_files(location))


def rekey(
    ledger: Ledger,
    location: StateLocation,
    keyring: Keyring,
    holder: str,
    *,
    alive: Callable[[str], bool],
    advance: Callable[[int], None] = lambda _files: None,
) -> Rekeyed:
    """Write every file that an older key encrypts under the current one."""
    counts = Counter[str]()
    current = keyring.now().current
    lease = ledger.take_lease(_LEASE, holder, _LONGEST, alive=alive)
    try:
        for path, key in sealed_files(location):
            advance(1)
            if key != current:
                lease = ledger.renew_lease(lease, _LONGEST)
                counts[_rewritten(ledger, location, keyring, path, holder, alive)] += 1
    finally:
        ledger.release_lease(lease)
    left = keys_in_use(location)
    del left[current]
    return Rekeyed(
        written=counts["written"],
        busy=counts["busy"],
        unreadable=counts["unreadable"],
        left=dict(left),
    )


def _rewritten(
    ledger: Ledger,
    location: StateLocation,
    keyring: Keyring,
    path: str,
    holder: str,
    alive: Callable[[str], bool],
) -> str:
    """What became of one file, in a word.

    A sweep takes what is being written for what a dead process left, so it is tried again.
    """
    for _ in range(_TRIES):
        try:
            with _alone(ledger, path, holder, alive):
                write_anew(location, path, keyring)
        except BusyError:
            return "busy"
        except StateError:
            continue
        return "written"
    return "gone" if key_of(location, path) is None else "unreadable"


@contextmanager
def _alone(ledger: Ledger, path: str, holder: str, alive: Callable[[str], bool]) -> Iterator[None]:
    """Credentials are replaced by whoever renews them; all other files are written once."""
    folder, _, rest = path.partition("/")
    if folder != CREDENTIALS:
        yield
        return
    destination = rest.partition("/")[0]
    lease = ledger.take_lease(f"{folder} of {destination}", holder, _LONGEST, alive=alive)
    try:
        yield
    finally:
        ledger.release_lease(lease)


def _is_folder(location: StateLocation, path: str, name: str) -> bool:
    return location.names(path) not in ([], [name])
