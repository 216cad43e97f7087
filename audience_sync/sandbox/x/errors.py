"""X's error body: a list of errors, and another one by operation where members are changed."""

from __future__ import annotations

from typing import Any

from audience_sync.sandbox.world import Reply

STATUSES = {
    "INVALID_PARAMETER": 400,
    "MISSING_PARAMETER": 400,
    "REQUEST_TOO_COMPLEX": 400,
    "UNAUTHORIZED_ACCESS": 401,
    "ACTION_NOT_ALLOWED": 403,
    "ACCOUNT_NOT_FOUND": 403,
    "NOT_FOUND": 404,
    "ROUTE_NOT_FOUND": 404,
    "CANCELLED_REQUEST": 408,
    "LOCK_ACQUISITION_TIMEOUT": 423,
    "TOO_MANY_REQUESTS": 429,
    "INTERNAL_ERROR": 500,
    "SERVICE_UNAVAILABLE": 503,
    "OVER_CAPACITY": 503,
}
_PAGE = b"<!DOCTYPE html><html><body>This page does not exist</body></html>"


class XError(Exception):
    """A refusal, as X words it."""

    def __init__(
        self, code: str, message: str, parameter: str | None = None, value: Any = None
    ) -> None:
        super().__init__(code, message)
        self.code, self.message, self.parameter, self.value = code, message, parameter, value

    @property
    def entry(self) -> dict[str, Any]:
        """The error as one object; X repeats the offending value."""
        found: dict[str, Any] = {"code": self.code, "message": self.message}
        if self.parameter is not None:
            found |= {"parameter": self.parameter, "details": "", "value": self.value}
        return found

    def reply(self, status: int | None = None) -> Reply:
        """The answer that carries the error; an unknown address is told by a web page."""
        status = status or STATUSES[self.code]
        if self.code == "ROUTE_NOT_FOUND":
            return Reply(status=404, content=_PAGE, content_type="text/html", outcome=self.code)
        content = {"errors": [self.entry], "request": {"params": {}}}
        return Reply(status=status, content=content, outcome=self.code)


class OperationsError(XError):
    """Operations that are wrong, by their place; nothing of the request was done."""

    def __init__(self, by_place: list[list[dict[str, Any]]]) -> None:
        first = next(error for errors in by_place for error in errors)
        super().__init__(first["code"], first["message"])
        self.by_place = by_place

    def reply(self, status: int | None = None) -> Reply:
        """The answer, with a list of errors for each operation."""
        content = {"request": {"params": {}}, "errors": [], "operation_errors": self.by_place}
        return Reply(status=status or 400, content=content, outcome=self.code)


def missing(parameter: str) -> XError:
    """A parameter that has to be there."""
    return XError("MISSING_PARAMETER", f'"{parameter}" is a required parameter', parameter)


def invalid(parameter: str, value: Any, expected: str) -> XError:
    """A parameter that cannot be understood."""
    message = f'Expected {expected}, got "{value}" for {parameter}'
    return XError("INVALID_PARAMETER", message, parameter, value)


def unauthorized() -> XError:
    """A signature that cannot be verified, for whatever reason."""
    return XError("UNAUTHORIZED_ACCESS", "This request is not properly authenticated")


def route_not_found() -> XError:
    """An address that there is not."""
    return XError("ROUTE_NOT_FOUND", "The requested resource could not be found")
