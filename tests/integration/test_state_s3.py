"""State on an S3-compatible store: a real server, the real driver, two writers, clear errors."""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
import pytest

from audience_sync.app import App
from audience_sync.errors import StateError
from audience_sync.membership.location import FolderLocation, StateLocation, open_location
from audience_sync.membership.sealed import Keyring, SealedReader, SealedWriter
from audience_sync.sandbox.server import running_sandbox
from audience_sync.testing.project_template import write_demo_secrets

PROJECT = """\
project: store-test
controller: Store Test AB
source:
  url: customers.csv
  columns: {{customer_id: id, email: email, consent: consent, consent_at: at}}
report_threshold: off
guards: {{minimum_members: off, maximum_removals: off, maximum_consent_drop: off}}
destinations:
  meta-se:
    connector: meta
    base_url: {url}/meta
    ad_account_id: "1234567890"
    access_token: file:secrets/meta-token
audiences:
  vip: {{destinations: [meta-se]}}
"""
BUCKET = "audience-sync-state"
URL = f"s3://{BUCKET}/state"
PART = 6_000_000  # bytes; S3 takes no part below five million but the last
KEYS = {
    "AWS_ACCESS_KEY_ID": "AKIACANARYACCESSKEY0",
    "AWS_SECRET_ACCESS_KEY": "canary-secret-access-key",
    "AWS_DEFAULT_REGION": "us-east-1",
}


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    from moto.server import ThreadedMotoServer  # noqa: PLC0415 - half a second of every collection

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture(scope="module")
def client(endpoint: str) -> Iterator[Any]:
    """The driver itself, as another program would use it; making one takes longer than a test."""
    with pytest.MonkeyPatch.context() as patched:
        for name in [name for name in os.environ if name.startswith("AWS_")]:
            patched.delenv(name)
        for name, value in {**KEYS, "AWS_ENDPOINT_URL": endpoint}.items():
            patched.setenv(name, value)
        _forget_clients()
        yield fsspec.filesystem("s3", use_listings_cache=False, skip_instance_cache=True)
        _forget_clients()


def _forget_clients() -> None:
    fsspec.get_filesystem_class("s3").clear_instance_cache()


@pytest.fixture
def anew() -> Iterator[None]:
    """Who opens the store makes a client of its own, by the environment as it is then."""
    _forget_clients()
    yield
    _forget_clients()


@pytest.fixture
def store(client: Any) -> Iterator[Any]:
    """The same on an empty bucket."""
    client.mkdir(BUCKET)
    yield client
    if client.exists(BUCKET):
        client.rm(BUCKET, recursive=True)


@pytest.fixture
def location(store: Any) -> StateLocation:
    return open_location(URL)


def put(location: StateLocation, path: str, content: bytes = b"0123456789") -> None:
    with location.create(path) as file:
        file.write(content)


class Killed(BaseException):
    """What stops a program at once."""


def test_what_was_written_is_read_in_ranges(location: StateLocation) -> None:
    """Any range, its size, and the newer content after it was replaced."""
    put(location, "a/b/file")
    assert location.size("a/b/file") == 10
    assert location.read("a/b/file", 2, 3) == b"234"
    assert location.read("a/b/file", 0, 10) == b"0123456789"
    assert location.read("a/b/file", 5, 0) == b""
    put(location, "a/b/file", b"new")
    assert location.read("a/b/file", 0, location.size("a/b/file")) == b"new"
    put(location, "empty", b"")
    assert location.size("empty") == 0


def test_a_folder_and_a_store_answer_alike(location: StateLocation, tmp_path: Path) -> None:
    """Also beyond a file's end."""
    folder = FolderLocation(tmp_path)
    for place in (location, folder):
        put(place, "a/file")
    for start, length in ((0, 10), (0, 99), (8, 99), (9, 1)):
        assert location.read("a/file", start, length) == folder.read("a/file", start, length)


