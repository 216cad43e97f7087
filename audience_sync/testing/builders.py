"""Made-up members, uploads and partners for tests of a connector; nothing here opens a socket."""

from __future__ import annotations

import hashlib
import threading
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import orjson

from audience_sync.connector import (
    Answer,
    AudienceRequest,
    Connector,
    Consent,
    Kind,
    Members,
    RefusedError,
    Upload,
)

GRANTED = Consent(ad_user_data=True, ad_personalization=True)
_DEVICES = (Kind.IDFA, Kind.GAID)
_FIRST_ERROR = 300  # HTTP: what is no success


def made_up_members(
    count: int,
    kinds: Sequence[Kind],
    *,
    slots: int = 1,
    seed: int = 0,
    forms: Mapping[Kind, str] | None = None,
) -> Members:
    """Members that have every kind in every slot; all identifiers differ.

    Device IDs are raw unless `forms` names a hashed form for their kind.
    """
    values = {}
    for kind in kinds:
        raw = kind in _DEVICES and (forms or {}).get(kind, "device/raw").endswith("/raw")
        width = 16 if raw else 32
        key = int.from_bytes(hashlib.sha256(f"{seed}/{kind}".encode()).digest()[:8], "big")
        made = np.random.default_rng(key).integers(0, 256, (count, slots, width), dtype=np.uint8)
        made[:, :, 0] |= 1  # never all zero, which would mean "none"
        values[kind] = made
    return Members(values)


def identifiers(members: Members) -> set[str]:
    """Every identifier of the members, as text."""
    found: set[str] = set()
    for kind in members.kinds:
        for slot in range(members.values[kind].shape[1]):
            found.update(members.column(kind, slot))
    return found - {""}


def made_up_upload(**changes: Any) -> Upload:
    """An upload that adds, in a session of its own; name what should differ."""
    usual: dict[str, Any] = {
        "remote_id": "1",
        "session": 9778993,
        "sequence": 1,
        "last": True,
        "total": 2,
        "consent": GRANTED,
    }
    return Upload(**(usual | changes))


def made_up_audience(**changes: Any) -> AudienceRequest:
    """A list to ensure; name what should differ."""
    usual: dict[str, Any] = {
        "name": "lapsed-vip",
        "title": "VIP customers who have not bought for a while",
        "marker": "[audience-sync 7f3a]",
        "kinds": (Kind.EMAIL, Kind.PHONE),
    }
    return AudienceRequest(**(usual | changes))


def answered(
    content: Any = None, status: int = 200, headers: Mapping[str, str] | None = None
) -> Answer:
    """An answer that holds this content: bytes as they are, anything else as JSON."""
    body = content if isinstance(content, bytes) else orjson.dumps(content)
    return Answer(status, dict(headers or {}), body)


@dataclass(frozen=True, slots=True)
class Sent:
    """A request as it reached the partner."""

    method: str
    url: str
    body: bytes | None = field(repr=False)
    content_type: str
    params: Mapping[str, str] = field(repr=False)
    headers: Mapping[str, str] = field(repr=False)
    repeatable: bool
    anonymous: bool

    def json(self) -> Any:
        """The body as JSON."""
        return orjson.loads(self.body or b"null")

    def written(self, volatile: frozenset[str] = frozenset()) -> tuple[Any, ...]:
        """All that makes two requests the same, but for parameters that may differ."""
        params = sorted((k, v) for k, v in self.params.items() if k not in volatile)
        return (self.method, self.url, tuple(params), self.content_type, self.body)


class KeptInMemory:
    """A credential that a test keeps; see `PartnerClient.kept`."""

    def __init__(self, place: dict[str, str], name: str) -> None:
        self._place = place
        self._name = name

    @property
    def value(self) -> str | None:
        """What was kept last."""
        return self._place.get(self._name)

    def keep(self, value: str) -> None:
        """Keep this from now on."""
        self._place[self._name] = value


class FakePartner:
    """A partner in memory, in place of the partner client; it never retries and never waits.

    Answers come from `answers` first, then from `always`, then from `respond`, which a subclass
    writes: it keeps `lists` (remote id → description) and `held` (identifiers as text), and finds
    fault with the identifiers in `refused`. Tokens are always answered by `respond`.
    """

    def __init__(self, *answers: Answer | Exception) -> None:
        self.answers: deque[Answer | Exception] = deque(answers)
        self.always: Answer | Exception | None = None
        self.requests: list[Sent] = []
        self.lists: dict[str, str] = {}
        self.held: set[str] = set()
        self.refused: set[str] = set()
        self.credentials: dict[str, str] = {}  # kept, by name
        self._connector: Connector[Any] | None = None
        self._lock = threading.RLock()

    def bind(self, connector: Connector[Any]) -> None:
        """Ask this connector for headers and explanations."""
        self._connector = connector

    def respond(self, sent: Sent) -> Answer:
        """What the partner answers; a subclass writes it."""
        raise AssertionError(f"no answer is prepared for {sent.method} {sent.url}")

    def plant(self, name: str) -> None:
        """Make a list of this name that is not ours; a subclass writes it."""
        raise NotImplementedError

    @property
    def uploads(self) -> list[Sent]:
        """The requests with our credentials, without those that fetched them."""
        return [sent for sent in self.requests if not sent.anonymous]

    def request(
        self,
        method: str,
        url: str,
        *,
        body: bytes | None = None,
        content_type: str = "application/json",
        params: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        repeatable: bool = True,
        anonymous: bool = False,
    ) -> Answer:
        """See `PartnerClient.request`."""
        if self._connector is None:
            raise AssertionError("bind the fake partner to its connector first")
        own: dict[str, str] = {}
        if not anonymous:
            base = "" if "://" in url else f"{self._connector.settings.base_url}/"
            proof = self._connector.sign(method, base + url, params or {}, body)
            own = {**self._connector.headers(), **proof}
        carried = own | dict(headers or {})
        sent = Sent(
            method, url, body, content_type, dict(params or {}), carried, repeatable, anonymous
        )
        answer = self._answer(sent)
        if isinstance(answer, Exception):
            raise answer
        error = self._connector.explain(answer)
        if error is not None:
            raise error
        if answer.status >= _FIRST_ERROR:
            raise RefusedError("the partner sends us to another address", answer.status)
        return answer

    @contextmanager
    def kept(self, name: str) -> Iterator[KeptInMemory]:
        """See `PartnerClient.kept`."""
        with self._lock:
            yield KeptInMemory(self.credentials, name)

    def _answer(self, sent: Sent) -> Answer | Exception:
        with self._lock:
            self.requests.append(sent)
            if sent.anonymous:
                return self.respond(sent)
            if self.answers:
                return self.answers.popleft()
            return self.respond(sent) if self.always is None else self.always

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name != "_lock"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._lock = threading.RLock()
