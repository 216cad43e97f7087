"""Credentials that a partner changes by itself, kept encrypted in the state (L10).

One process and thread at a time holds a destination's credentials, by a lease in the ledger: two
that renewed one token at once would each make the other's worthless.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np

from audience_sync.errors import BusyError, TemporaryPartnerError
from audience_sync.ledger.ledger import Ledger
from audience_sync.ledger.records.work import Lease
from audience_sync.membership.location import StateLocation
from audience_sync.membership.sealed import Keyring, SealedReader, SealedWriter

FOLDER = "credentials"
PATIENCE = 60.0  # seconds to wait for whoever renews a token just now

_LONGEST = 900.0  # seconds for one renewal, retries included
_STEP = 0.1  # seconds between looks
_COLUMN = "value"


@dataclass(frozen=True, kw_only=True)
class Vault:
    """The kept credentials of one destination; see `PartnerClient.kept`. Prints none of them."""

    destination: str
    ledger: Ledger
    location: StateLocation
    keyring: Keyring
    holder: str
    alive: Callable[[str], bool]
    sleep: Callable[[float], None] = field(default=time.sleep, repr=False)

    @contextmanager
    def kept(self, name: str) -> Iterator[SealedCredential]:
        """One credential, held alone until the block ends."""
        lease = self._taken()
        try:
            path = f"{FOLDER}/{self.destination}/{name}.sealed"
            yield SealedCredential(self.location, path, self.keyring)
        finally:
            self.ledger.release_lease(lease)

    def _taken(self) -> Lease:
        name = f"{FOLDER} of {self.destination}"  # no list is named so
        waited = 0.0
        while True:
            try:
                return self.ledger.take_lease(name, self.holder, _LONGEST, alive=self.alive)
            except BusyError:
                if waited >= PATIENCE:
                    break
            self.sleep(_STEP)
            waited += _STEP
        raise TemporaryPartnerError(
            f"another process is renewing the credentials of {self.destination}; try again later",
            retry_after=PATIENCE,
        )


class SealedCredential:
    """A credential in a sealed file of its own, replaced as a whole. Never prints it."""

    def __init__(self, location: StateLocation, path: str, keyring: Keyring) -> None:
        self._location = location
        self._path = path
        self._keyring = keyring
        self._value = self._read()

    def __repr__(self) -> str:
        return f"SealedCredential({self._path})"

    @property
    def value(self) -> str | None:
        """What was kept last."""
        return self._value

    def keep(self, value: str) -> None:
        """Keep this from now on; BusyError when another process kept another meanwhile."""
        if self._read() != self._value:
            raise BusyError(f"{self._path} was renewed by another process; try again")
        with self._location.create(self._path) as file:
            writer = SealedWriter(file, self._path, self._keyring)
            writer.write(0, _COLUMN, np.frombuffer(value.encode(), dtype=np.uint8))
            writer.close()
        self._value = value

    def _read(self) -> str | None:
        folder, _, name = self._path.rpartition("/")
        if name not in self._location.names(folder):
            return None
        found = SealedReader(self._location, self._path, self._keyring).read(0, _COLUMN)
        return None if found is None else found.tobytes().decode()
