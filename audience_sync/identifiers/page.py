"""The published page of all forms, written from forms.json so that it cannot drift."""

from __future__ import annotations

import json

from audience_sync.identifiers.forms import FORMS, Form, Vector

_LONGEST_SHOWN = 60  # characters of an input

_INTRODUCTION = """\
# Identifier forms

<!-- Written by `python -m audience_sync.identifiers > docs/identifiers.md`; a test compares. -->

A form says how an identifier is written before it is hashed. A connector names the form that its
partner matches by; every form is hashed once, with SHA-256 over UTF-8, without salt. A changed rule
gets a new version, and the version is stored with the membership, so that the old hash is removed
and the new one added. The vectors below are written at every start, the way customers are; one
difference stops the program before anything is sent.

"None" means that the value is never sent: not hashed, not replaced by the hash of an empty text.

## What surprises

- **E-mails** give the same hash as `google-ads-datamanager-util` for every value that it accepts,
  except: zero-width characters, direction marks and the byte-order mark around a value are stripped
  (it keeps them); a value with a NUL or of more than 320 bytes is none (it hashes them). What it
  refuses is none. `email/plain` is what Meta documents; `facebook_business` also hashes values that
  are no addresses.
- **Lower case** is Unicode's full lower case, as Python's `str.lower`: `İ` becomes `i` and a
  combining dot, `ẞ` becomes `ß`, a final capital sigma `ς`. Letters that Unicode got after version
  14 may have a lower case here that an older Python lacks.
- **Phones** agree with libphonenumber (`phonenumbers`): `parse` with the customer's country, then
  `is_valid_number`, then E.164. *Valid*, not merely *possible*: a number of the right length in a
  range that nobody was given is a typing error, and would only be an unmatched hash. White space of
  any script counts as a space (libphonenumber refuses some); `UK` and `EL` are read as `GB` and
  `GR`. A country that is missing or unknown gives way to `default_country`.
- **Device IDs** need their hyphens: without them a UUID cannot be told from an MD5 hash.
- **Hashes in a raw column** are none, value by value; when more than 3 % of a column look hashed
  (SHA-256 in hex or base64, or MD5), the run stops. An external id of 32 hex digits is allowed: it
  may be a UUID without hyphens.
- **A column declared as hashed** (`source.hashed`) may hold SHA-256 in hex of either case or in
  padded base64; more than 3 % of anything else stops the run. Hashes of nothing ("", "null", a
  space, the all-zero device …) are none. A hash cannot be converted from one form to another.
"""


def page() -> str:
    """The page in Markdown, ending with a line break."""
    return _INTRODUCTION + "".join(_section(form) for form in FORMS.values())


def _section(form: Form) -> str:
    result = "SHA-256" if form.hashed else "raw, 16 bytes"
    rows = "".join(_row(form, vector) for vector in form.vectors)
    return (
        f"\n## {form.versioned}\n\n{form.rule}\n\nWritten as: {result}.\n\n"
        "| input | country | text | SHA-256 | source |\n|---|---|---|---|---|\n" + rows
    )


def _row(form: Form, vector: Vector) -> str:
    shown = json.dumps(vector.value)  # ASCII, so that invisible characters are seen
    if len(shown) > _LONGEST_SHOWN:
        shown = f"{shown[:20]}…{shown[-20:]}"
    text = "none" if vector.text is None else _code(vector.text)
    digest = _code(vector.sha256) if vector.sha256 else "none" if form.hashed else "not hashed"
    cells = [_code(shown), vector.country or "", text, digest, vector.source]
    return f"| {' | '.join(cells)} |\n"


def _code(text: str) -> str:
    return f"`{text.replace('|', chr(92) + '|')}`"
