"""The client every byte to a partner passes through: paced, retried for seconds, recorded."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from typing import Any

from audience_sync.connector import (
    Answer,
    AuthenticationError,
    ConfigurationError,
    Connector,
    Kept,
    OrderConnector,
    PartnerError,
    RefusedError,
    TemporaryPartnerError,
    UnreachedError,
)
from audience_sync.delivery import exchange
from audience_sync.delivery.call import Call, own_headers, server_of
from audience_sync.delivery.exchange import Exchange
from audience_sync.delivery.limits import PATIENCE, Gate
from audience_sync.delivery.retries import ATTEMPTS, retrying
from audience_sync.delivery.wire import Wire

TIMEOUT = (10.0, 60.0)  # seconds to connect, and between two bytes of the answer
_FIRST_ERROR = 300  # HTTP: what is neither a success nor followed


class HttpPartnerClient:
    """A `PartnerClient` over HTTP for one destination; threads share it and it survives pickling.

    `bind` it to its connector before the first request: `Connector.headers`, `sign`, `explain`,
    `refresh` and `slow_down` are asked on every attempt.
    """

    def __init__(
        self,
        base_url: str,
        *,
        patience: float = PATIENCE,
        attempts: int = ATTEMPTS,
        timeout: tuple[float, float] = TIMEOUT,
        sleep: Callable[[float], None] = time.sleep,
        clock: Callable[[], float] = time.monotonic,
        kept: Callable[[str], AbstractContextManager[Kept]] | None = None,
    ) -> None:
        self._base_url = base_url.rstrip("/")
        self._patience = patience
        self._attempts = attempts
        self._sleep = sleep
        self._kept = kept
        self._wire = Wire(timeout)
        self._gate = Gate(base_url, patience=patience, clock=clock, sleep=sleep)
        self._connector: Connector[Any] | None = None

    def __repr__(self) -> str:
        return f"HttpPartnerClient({server_of(self._base_url)[1].rpartition('@')[2]})"

    def bind(self, connector: Connector[Any], gate: Gate | None = None) -> None:
        """Speak for this connector, within its limits; a `gate` shares them with other workers."""
        self._connector = connector
        self._gate = gate or self._gate
        self._gate.limit(connector.limits)

    def recording(self) -> AbstractContextManager[Exchange]:
        """Record what this thread exchanges until the block ends, token requests left out."""
        return exchange.recording()

    def kept(self, name: str) -> AbstractContextManager[Kept]:
        """See `PartnerClient.kept`; a copy in another process has no place to keep anything."""
        if self._kept is None:
            raise ConfigurationError("this client has no place to keep credentials; give it one")
        return self._kept(name)

    def close(self) -> None:
        """Close the connections; a later request opens new ones."""
        self._wire.close()

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_kept": None}

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
        """Answer a success, or raise what the answer means; see `PartnerClient.request`."""
        address = self._address(url)
        self._measured(body)
        call = Call(
            method=method,
            address=address,
            body=body,
            params=params,
            own=own_headers(body, content_type),
            headers=headers or {},
            trusted=not anonymous and server_of(address) == server_of(self._base_url),
            record=None if anonymous else exchange.current(),
            only_asks=self._only_asks(method, repeatable=repeatable),
        )
        try:
            answer = self._tried(call, repeatable=repeatable)
        except PartnerError as error:
            call.ended(error.status, error.code)
            raise
        call.ended(answer.status, None)
        return answer

    def _tried(self, call: Call, *, repeatable: bool) -> Answer:
        circuit = self._gate.circuit(" ".join(server_of(call.address)))
        tried = retrying(self._attempts if repeatable else 1, self._patience, self._sleep)

        def sent(credentials: Mapping[str, str]) -> Answer:
            return circuit.through(lambda: tried(self._attempt, call, credentials), self._patience)

        if not call.trusted:
            return sent({})
        # Asked outside the loop: fetching a token has patience of its own.
        credentials = self._bound.headers()
        try:
            return sent(credentials)
        except AuthenticationError as error:
            if not self._bound.refresh(error):
                raise
        return sent(self._bound.headers())

    def _attempt(self, call: Call, credentials: Mapping[str, str]) -> Answer:
        self._gate.wait(rested=call.rested)
        call.rested = False
        proof: Mapping[str, str] = {}
        if call.trusted:
            proof = self._bound.sign(call.method, call.address, call.params or {}, call.body)
        carried = {**call.own, **credentials, **proof, **call.headers}
        try:
            return self._judged(self._sent(call, carried))
        except TemporaryPartnerError as error:
            call.rested = error.retry_after is not None
            raise

    def _sent(self, call: Call, headers: Mapping[str, str]) -> Answer:
        """The answer; on record is whether the partner perhaps did it, whatever follows."""
        call.begins()
        answer, surely_not = None, call.only_asks
        try:
            answer = self._wire.send(
                call.method, call.address, body=call.body, params=call.params, headers=headers
            )
        except UnreachedError:
            surely_not = True
            raise
        finally:
            if call.record is not None and not surely_not and not self._refused(answer):
                call.record.uncertain = True
        return answer

    def _judged(self, answer: Answer) -> Answer:
        error = self._bound.explain(answer)
        announced = error.retry_after if isinstance(error, TemporaryPartnerError) else None
        self._gate.rest(max(self._bound.slow_down(answer), announced or 0.0))
        if error is not None:
            raise error
        if answer.status >= _FIRST_ERROR:
            raise RefusedError(
                "the partner sends us to another address; check base_url", answer.status
            )
        return answer

    def _only_asks(self, method: str, *, repeatable: bool) -> bool:
        """Whether a request changes nothing; some partners are told of orders by GET, too."""
        reports = isinstance(self._connector, OrderConnector)
        return method == "GET" and repeatable and not reports

    def _refused(self, answer: Answer | None) -> bool:
        """Whether the partner proves that it did nothing; no answer proves it."""
        try:
            return answer is not None and self._bound.changed_nothing(answer)
        except Exception:  # noqa: BLE001 - a plugin may raise anything, and the doubt stays
            return False

    def _measured(self, body: bytes | None) -> None:
        """Send no body that the connector itself calls too large; the contract proves none is."""
        largest = self._bound.limits.bytes_per_request
        if body is not None and largest is not None and len(body) > largest:
            raise RefusedError(
                f"the connector {self._bound.name} wrote a request of {len(body):,} bytes, more "
                f"than its limit of {largest:,}; report this to its author"
            )

    def _address(self, url: str) -> str:
        if url.startswith(("https://", "http://")):
            return url
        return f"{self._base_url}/{url.lstrip('/')}"

    @property
    def _bound(self) -> Connector[Any]:
        if self._connector is None:
            raise ConfigurationError("this client speaks for no connector yet; bind it first")
        return self._connector
