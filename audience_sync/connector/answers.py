"""A partner's HTTP answer, and what follows from it where its body says nothing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from audience_sync.errors import (
    AuthenticationError,
    PartnerError,
    RefusedError,
    TemporaryPartnerError,
)

_NO_JSON = "the partner answered something that is not JSON; try again later"


@dataclass(frozen=True, slots=True)
class Answer:
    """A partner's HTTP answer."""

    status: int
    headers: Mapping[str, str] = field(repr=False)  # names in lower case
    body: bytes = field(repr=False)

    @property
    def is_json(self) -> bool:
        """Whether the body can be read, as all that an API with JSON says."""
        try:
            self.json()
        except TemporaryPartnerError:
            return False
        return True

    def json(self) -> Any:
        """The body as JSON; a TemporaryPartnerError where a proxy spoke and not the API."""
        import orjson  # noqa: PLC0415 - most plugins never read JSON by themselves

        try:
            return orjson.loads(self.body)
        except orjson.JSONDecodeError:
            raise TemporaryPartnerError(_NO_JSON, self.status) from None


def status_changed_nothing(status: int) -> bool:
    """Whether an HTTP status says that the partner did nothing: any 4xx, and only these.

    But not 408: some partners send it when they themselves took too long, perhaps in the midst.
    """
    return 400 <= status < 500 and status != 408  # noqa: PLR2004 - HTTP's own boundaries


def explain_status(answer: Answer) -> PartnerError | None:
    """What an HTTP status means when the body says nothing."""
    status = answer.status
    if status < 400:  # noqa: PLR2004 - HTTP's own boundary
        return None
    if status in (408, 425, 429) or status >= 500:  # noqa: PLR2004 - HTTP's own boundary
        wait = answer.headers.get("retry-after", "")
        return TemporaryPartnerError(
            "the partner cannot answer now",
            status,
            retry_after=float(wait) if wait.isdigit() else None,
        )
    if status == 401:  # noqa: PLR2004 - HTTP's own word
        return AuthenticationError("the partner does not accept the credentials", status)
    return RefusedError("the partner refuses the request", status)


def explain_page(answer: Answer) -> PartnerError:
    """What an answer means that the partner's API does not give, such as a web page.

    Where it refuses, a proxy or a wrong address spoke: waiting mends nothing, so the destination
    stops. It is no refusal of the partner's, which could cost a list, but that it is too large.
    """
    found = explain_status(answer)
    if isinstance(found, RefusedError) and answer.status != 413:  # noqa: PLR2004 - HTTP's own word
        return AuthenticationError(
            "something on the way to the partner refuses the request; check the proxy and base_url",
            answer.status,
        )
    return found or TemporaryPartnerError(_NO_JSON, answer.status)


def page_changed_nothing(answer: Answer) -> bool:
    """Whether an answer that is no JSON proves that the request did nothing, as few statuses do.

    A page of another may hide what the partner said behind it.
    """
    return answer.status in (401, 413)
