"""Every exception of audience-sync in one tree, grouped by what the caller should do.

    AudienceSyncError
    ├── ConfigurationError
    ├── SourceError
    ├── GuardError
    ├── BusyError
    ├── StateError
    │   └── AwayError
    └── PartnerError
        ├── TemporaryPartnerError
        │   └── UnreachedError
        ├── AuthenticationError
        └── RefusedError

A message is one sentence for the operator. It never holds a partner's own text, a URL, a
token or an identifier, because it travels into logs, queues and tickets.
"""

from __future__ import annotations

from pathlib import Path
from traceback import extract_tb


class AudienceSyncError(Exception):
    """Something stopped audience-sync; the message says what to do."""


class ConfigurationError(AudienceSyncError):
    """The project file or the settings need a change; nothing ran."""


class SourceError(AudienceSyncError):
    """The customers cannot be read; nothing was sent."""


class GuardError(AudienceSyncError):
    """The delta looks wrong; the run is held and nothing was sent."""


class BusyError(AudienceSyncError):
    """Another run holds this audience at this destination."""


class StateError(AudienceSyncError):
    """Our own state cannot be read or trusted; nothing was sent."""


class AwayError(StateError):
    """The ledger's database or the state location cannot be used now; nothing in it is wrong."""


class PartnerError(AudienceSyncError):
    """A partner could not be used.

    `status` is the HTTP status (None when no answer came), `code` the partner's own code as
    text. All arguments go to `super().__init__` so that the error survives pickling.
    """

    def __init__(self, message: str, status: int | None = None, code: str | None = None) -> None:
        super().__init__(message, status, code)
        self.message = message
        self.status = status
        self.code = code

    def __str__(self) -> str:
        found = [f"HTTP {self.status}"] if self.status is not None else []
        if self.code is not None:
            found.append(f"code {self.code}")
        return f"{self.message} ({', '.join(found)})" if found else self.message


class TemporaryPartnerError(PartnerError):
    """The partner cannot answer now; try again, after `retry_after` seconds where it said so."""

    def __init__(
        self,
        message: str,
        status: int | None = None,
        code: str | None = None,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(message, status, code)
        self.args = (message, status, code, retry_after)
        self.retry_after = retry_after


class UnreachedError(TemporaryPartnerError):
    """Nothing of the request arrived, so the partner surely did nothing; try again."""


class AuthenticationError(PartnerError):
    """The partner does not accept our credentials; stop this destination, tell the operator."""


class RefusedError(PartnerError):
    """The partner says that the request is wrong; it is never sent again unchanged.

    `rows` holds the positions (0-based, within the batch sent) that the partner named as the
    cause; empty when it named none.
    """

    def __init__(
        self,
        message: str,
        status: int | None = None,
        code: str | None = None,
        rows: tuple[int, ...] = (),
    ) -> None:
        super().__init__(message, status, code)
        self.args = (message, status, code, rows)
        self.rows = rows


def places(error: BaseException) -> str:
    """The lines of code that led to an error, outermost first, and none of its own words."""
    frames = extract_tb(error.__traceback__)
    return " > ".join(f"{Path(frame.filename).name}:{frame.lineno}" for frame in frames[1:])
