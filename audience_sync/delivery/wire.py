"""One HTTP request over `requests`: bounded in size and time, each failure in our own words."""

from __future__ import annotations

import http.client
import logging
import os
import threading
import time
import weakref
from collections.abc import Mapping
from http.cookiejar import DefaultCookiePolicy
from typing import Any
from urllib.parse import urlsplit

import requests
import urllib3
from requests.adapters import HTTPAdapter
from requests.utils import get_environ_proxies

from audience_sync.connector import (
    Answer,
    AudienceSyncError,
    ConfigurationError,
    RefusedError,
    TemporaryPartnerError,
    UnreachedError,
)

MAXIMUM_ANSWER = 10_000_000  # bytes; no answer that we ask for comes near
MAXIMUM_DURATION = 300.0  # seconds for one answer, however slowly it drips
CONNECTIONS = 64  # kept open per partner

_CHUNK = 65_536  # bytes
_FAILURES = (
    requests.RequestException,
    urllib3.exceptions.HTTPError,
    http.client.HTTPException,
    OSError,
    ValueError,  # a header that cannot be written, and the like
)


class Wire:
    """A pool of connections, opened on first use in each process and never pickled."""

    _session: requests.Session | None
    _process: int
    _lock: threading.Lock
    _proxies: dict[str, dict[str, str]]

    def __init__(self, timeout: tuple[float, float]) -> None:
        self._timeout = timeout
        self._clear()

    def send(
        self,
        method: str,
        url: str,
        *,
        body: bytes | None,
        params: Mapping[str, str] | None,
        headers: Mapping[str, str],
    ) -> Answer:
        """The partner's answer, whatever it says; raises when there is none that can be read."""
        failure: AudienceSyncError
        try:
            return self._send(method, url, body, params, headers)
        except _FAILURES as error:
            failure = _translate(error)
        # Raised outside the except block: the library's error holds the URL and the headers, and
        # even a hidden context would travel with ours.
        raise failure

    def close(self) -> None:
        """Close the connections; the next request opens new ones."""
        session = self._session
        self._clear()
        if session is not None:
            session.close()

    def _send(
        self,
        method: str,
        url: str,
        body: bytes | None,
        params: Mapping[str, str] | None,
        headers: Mapping[str, str],
    ) -> Answer:
        with self._opened().request(
            method,
            url,
            data=body,
            params=params,
            headers=headers,
            timeout=self._timeout,
            allow_redirects=False,  # credentials go where the project file says, nowhere else
            stream=True,
            proxies=self._proxies_for(url),
        ) as response:
            read = _read(response)
            names = {name.lower(): value for name, value in response.headers.items()}
            return Answer(response.status_code, names, read)

    def _opened(self) -> requests.Session:
        with self._lock:
            if self._session is None or self._process != os.getpid():
                self._session, self._process = _session(), os.getpid()
                weakref.finalize(self, self._session.close)
            return self._session

    def _proxies_for(self, url: str) -> dict[str, str]:
        """The environment's proxies, read once per server: requests would read it every time."""
        server = urlsplit(url).netloc
        if server not in self._proxies:
            self._proxies[server] = get_environ_proxies(url)
        return self._proxies[server]

    def _clear(self) -> None:
        self._lock = threading.Lock()
        self._session = None
        self._process = 0
        self._proxies = {}

    def __getstate__(self) -> dict[str, Any]:
        return {"_timeout": self._timeout}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self._timeout = state["_timeout"]
        self._clear()


def _session() -> requests.Session:
    # urllib3 writes whole URLs into its log, and a URL may carry a proof made from a secret.
    logging.getLogger("urllib3").setLevel(logging.CRITICAL)
    session = requests.Session()
    session.trust_env = False  # no .netrc in place of our credentials, no look-up per request
    session.verify = (
        os.environ.get("REQUESTS_CA_BUNDLE") or os.environ.get("CURL_CA_BUNDLE") or True
    )
    session.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))
    for scheme in ("https://", "http://"):
        session.mount(scheme, HTTPAdapter(pool_connections=8, pool_maxsize=CONNECTIONS))
    return session


def _read(response: requests.Response) -> bytes:
    deadline = time.monotonic() + MAXIMUM_DURATION
    chunks, size = [], 0
    # What has arrived, however little: a wait for a whole chunk would outlast the deadline.
    while chunk := response.raw.read1(_CHUNK, decode_content=True):
        chunks.append(chunk)
        size += len(chunk)
        if size > MAXIMUM_ANSWER:
            raise TemporaryPartnerError(
                "the partner's answer is larger than 10 MB and was not read; try again later",
                response.status_code,
            )
        if time.monotonic() > deadline:
            raise requests.Timeout
    return b"".join(chunks)


def _translate(error: Exception) -> AudienceSyncError:
    """What a failure of the HTTP library means in our words; the certificate is the odd one."""
    kind, sentence = next((k, s) for types, k, s in _MEANINGS if isinstance(error, types))
    if kind is TemporaryPartnerError and "CERTIFICATE_VERIFY_FAILED" in str(error):
        kind, sentence = RefusedError, _UNTRUSTED
    if kind is TemporaryPartnerError and _never_connected(error):
        kind = UnreachedError
    return kind(sentence)


def _never_connected(error: Exception) -> bool:
    """Whether it failed before a byte was sent: no such server, or nobody listens there."""
    cause = error.args[0] if error.args else None
    reason = getattr(cause, "reason", cause)
    return isinstance(error, requests.ConnectTimeout) or isinstance(
        reason, urllib3.exceptions.NewConnectionError
    )


_UNTRUSTED = (
    "the partner's certificate cannot be verified; check base_url and this machine's certificates"
)
# From the special to the general: the first that fits speaks.
_MEANINGS: tuple[tuple[tuple[type[Exception], ...], type[AudienceSyncError], str], ...] = (
    (
        (requests.exceptions.SSLError, urllib3.exceptions.SSLError),
        TemporaryPartnerError,
        "the encrypted connection broke off; try again later",
    ),
    (
        (requests.exceptions.ProxyError, urllib3.exceptions.ProxyError),
        TemporaryPartnerError,
        "the proxy does not let us through; check HTTPS_PROXY",
    ),
    (
        (requests.ConnectTimeout,),
        TemporaryPartnerError,
        "the partner cannot be reached in time; try again later",
    ),
    (
        (requests.Timeout, urllib3.exceptions.TimeoutError, TimeoutError),
        TemporaryPartnerError,
        "the partner did not answer in time; try again later",
    ),
    (
        (requests.exceptions.InvalidHeader, UnicodeError),
        ConfigurationError,
        "a credential holds a character that cannot be sent; check it for line breaks",
    ),
    (
        (requests.exceptions.ContentDecodingError, urllib3.exceptions.DecodeError),
        TemporaryPartnerError,
        "the partner's answer cannot be unpacked; try again later",
    ),
    (
        (ValueError,),
        ConfigurationError,
        "the address is not a URL; check base_url",
    ),
    (
        (Exception,),
        TemporaryPartnerError,
        (
            "the connection to the partner failed; see whether base_url is right and the network "
            "is up, or try again later"
        ),
    ),
)
