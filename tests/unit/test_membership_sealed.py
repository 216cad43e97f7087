"""Sealed files: what was written comes back, and nothing else ever does (L10)."""

from __future__ import annotations

from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from membership_model import keyring
from numpy.typing import NDArray
from pipeline_world import fast_folder

from audience_sync.errors import StateError
from audience_sync.membership import sealed
from audience_sync.membership.location import FolderLocation
from audience_sync.membership.sealed import Keyring, SealedReader, SealedWriter

CANARY = sha256(b"canary@example.com").digest()
DTYPES = st.sampled_from(["u1", "i1", "<u2", "<u4", "<i8", "<f8", "?", "V7"])
ARRAYS = DTYPES.flatmap(
    lambda dtype: hnp.arrays(
        np.dtype(dtype),
        hnp.array_shapes(min_dims=1, max_dims=3, min_side=0, max_side=5),
        elements=st.nothing() if dtype == "V7" else None,
        fill=st.just(np.zeros((), "V7")[()]) if dtype == "V7" else None,
    )
)


def write(
    folder: Path, blocks: list[tuple[int, str, NDArray[Any]]], ring: Keyring | None = None
) -> Path:
    """A sealed file of these blocks."""
    with FolderLocation(folder).create("file") as file:
        writer = SealedWriter(file, "file", ring or keyring())
        for group, column, values in blocks:
            writer.write(group, column, values)
        writer.close()
    return folder / "file"


def reader(folder: Path, ring: Keyring | None = None) -> SealedReader:
    return SealedReader(FolderLocation(folder), "file", ring or keyring())


def read_all(folder: Path) -> list[tuple[int, str, bytes, Any, Any]]:
    """Everything that a file says it holds."""
    found = reader(folder)
    out = []
    for group in found.groups:
        for column in "ab":
            values = found.read(group, column)
            if values is not None:
                out.append((group, column, values.tobytes(), values.dtype, values.shape))
    return out


@settings(max_examples=60)
@given(st.lists(st.tuples(st.integers(0, 3), st.sampled_from("ab"), ARRAYS), max_size=4))
def test_arrays_of_any_type_and_shape_come_back(blocks: Any) -> None:
    """The round trip keeps bytes, type and shape; blocks of one column follow each other."""
    folder = fast_folder()
    alike = [(group, f"{column}{v.dtype.str}{v.shape[1:]}", v) for group, column, v in blocks]
    write(folder, alike)
    found = reader(folder)
    for group, column, first in alike:
        parts = [v for g, c, v in alike if (g, c) == (group, column)]
        together = np.concatenate(parts)
        got = found.read(group, column)
        if not len(together):
            assert got is None
            continue
        assert got is not None
        assert got.dtype == first.dtype
        assert got.shape == together.shape
        assert got.tobytes() == together.tobytes()


