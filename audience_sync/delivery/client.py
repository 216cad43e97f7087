"""The client every byte to a partner passes through: paced, retried for seconds, recorded."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

import tenacity

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
from audience_sync.delivery.circuit import Circuit, WithheldError
from audience_sync.delivery.exchange import Exchange
from audience_sync.delivery.limits import PATIENCE, Gate
from audience_sync.delivery.wire import Wire

ATTEMPTS = 6
FIRST_WAIT = 0.5  # seconds; doubles with each attempt, plus up to a second of jitter
LONGEST_WAIT = 10.0  # seconds
TIMEOUT = (10.0, 60.0)  # seconds to connect, and between two bytes of the answer
USER_AGENT = "audience-sync"

_FIRST_ERROR = 300  # HTTP: what is neither a success nor followed


@dataclass(kw_only=True)
class _Call:
    """What a connector asks for: the same in each attempt, with credentials of its own each."""

    method: str
    address: str
    body: bytes | None = field(repr=False)
    params: Mapping[str, str] | None = field(repr=False)
    own: Mapping[str, str] = field(repr=False)  # headers that any partner gets
    headers: Mapping[str, str] = field(repr=False)
    trusted: bool  # goes to the partner itself, with credentials
    record: Exchange | None
    only_asks: bool  # whether it changes nothing at the partner
    rested: bool = False  # whether it has just slept as long as the partner asked all for

    def begins(self) -> None:
        """Another attempt is about to be sent; it must be permitted."""
        if self.record is not None:
            self.record.permit()
            self.record.attempts += 1
            self.record.sends(self.body)

    def ended(self, status: int | None, code: str | None) -> None:
        """Put the last answer on record."""
        if self.record is not None:
            self.record.status, self.record.code = status, code


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
        return f"HttpPartnerClient({_server(self._base_url)[1].rpartition('@')[2]})"

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
        call = _Call(
            method=method,
            address=address,
            body=body,
            params=params,
            own=_own_headers(body, content_type),
            headers=headers or {},
            trusted=not anonymous and _server(address) == _server(self._base_url),
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

    def _tried(self, call: _Call, *, repeatable: bool) -> Answer:
        circuit = self._gate.circuit(" ".join(_server(call.address)))
        retrying = tenacity.Retrying(
            retry=tenacity.retry_if_exception(_worth_another),
            wait=_wait,
            stop=self._enough if repeatable else tenacity.stop_after_attempt(1),
            sleep=self._sleep,
            reraise=True,
        )
        if not call.trusted:
            return self._told(circuit, lambda: retrying(self._attempt, call, {}))
        # Asked outside the loop: fetching a token has patience of its own.
        credentials = self._bound.headers()
        try:
            return self._told(circuit, lambda: retrying(self._attempt, call, credentials))
        except AuthenticationError as error:
            if not self._bound.refresh(error):
                raise
        renewed = self._bound.headers()
        return self._told(circuit, lambda: retrying(self._attempt, call, renewed))

    def _attempt(self, call: _Call, credentials: Mapping[str, str]) -> Answer:
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

    def _sent(self, call: _Call, headers: Mapping[str, str]) -> Answer:
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

    def _told(self, circuit: Circuit, call: Callable[[], Answer]) -> Answer:
        """Make a call if the circuit lets it through, and tell the circuit how it ended."""
        circuit.permit()
        end = circuit.untold
        try:
            answer = call()
            end = circuit.succeeded
        except TemporaryPartnerError as error:
            # A long wait that the partner announced is kept as it is.
            announced = error.retry_after is not None and error.retry_after > self._patience
            if not announced and not isinstance(error, WithheldError):
                end = circuit.failed
            raise
        except PartnerError as error:
            end = circuit.untold if error.status is None else circuit.succeeded
            raise
        finally:
            end()
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

    def _enough(self, state: tenacity.RetryCallState) -> bool:
        """Whether to stop: too many attempts, or the next wait would outlast our patience."""
        spent = max(state.idle_for, state.seconds_since_start or 0.0)
        return state.attempt_number >= self._attempts or (
            spent + state.upcoming_sleep > self._patience
        )

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


_growing = tenacity.wait_exponential_jitter(multiplier=FIRST_WAIT, max=LONGEST_WAIT, jitter=1.0)


def _worth_another(error: BaseException) -> bool:
    return isinstance(error, TemporaryPartnerError) and not isinstance(error, WithheldError)


def _wait(state: tenacity.RetryCallState) -> float:
    """As long as the partner asked for, else longer with every attempt."""
    error = state.outcome.exception() if state.outcome is not None else None
    if isinstance(error, TemporaryPartnerError) and error.retry_after is not None:
        return error.retry_after
    return _growing(state)


def _own_headers(body: bytes | None, content_type: str) -> dict[str, str]:
    own = {"User-Agent": USER_AGENT, "Accept": "application/json"}
    return own if body is None else own | {"Content-Type": content_type}


def _server(url: str) -> tuple[str, str]:
    try:
        parts = urlsplit(url)
    except ValueError:  # the wire says so in the operator's words
        return "", ""
    return parts.scheme, parts.netloc.lower()
