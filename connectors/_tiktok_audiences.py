"""TikTok's audiences as its answers hold them: found by marker, named, made and read back."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from hashlib import sha256
from typing import Any

import orjson

from audience_sync.connector import (
    AudienceRequest,
    AuthenticationError,
    ConfigurationError,
    RefusedError,
    Statistics,
    TemporaryPartnerError,
)
from connectors._tiktok_calls import Calls
from connectors._tiktok_words import GONE, PARAMETER

LONGEST_NAME = 128  # characters
LONGEST_MARKER = 90  # characters; a longer one is replaced by its hash
PAGE = 100  # audiences; TikTok's maximum
PAGES = 100  # TikTok allows 400 audiences
SOME = (
    "TikTok has only some of the audiences that this list is made of; delete the others there too, "
    "then `audience-sync forget` the list"
)
IN_USE = (
    "TikTok does not delete the audience; see in Ads Manager whether an active ad group uses it, "
    "and delete it there"
)


def check(calls: Calls) -> None:
    """Prove that the token reaches the advertiser and may see its audiences."""
    own = orjson.dumps([calls.advertiser]).decode()
    found = _entries(calls.get("advertiser/info/", advertiser_ids=own))
    if calls.advertiser not in [str(_of(entry, "advertiser_id")) for entry in found]:
        raise AuthenticationError(
            "the access token does not reach this advertiser; authorise the app for it"
        )
    calls.own("dmp/custom_audience/list/", page="1", page_size="1")


def ours(calls: Calls, audience: AudienceRequest) -> dict[str, str]:
    """The ids of the audiences with our marker, by what stands behind it in the name.

    TikTok has no description, and does not keep names unique: the first one made counts.
    """
    found: dict[str, str] = {}
    for listed in _listed(calls):
        name, number = str(_of(listed, "name")), str(_of(listed, "audience_id"))
        _, ours, part = name.partition(_marker(audience))
        if not ours or not number.isdigit():
            continue
        part = part.strip()
        found[part] = min(found.get(part, number), number, key=int)
    return found


def made(calls: Calls, audience: AudienceRequest, part: str, path: str, body: bytes) -> str:
    """Create an audience; its id.

    Not repeated here: after a lost answer the next look-up finds what was made.
    """
    found = calls.post(path, body, repeatable=False).result
    number = str(found.get("custom_audience_id") or found.get("audience_id") or "")
    if not number.isdigit():  # a repeated request is answered without it
        number = ours(calls, audience).get(part, "")
    if not number:
        raise TemporaryPartnerError("TikTok did not name the audience; try again")
    return number


def delete(calls: Calls, numbers: Sequence[str], *, streamed: bool) -> None:
    """Delete audiences one by one, since a call is refused whole where one is gone already.

    TikTok's word for that is also its word for somebody else's, so it must list none of them.
    """
    for number in numbers:
        try:
            _delete(calls, number, streamed=streamed)
        except RefusedError as error:
            if error.code != GONE:
                raise
    if _lists_any(calls, numbers):
        raise TemporaryPartnerError("TikTok still lists the audience; try again")


def name_of(audience: AudienceRequest, part: str = "") -> str:
    """The name of an audience, cut before the marker where it is too long."""
    end = f"{_marker(audience)} {part}".strip()
    return f"{audience.name[: LONGEST_NAME - len(end) - 1].strip()} {end}"


def statistics(calls: Calls, numbers: Sequence[str]) -> Statistics:
    """What TikTok tells of audiences that belong together; several overlap, hence a range."""
    found = _shown(calls, numbers)
    details = [_of(entry, "audience_details") for entry in _entries(found)]
    if len(details) < len(numbers):
        raise TemporaryPartnerError("TikTok did not tell of the audience; try again")
    sizes = [size for one in details if isinstance(size := _of(one, "cover_num"), int)]
    usable = any(_of(one, "is_valid") is True for one in details)
    words = {
        "failed": any(_of(one, "error_msg") for one in details),
        "expiring": any(_of(one, "is_expiring") is True for one in details),
        "ready": usable,
        "in preparation": True,
    }
    return Statistics(
        size_lower=max(sizes, default=None),
        size_upper=sum(sizes) if sizes else None,
        status=next(word for word, true in words.items() if true),
        usable=usable,
    )


def _shown(calls: Calls, numbers: Sequence[str]) -> dict[str, Any]:
    asked = orjson.dumps(list(numbers)).decode()
    try:
        return calls.own("dmp/custom_audience/get/", custom_audience_ids=asked)
    except RefusedError as error:
        # It is refused whole where one is gone, which must not pass for all.
        if error.code != GONE or len(numbers) == 1 or not _lists_any(calls, numbers):
            raise
    raise ConfigurationError(SOME)


def _lists_any(calls: Calls, numbers: Sequence[str]) -> bool:
    return any(str(_of(listed, "audience_id")) in numbers for listed in _listed(calls))


def _delete(calls: Calls, number: str, *, streamed: bool) -> None:
    path, named = "dmp/custom_audience/delete/", calls.written(custom_audience_ids=[number])
    if streamed:
        path, named = "segment/audience/", calls.written(action="delete", audience_id=number)
    try:
        calls.post(path, named)
    except RefusedError as error:
        if error.code not in PARAMETER:
            raise
        raise RefusedError(IN_USE, error.status, error.code) from None


def _listed(calls: Calls) -> Iterator[Any]:
    """Every audience of the advertiser, page by page."""
    for number in range(1, PAGES + 1):
        page = calls.own("dmp/custom_audience/list/", page=str(number), page_size=str(PAGE))
        if not isinstance(page.get("list"), list):
            raise TemporaryPartnerError("TikTok did not list the audiences; try again")
        yield from page["list"]
        pages = _of(page.get("page_info"), "total_page")
        if not page["list"] or not isinstance(pages, int) or number >= pages:
            return


def _marker(audience: AudienceRequest) -> str:
    """Our marker, short enough for a name."""
    if len(audience.marker) <= LONGEST_MARKER:
        return audience.marker
    return f"[audience-sync:{sha256(audience.marker.encode()).hexdigest()[:32]}]"


def _entries(found: dict[str, Any]) -> list[Any]:
    """What a list of TikTok's holds; none where it is of another shape."""
    listed = found.get("list")
    return listed if isinstance(listed, list) else []


def _of(found: Any, name: str) -> Any:
    return found.get(name) if isinstance(found, dict) else None