def test_a_column_larger_than_a_block_is_cut_and_joined(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """AES-GCM takes no endless message; readers do not notice the cut."""
    monkeypatch.setattr(sealed, "_LARGEST_BLOCK", 96)
    values = np.arange(1000, dtype=np.uint8).reshape(-1, 4)
    write(tmp_path, [(0, "a", values), (1, "a", values[::-1])])
    found = reader(tmp_path)
    assert np.array_equal(found.read(0, "a"), values)  # type: ignore[arg-type]  # is not None
    assert np.array_equal(found.read(1, "a"), values[::-1])  # type: ignore[arg-type]  # the same
    assert found.read(2, "a") is None
    assert found.read(0, "b") is None


def test_every_changed_byte_is_found_out(tmp_path: Path) -> None:
    """L10: whatever byte is changed, reading says so in a StateError; wrong values never come."""
    path = write(tmp_path, [(0, "a", np.arange(5)), (1, "b", np.arange(3, dtype=np.uint8))])
    whole = path.read_bytes()
    for at in range(len(whole)):
        for bit in (1, 128):
            path.write_bytes(whole[:at] + bytes([whole[at] ^ bit]) + whole[at + 1 :])
            with pytest.raises(StateError):
                read_all(tmp_path)


def test_every_cut_file_is_found_out(tmp_path: Path) -> None:
    """A file cut anywhere, at either end, is damaged; so is one that something was added to."""
    path = write(tmp_path, [(0, "a", np.arange(5))])
    whole = path.read_bytes()
    broken = [whole[:at] for at in range(len(whole))] + [whole[at:] for at in range(1, len(whole))]
    for content in [*broken, whole + b"\0", b"\0" + whole]:
        path.write_bytes(content)
        with pytest.raises(StateError):
            read_all(tmp_path)


def test_swapped_blocks_are_found_out(tmp_path: Path) -> None:
    """Two blocks of one size cannot change places."""
    path = write(tmp_path, [(0, "a", np.arange(4)), (1, "a", np.arange(4, 8))])
    whole = path.read_bytes()
    size, start = 4 * 8 + 16, 8 + 16 + 1 + 2
    one, two = whole[start : start + size], whole[start + size : start + 2 * size]
    path.write_bytes(whole[:start] + two + one + whole[start + 2 * size :])
    with pytest.raises(StateError, match="damaged"):
        reader(tmp_path).read(0, "a")


def test_whole_files_that_changed_places_are_found_out(tmp_path: Path) -> None:
    """A file is read under the path that it was written under, and under no other."""
    path = write(tmp_path, [(0, "a", np.arange(4))])
    path.rename(tmp_path / "other")
    with pytest.raises(StateError, match="damaged"):
        SealedReader(FolderLocation(tmp_path), "other", keyring())


def test_the_key_that_wrote_a_file_is_needed(tmp_path: Path) -> None:
    """Another key of that name is told from a name that nobody knows, each with its remedy."""
    write(tmp_path, [(0, "a", np.arange(5))])
    with pytest.raises(StateError, match="another key"):
        reader(tmp_path, Keyring("k1", {"k1": b"x" * 32}))
    with pytest.raises(StateError, match="'k1', which is not in AUDIENCE_SYNC_STATE_KEYS"):
        reader(tmp_path, keyring("k2"))


@pytest.mark.parametrize("content", [b"", b"ASSEAL01", b"\0" * 4096, b"not ours at all" * 40])
def test_what_is_no_sealed_file_is_told(tmp_path: Path, content: bytes) -> None:
    """An empty or strange file is a StateError."""
    (tmp_path / "file").write_bytes(content)
    with pytest.raises(StateError):
        reader(tmp_path)


def test_keys_rotate(tmp_path: Path) -> None:
    """Old files stay readable while their key is known; new ones are written with the current."""
    values = np.arange(9)
    write(tmp_path, [(0, "a", values)], keyring("old"))
    both = keyring("old", "new")
    assert np.array_equal(reader(tmp_path, both).read(0, "a"), values)  # type: ignore[arg-type]
    write(tmp_path, [(0, "a", values)], both)
    assert np.array_equal(reader(tmp_path, keyring("new")).read(0, "a"), values)  # type: ignore[arg-type]
    with pytest.raises(StateError):
        reader(tmp_path, keyring("old"))


def test_a_key_may_be_named_in_any_language(tmp_path: Path) -> None:
    """The name of a key in the settings need not be ASCII."""
    ring = keyring("nyckel-åäö")
    write(tmp_path, [(0, "a", np.arange(3))], ring)
    assert reader(tmp_path, ring).groups == [0]


def test_two_files_of_the_same_content_differ_throughout(tmp_path: Path) -> None:
    """Each file has a key of its own, so equal blocks do not show."""
    values = np.zeros((4, 32), dtype=np.uint8)
    first = write(tmp_path, [(0, "a", values)]).read_bytes()
    second = write(tmp_path, [(0, "a", values)]).read_bytes()
    assert first[27:] != second[27:]
    assert first[27 + 16 : 27 + 32] != first[27 + 48 : 27 + 64]


def test_no_plaintext_rests_and_no_key_prints(tmp_path: Path) -> None:
    """L10: a hash cannot be found in the file in any usual spelling; a ring never shows a key."""
    ring = keyring("k1")
    path = write(tmp_path, [(0, "email", np.frombuffer(CANARY * 5, np.uint8).reshape(-1, 32))])
    content = path.read_bytes()
    for spelling in (CANARY, CANARY.hex().encode(), CANARY[:8], b"email"):
        assert spelling not in content
    shown = f"{ring!r} {ring} {SealedReader(FolderLocation(tmp_path), 'file', ring)!r}"
    assert ring.keys["k1"].hex() not in shown
    assert repr(ring.keys["k1"])[2:-1] not in shown
