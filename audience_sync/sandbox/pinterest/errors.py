"""Pinterest's error body: a code and a message, with a status that fits."""

from __future__ import annotations

from audience_sync.sandbox.world import Reply


class PinterestError(Exception):
    """A refusal, as Pinterest words it."""

    def __init__(self, status: int, code: int, message: str) -> None:
        super().__init__(status, code, message)
        self.status, self.code, self.message = status, code, message

    def reply(self) -> Reply:
        """The answer that carries the error."""
        content = {"code": self.code, "message": self.message}
        return Reply(status=self.status, content=content, outcome=str(self.code))


def invalid(message: str) -> PinterestError:
    """A request that cannot be understood."""
    return PinterestError(400, 1, f"Invalid request: {message}")


def unauthorized(*, expired: bool = False) -> PinterestError:
    """A token that is unknown, or over."""
    return PinterestError(401, 1104 if expired else 2, "Authentication failed.")


def forbidden() -> PinterestError:
    """An ad account that the token may not change."""
    return PinterestError(403, 29, "You are not permitted to access that resource.")


def missing(what: str) -> PinterestError:
    """Something that there is not."""
    return PinterestError(404, 404, f"{what} not found.")


def limited() -> PinterestError:
    """More requests than Pinterest takes."""
    return PinterestError(429, 8, "You have exceeded your rate limit. Try again later.")
