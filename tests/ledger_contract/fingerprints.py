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
        """Exactly that, whole or in chunks, against a plain set."""
        monkeypatch.setattr(fingerprints, "_CHUNK", chunk)
        some = digests(60)
        asked = some[::-1][:40]
        ledger.remember("meta-se", some[:30], "invalid", LATER)
        ledger.remember("google-se", some[30:], "invalid", LATER)

        found = ledger.known("meta-se", asked, NOON)

        stored = {row.tobytes() for row in some[:30]}
        assert [row.tobytes() in stored for row in asked] == found.tolist()

    def test_alike_is_not_the_same(self, ledger: Ledger) -> None:
        """All 32 bytes count, zeros at the end too, and every one of several alike is found."""
        alike = np.zeros((4, 32), dtype=np.uint8)
        alike[:, 0] = 9
        alike[1:, 31] = [1, 2, 3]
        ledger.remember("meta-se", alike[:3], "invalid", LATER)

        assert ledger.known("meta-se", alike, NOON).tolist() == [True, True, True, False]

    def test_a_fingerprint_ends(self, ledger: Ledger) -> None:
        """At its end it is not known any more, and it can be destroyed; remembering extends it."""
        some = digests(3)
        ledger.remember("meta-se", some, "invalid", NOON)
        ledger.remember("meta-se", some[1:], "still invalid", LATER)

        assert ledger.known("meta-se", some, NOON).tolist() == [False, True, True]
        assert ledger.any_fingerprints("meta-se", NOON)
        assert not ledger.any_fingerprints("meta-se", LATER)
        assert not ledger.any_fingerprints("google-se", NOON)
        assert ledger.forget_expired(NOON) == 1
        assert ledger.forget_expired(NOON) == 0
        assert ledger.forget_expired(LATER) == 2

    def test_nothing_is_known_of_nothing(self, ledger: Ledger) -> None:
        """Empty arrays are fine, and so are twins."""
        none = digests(0)
        ledger.remember("meta-se", none, "invalid", LATER)
        assert ledger.known("meta-se", none, NOON).tolist() == []
        ledger.remember("meta-se", np.repeat(digests(1), 3, axis=0), "invalid", LATER)
        assert ledger.forget_expired(LATER) == 1


def digests(count: int) -> NDArray[np.uint8]:
    """Made-up fingerprints, always the same."""
    return np.random.default_rng(7).integers(0, 256, (count, 32), dtype=np.uint8)
