"""Google's error body and the errors that its endpoints share."""

from __future__ import annotations

import secrets
from typing import Any

from audience_sync.sandbox.world import Reply

HTTP = {
    "INVALID_ARGUMENT": 400,
    "UNAUTHENTICATED": 401,
    "PERMISSION_DENIED": 403,
    "NOT_FOUND": 404,
    "ABORTED": 409,
    "ALREADY_EXISTS": 409,
    "RESOURCE_EXHAUSTED": 429,
    "INTERNAL": 500,
    "UNAVAILABLE": 503,
    "DEADLINE_EXCEEDED": 504,
}
_TYPE = "type.googleapis.com/google.rpc."


class GoogleError(Exception):
    """A refusal, as Google words it; `violations` are (field path, description, reason)."""

    def __init__(
        self,
        status: str,
        message: str,
        reason: str | None = None,
        *,
        violations: list[tuple[str, str, str | None]] | None = None,
        metadata: dict[str, str] | None = None,
    ) -> None:
        super().__init__(status, message, reason)
        self.status, self.message, self.reason = status, message, reason
        self.violations, self.metadata = violations or [], metadata

    def reply(self) -> Reply:
        """The answer that carries the error."""
        request = f"t-{secrets.token_hex(16)}"
        details: list[dict[str, Any]] = []
        if self.reason is not None:
            quota = self.status == "RESOURCE_EXHAUSTED"
            details.append(
                {
                    "@type": f"{_TYPE}ErrorInfo",
                    "reason": self.reason,
                    "domain": "googleapis.com" if quota else "datamanager.googleapis.com",
                    "metadata": self.metadata or {"requestId": request},
                }
            )
        details.append({"@type": f"{_TYPE}RequestInfo", "requestId": request})
        if self.violations:
            details.append({"@type": f"{_TYPE}BadRequest", "fieldViolations": self._named()})
        error = {
            "code": HTTP[self.status],
            "message": self.message,
            "status": self.status,
            "details": details,
        }
        return Reply(
            status=HTTP[self.status], content={"error": error}, outcome=self.reason or self.status
        )

    def _named(self) -> list[dict[str, str]]:
        return [
            {"field": field, "description": description} | ({"reason": reason} if reason else {})
            for field, description, reason in self.violations
        ]


def wrong(reason: str, field: str, description: str) -> GoogleError:
    """One field of a request is wrong."""
    return wrong_fields([(field, description, reason)])


def wrong_fields(violations: list[tuple[str, str, str | None]]) -> GoogleError:
    """Several fields are wrong; the first one gives the reason of the whole."""
    return GoogleError(
        "INVALID_ARGUMENT",
        "There was a problem with the request.",
        violations[0][2],
        violations=violations,
    )


def unknown_name(name: str, path: str) -> GoogleError:
    """The JSON has a field that does not exist."""
    place = f" at '{path}'" if path else ""
    text = f'Invalid JSON payload received. Unknown name "{name}"{place}: Cannot find field.'
    return GoogleError("INVALID_ARGUMENT", text, violations=[(path, text, None)])


def unauthenticated() -> GoogleError:
    """The access token is missing, unknown or over."""
    return GoogleError(
        "UNAUTHENTICATED",
        "Request had invalid authentication credentials. Expected OAuth 2 access token, login "
        "cookie or other valid authentication credential.",
        "ACCESS_TOKEN_EXPIRED",
    )


def denied(reason: str = "PERMISSION_DENIED") -> GoogleError:
    """The caller may not act for the account."""
    return GoogleError("PERMISSION_DENIED", "The caller does not have permission", reason)


def exhausted(limit: str) -> GoogleError:
    """A quota is used up."""
    return GoogleError(
        "RESOURCE_EXHAUSTED",
        f"Quota exceeded for quota metric and limit '{limit}'.",
        "RATE_LIMIT_EXCEEDED",
        metadata={
            "service": "datamanager.googleapis.com",
            "consumer": "projects/123456789012",
            "quota_limit": limit,
        },
    )


def missing(field: str) -> GoogleError:
    """A field that must be there is not."""
    return wrong("REQUIRED_FIELD_MISSING", field, "A required field is missing.")
