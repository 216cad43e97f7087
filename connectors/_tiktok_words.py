"""What TikTok's codes mean to us; nearly every answer is HTTP 200, so the code decides."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from audience_sync.connector import (
    Answer,
    AuthenticationError,
    PartnerError,
    RefusedError,
    TemporaryPartnerError,
)

TASK_WAIT = 60.0  # seconds, for a task of TikTok's that is not ready
MAINTENANCE_WAIT = 600.0  # seconds; maintenance takes minutes
PARTLY = "20001"  # some of the request was done, and nobody says which part
REPEATED = 40050  # the request came before, today or another day
GONE = "40007"  # or somebody else's
SPLIT = frozenset(("40011", "40061", "40907"))  # too many ids, a bad batch size, a large file
UPLOAD_AGAIN = frozenset(("40900", "40905", "40910", "40915"))  # the file did not arrive whole
PARAMETER = frozenset(("40000", "40002"))
NOT_FOUND, TOO_LARGE, SERVER_ERROR = 404, 413, 500  # HTTP's own statuses
# Done already, or nothing to do: a repeated request that was made before.
DONE = frozenset((0, 40012, REPEATED))


class Meaning(NamedTuple):
    """What one of TikTok's codes means: the error to raise and the operator's sentence."""

    error: type[PartnerError]
    sentence: str
    wait: float | None = None  # seconds; None leaves the growing waits to the client


_BUSY = Meaning(TemporaryPartnerError, "TikTok's request limit is reached")
_SERVER = Meaning(TemporaryPartnerError, "TikTok cannot answer now")
_SHAPE = Meaning(RefusedError, "TikTok does not accept the request; check the settings")
_TOKEN = Meaning(
    AuthenticationError,
    "TikTok does not accept the access token; authorise the app again and set the new token",
)
_ROLE = Meaning(
    AuthenticationError,
    "the access token may not change audiences of this advertiser; its user must be Admin or "
    "Operator there, and the app needs Audience Management",
)
_APP = Meaning(
    AuthenticationError, "TikTok has not allowed this app to do that; ask TikTok to allow it"
)
_SANDBOX = Meaning(
    RefusedError, "this is for TikTok's sandbox, or not for it; check base_url and the token"
)
_ADDRESS = Meaning(RefusedError, "TikTok knows no such address; check base_url and api_version")
_SIZE = Meaning(RefusedError, "the request holds more than TikTok takes")
_FILE = Meaning(RefusedError, "the file did not reach TikTok whole")
_LAYOUT = Meaning(RefusedError, "TikTok does not accept the file; report this with its code")
MEANINGS: Mapping[int, Meaning] = {
    20001: Meaning(TemporaryPartnerError, "TikTok did only a part of the request"),
    **dict.fromkeys((40000, 40002, 40700), _SHAPE),
    **dict.fromkeys((40001, 40003, 40300, 40301), _ROLE),
    40006: Meaning(RefusedError, "this API version has ended; set a later api_version"),
    40007: Meaning(
        RefusedError, "the audience does not exist any more, or belongs to another advertiser"
    ),
    **dict.fromkeys((40009, 40013), _SANDBOX),
    **dict.fromkeys((40011, 40061, 40907), _SIZE),
    40062: Meaning(
        RefusedError,
        "TikTok says that identifiers were not hashed; send nothing there until this is explained",
    ),
    **dict.fromkeys((40100, 40132, 42900, 61000), _BUSY),
    **dict.fromkeys((40102, 40103, 40104, 40105, 40110), _TOKEN),
    **dict.fromkeys((40101, 40113, 40118, 40125, 40130), _APP),
    40200: Meaning(RefusedError, "a task at TikTok failed; look at the audience in Ads Manager"),
    40201: Meaning(TemporaryPartnerError, "TikTok is still at work", TASK_WAIT),
    40202: Meaning(TemporaryPartnerError, "the audience is being changed by somebody else"),
    40400: _ADDRESS,
    **dict.fromkeys((40900, 40905, 40910, 40915), _FILE),
    **dict.fromkeys((40906, 40908, 40909), _LAYOUT),
    41000: Meaning(
        AuthenticationError, "TikTok has blocked this app or advertiser; see TikTok's notices"
    ),
    60001: Meaning(TemporaryPartnerError, "TikTok is under maintenance", MAINTENANCE_WAIT),
}
SERVER_CODES = range(50000, 60000)
# Said in the midst of the work, perhaps; all others before TikTok looks at the people.
_MIDWAY = frozenset((20001, 40200, 40201, 40202, 40700, 60001))


def explained(answer: Answer, found: Any, fallback: PartnerError | None) -> PartnerError | None:
    """The error that an answer means; `fallback` is what its HTTP status means alone."""
    code = _code(found)
    if code is None and answer.status == NOT_FOUND:
        return RefusedError(_ADDRESS.sentence, answer.status)
    if code is None:
        return fallback or TemporaryPartnerError(
            "TikTok's answer cannot be read; try again", answer.status
        )
    if code in DONE:
        return fallback
    meaning = MEANINGS.get(code) or (_SERVER if code in SERVER_CODES else None)
    if meaning is None:
        unknown = fallback or RefusedError("TikTok refuses the request")
        return type(unknown)(unknown.message, answer.status, str(code))
    if meaning.error is TemporaryPartnerError:
        return TemporaryPartnerError(meaning.sentence, answer.status, str(code), meaning.wait)
    return meaning.error(meaning.sentence, answer.status, str(code))


def changed_nothing(answer: Answer, found: Any, by_status: bool) -> bool:
    """Whether an answer proves that nothing was changed; a server in trouble proves nothing."""
    code = _code(found)
    if code is None or answer.status >= SERVER_ERROR:
        return by_status
    if code == 0:  # an uploaded file is on no list yet
        result = found.get("data")
        return isinstance(result, dict) and "file_path" in result
    return code in MEANINGS and code not in _MIDWAY


def is_too_much(error: RefusedError) -> bool:
    """Whether the same request in halves may pass."""
    return error.code in SPLIT or error.status == TOO_LARGE


def _code(found: Any) -> int | None:
    value = found.get("code") if isinstance(found, dict) else None
    return value if isinstance(value, int) and not isinstance(value, bool) else None
