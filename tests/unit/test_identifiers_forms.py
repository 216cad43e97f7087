"""Forms: named, versioned, proved at start-up, published."""

from __future__ import annotations

import dataclasses
import hashlib
from contextlib import nullcontext
from pathlib import Path

import pytest

from audience_sync.errors import ConfigurationError, StateError
from audience_sync.identifiers import forms
from audience_sync.identifiers.forms import FAMILIES, FORMS, IDENTITY_FORMS, form, form_for
from audience_sync.identifiers.kinds import Kind
from audience_sync.identifiers.page import page
from audience_sync.identifiers.selftest import self_test

PAGE = Path(__file__).parents[2] / "docs" / "identifiers.md"


@pytest.mark.parametrize("name", FORMS)
def test_vectors_are_what_hashlib_says(name: str) -> None:
    """Every published SHA-256 is the hash of the published text."""
    for vector in FORMS[name].vectors:
        if vector.text is None or not FORMS[name].hashed:
            assert vector.sha256 is None
        else:
            assert hashlib.sha256(vector.text.encode()).hexdigest() == vector.sha256


@pytest.mark.parametrize("name", FORMS)
def test_every_form_shows_what_it_keeps_and_what_it_drops(name: str) -> None:
    """Each form has vectors of both sorts."""
    texts = [vector.text for vector in FORMS[name].vectors]

    assert None in texts
    assert set(texts) != {None}


def test_l14_self_test_passes() -> None:
    """All published vectors are written as published."""
    self_test()


@pytest.mark.parametrize("name", FORMS)
def test_l14_a_changed_rule_is_noticed(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A form that writes one vector otherwise stops the program, naming form and vector."""
    broken = FORMS[name]
    last = dataclasses.replace(broken.vectors[-1], sha256="ab" * 32, text="ab" * 16)
    changed = dataclasses.replace(broken, vectors=(*broken.vectors[:-1], last))
    monkeypatch.setattr(forms, "FORMS", {**FORMS, name: changed})

    with pytest.raises(StateError, match=f"{name}@1 .*vector {len(broken.vectors)} "):
        self_test()


@pytest.mark.parametrize(
    ("broken", "names", "noticed"),
    [
        ("phone/digits", ["phone/e164", "email/plain"], False),
        ("phone/digits", ["phone/digits"], True),
        ("email/plain", ["phone/e164", "email/plain"], True),
    ],
)
def test_l14_a_start_tests_the_forms_in_use(
    broken: str, names: list[str], noticed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A form that nothing is written in stops nobody; one that is in use does."""
    *others, last = FORMS[broken].vectors
    bent = dataclasses.replace(last, sha256="ab" * 32, text="ab" * 16)
    changed = dataclasses.replace(FORMS[broken], vectors=(*others, bent))
    monkeypatch.setattr(forms, "FORMS", {**FORMS, broken: changed})

    with pytest.raises(StateError, match=broken) if noticed else nullcontext():
        self_test(names)


def test_an_unknown_form_is_named_with_the_known_ones() -> None:
    """The error says what would be right."""
    with pytest.raises(ConfigurationError, match=r"'email/upper'.*email/plain.*phone/e164"):
        form("email/upper")


def test_a_form_of_another_kind_is_refused() -> None:
    """An e-mail cannot be written as a phone."""
    with pytest.raises(ConfigurationError, match=r"email cannot be written as phone/e164"):
        form_for(Kind.EMAIL, "phone/e164")


def test_versioned_names_the_version() -> None:
    """What a membership stores tells the rule that made it."""
    assert forms.versioned("email/plain") == "email/plain@1"


def test_identity_forms_fit_their_kinds_and_are_hashed() -> None:
    """Every kind recognises a person by a hash of its own family."""
    assert set(IDENTITY_FORMS) == set(Kind) == set(FAMILIES)
    for kind, name in IDENTITY_FORMS.items():
        assert form_for(kind, name).hashed


def test_widths() -> None:
    """A raw device ID has 16 bytes, everything else 32."""
    assert {f.name: f.width for f in FORMS.values() if f.width != 32} == {"device/raw": 16}


def test_the_page_is_the_one_that_is_committed() -> None:
    """docs/identifiers.md equals what `python -m audience_sync.identifiers` prints."""
    assert page() == PAGE.read_text(encoding="utf-8")