def test_names_and_delete(location: StateLocation) -> None:
    """Names are those right there; deleting takes all below, twice, and nothing beside it."""
    for path in ("a/one", "a/two", "a/deep/er/three", "a/deeper", "b/four"):
        put(location, path)
    assert location.names("a") == ["deep", "deeper", "one", "two"]
    assert location.names("nowhere") == []
    location.delete("a/one")
    location.delete("a/deep")
    location.delete("a/deep")
    location.delete("never/was")
    assert location.names("a") == ["deeper", "two"]
    location.delete("a")
    assert location.names("a") == []
    assert location.read("b/four", 0, 2) == b"01"


def test_a_missing_file_is_a_sentence(location: StateLocation) -> None:
    """As on a disk."""
    for ask in (lambda: location.size("gone"), lambda: location.read("gone", 0, 1)):
        with pytest.raises(StateError, match="gone is missing; restore it"):
            ask()


@pytest.mark.parametrize("size", [7, 2 * PART])
@pytest.mark.parametrize("error", [ValueError("ours"), Killed(), StateError("told")])
def test_a_failure_while_writing_leaves_what_was_there(
    location: StateLocation, store: Any, error: BaseException, size: int
) -> None:
    """Neither half a file nor none in place of the older one, and no parts that cost money."""

    def fail(path: str) -> None:
        with location.create(path) as file:
            file.write(b"x" * size)
            raise error

    put(location, "a/file", b"old")
    for path in ("a/file", "a/never"):
        with pytest.raises(type(error)):
            fail(path)
    assert location.names("a") == ["file"]
    assert location.read("a/file", 0, 9) == b"old"
    assert store.call_s3("list_multipart_uploads", Bucket=BUCKET).get("Uploads", []) == []


def test_nobody_sees_a_file_that_is_being_written(location: StateLocation) -> None:
    """It appears whole; until then the older one is read."""
    put(location, "a/file", b"old")
    with location.create("a/file") as file:
        file.write(b"y" * 2 * PART)
        assert location.read("a/file", 0, 9) == b"old"
    assert location.size("a/file") == 2 * PART


def test_of_two_writers_the_last_to_finish_counts(store: Any) -> None:
    """Whole, whichever it is: never a mixture, and each sees the other's files at once."""
    one, two = open_location(URL), open_location(URL)
    with one.create("a/file") as first, two.create("a/file") as second:
        first.write(b"1" * 1000)
        second.write(b"2" * 2000)
    assert one.read("a/file", 0, 9999) == b"1" * 1000  # the outer block ended last
    with ThreadPoolExecutor(8) as threads:
        list(threads.map(lambda n: put(one if n % 2 else two, "a/same", b"%d" % n * 500), range(8)))
    found = two.read("a/same", 0, 9999)
    assert len(found) == 500
    assert len(set(found)) == 1


def test_another_writers_files_are_seen_at_once(location: StateLocation, store: Any) -> None:
    """No listing is remembered: a sweep must not decide by what was there before."""
    assert location.names("outbox") == []
    store.pipe_file(f"{BUCKET}/state/outbox/r1", b"x")
    assert location.names("outbox") == ["r1"]
    store.rm(f"{BUCKET}/state/outbox/r1")
    assert location.names("outbox") == []


def test_many_threads_read_at_once(location: StateLocation) -> None:
    """As partitions are merged."""
    content = os.urandom(100_000)
    put(location, "a/file", content)
    with ThreadPoolExecutor(8) as threads:
        parts = threads.map(lambda n: location.read("a/file", n * 1000, 1000), range(100))
        assert b"".join(parts) == content


