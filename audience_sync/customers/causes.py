"""What is wrong with a file that a library could not read, in words of our own."""

from __future__ import annotations

from audience_sync.customers.rows import Text, find_lone_return, find_open_quote

_LONGER = "more fields"
_OPEN_QUOTE = "as dtype `str`"
_NOT_UTF8 = "it holds text that is not UTF-8; save it as UTF-8"
_CAUSES = {
    "utf-8": _NOT_UTF8,
    "utf8": _NOT_UTF8,
    _LONGER: "a row has more fields than the header",
    "empty csv": "it is empty, without even a header",
    "end of file": "it ends too early",
    "ended before": "it ends too early",
    "par1": "it is not a whole Parquet file",
    "permission denied": "it may not be read by this user",
}


def cause_of(error: Exception, csv: Text | None) -> str | None:
    """The cause where we know it, never with a value; a `csv` is looked at once more for it."""
    told = str(error).lower()
    if csv is not None and _OPEN_QUOTE in told:
        return find_open_quote(csv)
    if csv is not None and _LONGER in told and (found := find_lone_return(csv)):
        return found
    return next((why for sign, why in _CAUSES.items() if sign in told), None)
