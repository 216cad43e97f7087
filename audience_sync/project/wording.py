"""What pydantic found, in sentences that say what to write; never the value itself."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from typing import Any, get_args

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from audience_sync.project.document import Findings, Place, Step

_REQUIRED: Mapping[Place, str] = {
    ("source", "columns", "consent"): "no customer is shared without a decision: consent must be "
    "mapped; write `consent: their_column`",
    ("source", "columns", "customer_id"): "consent belongs to a customer: the customer's key must "
    "be mapped; write `customer_id: their_column`",
}
_EXPECTED = {
    "string_type": "should be text; put it in quotes",
    "string_too_short": "is empty; write a text or leave the key out",
    "int_type": "should be a whole number",
    "int_parsing": "should be a whole number",
    "int_from_float": "should be a whole number",
    "float_type": "should be a number",
    "float_parsing": "should be a number",
    "bool_type": "should be true or false",
    "bool_parsing": "should be true or false",
    "list_type": "should be a list such as [one, two]",
    "tuple_type": "should be a list such as [one, two]",
    "dict_type": "should hold `key: value` lines",
    "mapping_type": "should hold `key: value` lines",
    "model_type": "should hold `key: value` lines",
    "model_attributes_type": "should hold `key: value` lines",
    "literal_error": "should be {expected}",
    "enum": "should be {expected}",
    "greater_than_equal": "should be at least {ge}",
    "less_than_equal": "should be at most {le}",
}
_BOUNDED = frozenset({"literal_error", "enum", "greater_than_equal", "less_than_equal"})

_PARTNER_OF = {  # what people call what a connector reaches
    "facebook": "meta",
    "instagram": "meta",
    "facebookads": "meta",
    "metaads": "meta",
    "googleads": "google",
    "adwords": "google",
    "youtube": "google",
    "dv360": "google",
    "twitter": "x",
    "snap": "snapchat",
    "https": "webhook",
}


def nearest(word: str, known: Iterable[str]) -> str:
    """What to write instead of an unknown word: the most similar known one, else the list."""
    names = sorted(known)
    close = get_close_matches(word, names, n=1, cutoff=0.6)
    if close:
        return f"did you mean {close[0]}?"
    return f"known are {', '.join(names)}" if names else "there is none yet"


def connector_meant(word: str, known: Iterable[str]) -> str:
    """Which connector to write instead of one that there is not; words alike mean no partner."""
    names = sorted(known)
    partner = _PARTNER_OF.get(re.sub(r"[^a-z0-9]", "", word.lower()))
    close = [partner] if partner in names else get_close_matches(word.lower(), names, 1, 0.75)
    return f"did you mean {close[0]}? " if close else ""


def report(
    error: ValidationError, model: type[BaseModel] | None, place: Place, findings: Findings
) -> None:
    """Turn every pydantic error about the section at `place` into a finding."""
    for detail in error.errors(include_url=False, include_context=True, include_input=False):
        steps = _written(detail["loc"], place, findings)
        findings.add((*place, *steps), _sentence(detail, model, (*place, *steps), steps))


def _written(loc: tuple[Step, ...], place: Place, findings: Findings) -> Place:
    """The steps of pydantic's location that exist in the file, and the last, which may be missing.

    Pydantic also counts branches of a union and markers such as `[key]`.
    """
    steps: Place = ()
    for at, step in enumerate(loc):
        last_missing = at == len(loc) - 1 and isinstance(step, str) and step.isidentifier()
        if (*place, *steps, step) in findings.lines or last_missing:
            steps = (*steps, step)
    return steps


def _sentence(
    detail: ErrorDetails, model: type[BaseModel] | None, place: Place, steps: Place
) -> str:
    kind, context = detail["type"], detail.get("ctx", {})
    if kind == "missing":
        return _REQUIRED.get(place, "is missing") + _meaning(model, place, steps)
    if kind == "extra_forbidden":
        known = _fields(_model_at(model, steps[:-1]))
        return f"unknown key; {nearest(str(steps[-1]), known)}"
    if kind in ("value_error", "assertion_error"):
        return str(context.get("error", "this value is not accepted"))
    example = _example(model, steps) if kind == "string_pattern_mismatch" else None
    if example is not None:
        return f"should be written like {example}"
    sentence = _EXPECTED.get(kind, detail["msg"][:1].lower() + detail["msg"][1:])
    return sentence.format_map(context) if kind in _BOUNDED else sentence


def _meaning(model: type[BaseModel] | None, place: Place, steps: Place) -> str:
    if place in _REQUIRED:
        return ""
    right = getattr(_field(model, steps), "description", None) or _example(model, steps)
    return f"; write {steps[-1]}: {right}" if right else "; write it"


def _example(model: type[BaseModel] | None, steps: Place) -> str | None:
    """How a setting is written, where its model shows one."""
    examples = getattr(_field(model, steps), "examples", None)
    return f'"{examples[0]}"' if examples else None


def _field(model: type[BaseModel] | None, steps: Place) -> Any:
    return _fields(_model_at(model, steps[:-1])).get(str(steps[-1])) if steps else None


def _fields(model: type[BaseModel] | None) -> Mapping[str, Any]:
    return {} if model is None else model.model_fields


def _model_at(model: type[BaseModel] | None, steps: Place) -> type[BaseModel] | None:
    for step in steps:
        field = _fields(model).get(str(step))
        model = None if field is None else _model_in(field.annotation)
    return model


def _model_in(annotation: object) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next(filter(None, map(_model_in, get_args(annotation))), None)