def test_sealed_files_rest_in_a_store(location: StateLocation, store: Any) -> None:
    """What memberships and outboxes are written with, end to end."""
    keyring = Keyring("k1", {"k1": bytes(32)})
    values = np.frombuffer(b"canary-canary-canary-canary-1234" * 1000, np.uint8).reshape(-1, 32)
    with location.create("lists/x.sealed") as file:
        writer = SealedWriter(file, "lists/x.sealed", keyring)
        writer.write(3, "email", values)
        writer.close()
    reader = SealedReader(location, "lists/x.sealed", keyring)
    assert reader.groups == [3]
    assert np.array_equal(reader.read(3, "email"), values)
    assert b"canary" not in store.cat_file(f"{BUCKET}/state/lists/x.sealed")


def test_a_sync_with_its_state_in_a_store(
    store: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Sent, unchanged, withdrawn: the membership rests in the bucket and nowhere else."""
    key = "A" * 43 + "="
    for name, value in {
        "STATE_URL": URL,
        "DATABASE_URL": f"sqlite:///{tmp_path}/ledger.db",
        "STATE_KEYS": f"one:{key}",
        "FINGERPRINT_KEY": key,
    }.items():
        monkeypatch.setenv(f"AUDIENCE_SYNC_{name}", value)
    with running_sandbox() as sandbox:
        (tmp_path / "audience-sync.yaml").write_text(PROJECT.format(url=sandbox.url))
        write_demo_secrets(tmp_path, sandbox.url)
        sent = []
        for granted in (30, 30, 20):
            rows = [
                f"{n},canary{n}@canary.example,{'granted' if n < granted else 'withdrawn'},"
                "2026-01-01"
                for n in range(40)
            ]
            (tmp_path / "customers.csv").write_text("\n".join(["id,email,consent,at", *rows]))
            with App.open(tmp_path) as app:
                [outcome] = app.sync(["vip"])
                assert outcome.error is None
                assert outcome.run is not None
                sent.append((outcome.run.delta["additions"], outcome.run.delta["removals"]))
                assert app.ledger.remote_list("vip", "meta-se").members == granted
                app.sweep()
    assert sent == [(30, 0), (0, 0), (0, 10)]
    written = store.find(f"{BUCKET}/state")
    assert any("/lists/meta-se/vip/" in name for name in written)
    assert not [name for name in written if "/outbox/" in name or "/scratch/" in name]
    for name in written:
        assert b"canary" not in store.cat_file(name)
    assert not (tmp_path / ".audience-sync").exists()


def test_a_missing_bucket_is_said(store: Any) -> None:
    """It is never made on the way: a typing error would make one that nobody knows."""
    elsewhere = open_location("s3://audience-sync-typing-error/state")
    with pytest.raises(StateError, match="bucket of the state location does not exist; make it"):
        put(elsewhere, "a/file")
    assert not store.exists("audience-sync-typing-error")


def test_missing_credentials_are_said(
    store: Any, anew: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the variables to set."""
    for name in KEYS:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_CONFIG_FILE", "/dev/null")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/dev/null")
    with pytest.raises(StateError, match="AWS_ACCESS_KEY_ID"):
        put(open_location(URL), "a/file")


def test_a_store_that_is_away_is_said(
    store: Any, anew: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without its address."""
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    fresh = open_location(f"{URL}/away")
    fresh._files.retries = 1  # type: ignore[attr-defined]  # the same
    with pytest.raises(StateError, match="does not answer") as caught:
        put(fresh, "a/file")
    assert "127.0.0.1" not in str(caught.value)


def test_a_refusal_is_said(location: StateLocation, monkeypatch: pytest.MonkeyPatch) -> None:
    """A key that may not write: what to check, and nothing of what the store said."""

    def refuse(*_args: object, **_kwargs: object) -> None:
        raise PermissionError("AKIACANARYACCESSKEY0 is not authorized to perform s3:PutObject")

    monkeypatch.setattr(location._files, "_call_s3", refuse)  # type: ignore[attr-defined]
    with pytest.raises(StateError, match="refuses us; check its credentials") as caught:
        location.size("a/file")
    assert "CANARY" not in str(caught.value)
