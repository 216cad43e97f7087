"""What a project needs to know of forms: their names, and whether they are hashed.

The forms are imported when first asked for, so that reading a project stays quick.
"""

from __future__ import annotations

from audience_sync.identifiers.kinds import Kind


def form_names(kind: Kind) -> list[str]:
    """The names of the forms in which a kind can be written."""
    from audience_sync.identifiers.forms import FORMS  # noqa: PLC0415 - see the module

    return [name for name, form in FORMS.items() if form.takes(kind)]


def is_hashed_form(name: str) -> bool:
    """Whether values of this form travel as SHA-256; a form that we do not know does not."""
    from audience_sync.identifiers.forms import FORMS  # noqa: PLC0415 - see the module

    return name in FORMS and FORMS[name].hashed
