"""What remembered fingerprints promise on every database."""

from __future__ import annotations

from datetime import timedelta

import numpy as np
import pytest
from ledger_contract.builders import NOON, LedgerContract
from numpy.typing import NDArray

from audience_sync.ledger import fingerprints
from audience_sync.ledger.ledger import Ledger

LATER = NOON + timedelta(days=30)


class FingerprintsContract(LedgerContract):
    @pytest.mark.parametrize("chunk", [1, 7, 1000])
    def test_what_was_remembered_is_known(
        self, ledger: Ledger, chunk: int, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Exactly that and in order, whole or in chunks."""
        monkeypatch.setattr(fingerprints, "_CHUNK", chunk)
        some = digests(60)
        ledger.remember("meta-se", some[:30], "invalid", LATER)
        ledger.remember("google-se", some[30:], "invalid", LATER)

        assert told(ledger, "meta-se") == sorted(row.tobytes() for row in some[:30])

    def test_alike_is_not_the_same(self, ledger: Ledger) -> None:
        """All 32 bytes count, zeros at the end too, and every one of several alike is told."""
        alike = np.zeros((4, 32), dtype=np.uint8)
        alike[:, 0] = 9
        alike[1:, 31] = [1, 2, 3]
        ledger.remember("meta-se", alike[:3], "invalid", LATER)

        assert told(ledger, "meta-se") == [row.tobytes() for row in alike[:3]]

    def test_a_fingerprint_ends(self, ledger: Ledger) -> None:
        """At its end it is not known any more, and it can be destroyed; remembering extends it."""
        some = digests(3)
        ledger.remember("meta-se", some, "invalid", NOON)
        ledger.remember("meta-se", some[1:], "still invalid", LATER)

        assert told(ledger, "meta-se") == sorted(row.tobytes() for row in some[1:])
        assert not len(ledger.remembered("meta-se", LATER))
        assert not len(ledger.remembered("google-se", NOON))
        assert ledger.forget_expired(NOON) == 1
        assert ledger.forget_expired(NOON) == 0
        assert ledger.forget_expired(LATER) == 2

    def test_nothing_is_known_of_nothing(self, ledger: Ledger) -> None:
        """Empty arrays are fine, and so are twins."""
        none = digests(0)
        ledger.remember("meta-se", none, "invalid", LATER)
        assert told(ledger, "meta-se") == []
        ledger.remember("meta-se", np.repeat(digests(1), 3, axis=0), "invalid", LATER)
        assert ledger.forget_expired(LATER) == 1


def told(ledger: Ledger, destination: str) -> list[bytes]:
    """What is remembered, as plain bytes."""
    return [row.tobytes() for row in ledger.remembered(destination, NOON)]


def digests(count: int) -> NDArray[np.uint8]:
    """Made-up fingerprints, always the same."""
    return np.random.default_rng(7).integers(0, 256, (count, 32), dtype=np.uint8)
