"""Meta's error body and the errors that its endpoints share."""

from __future__ import annotations

import secrets
from typing import Any

from audience_sync.sandbox.world import Reply

THROTTLED = 2446079
REPLACE = 2650
UPDATING, NO_FIRST, FAILED, CLOSED, FINISHED, TOO_LARGE = (
    1870145,
    1870147,
    1870148,
    1870158,
    1870159,
    1870144,
)


class MetaError(Exception):
    """A refusal, as Meta words it."""

    def __init__(
        self,
        code: int,
        message: str,
        *,
        subcode: int | None = None,
        status: int = 400,
        kind: str = "OAuthException",
        title: str | None = None,
        transient: bool = False,
    ) -> None:
        super().__init__(code, message)
        self.code, self.subcode, self.status = code, subcode, status
        self.message, self.kind, self.title, self.transient = message, kind, title, transient

    def reply(self) -> Reply:
        """The answer that carries the error."""
        error: dict[str, Any] = {"message": self.message, "type": self.kind, "code": self.code}
        if self.subcode is not None:
            error["error_subcode"] = self.subcode
        if self.transient or self.code not in THROTTLES:
            error["is_transient"] = self.transient
        if self.title:
            error["error_user_title"] = self.title
            error["error_user_msg"] = self.message
        error["fbtrace_id"] = "A" + secrets.token_urlsafe(16)
        outcome = f"{self.code}/{self.subcode}" if self.subcode else str(self.code)
        return Reply(status=self.status, content={"error": error}, outcome=outcome)


THROTTLES = {4, 17, 32, 341, 613, *range(80000, 80015)}  # these come without is_transient


def invalid(message: str) -> MetaError:
    """A request that cannot be understood."""
    return MetaError(100, f"(#100) {message}")


def unknown_object(object_id: str) -> MetaError:
    """An object that does not exist, or that the token may not see."""
    return MetaError(
        100,
        f"Unsupported request. Object with ID '{object_id}' does not exist, cannot be loaded due "
        "to missing permissions, or does not support this operation.",
        subcode=33,
        kind="GraphMethodException",
    )


def throttled(code: int = 80003, status: int = 400) -> MetaError:
    """The custom-audience limit of an ad account, or another limit by its code."""
    subcode = THROTTLED if code in {17, 80003} else None
    message = "There have been too many calls to this ad-account."
    return MetaError(code, message, subcode=subcode, status=status)


def terms_missing(account: str) -> MetaError:
    """The custom audience terms of service wait for a human."""
    return MetaError(
        200,
        "Permissions error. Accept the Custom Audience Terms at "
        f"https://business.facebook.com/ads/manage/customaudiences/tos/?act={account}",
        subcode=1870090,
        status=403,
        title="Custom Audience Terms Not Accepted",
    )


def expired() -> MetaError:
    """An access token whose session is over."""
    message = (
        "Error validating access token: Session has expired on Friday, 20-Nov-26 10:12:14 PST."
    )
    return MetaError(190, message, subcode=463)


def replacing(subcode: int, message: str) -> MetaError:
    """A refusal of a session or of a replacement."""
    return MetaError(REPLACE, f"(#2650) {message}", subcode=subcode)
