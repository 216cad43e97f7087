"""Names and conditions that reveal special categories or minors are found in five languages."""

from __future__ import annotations

import json
from importlib.resources import files
from typing import get_args

import pytest
from test_project_privacy import load

from audience_sync.project.privacy import Category
from audience_sync.project.sensitive import hints, told_by

LISTED = json.loads(files("audience_sync.project").joinpath("sensitive.json").read_text("utf-8"))


@pytest.mark.parametrize(
    ("text", "category"),
    [
        ("diabetes-type-2", "health"),
        ("Schwangere Kundinnen", "health"),
        ("gravida kunder", "health"),
        ("kreftpasienter", "health"),
        ("kræft og sundhed", "health"),
        ("product_group = 'insulinPumps'", "health"),
        ("Ramadan offers", "religion"),
        ("muslimska hushåll", "religion"),
        ("Kirchenmitglieder", "religion"),
        ("innvandrere i Oslo", "ethnicity"),
        ("segment = 'refugees'", "ethnicity"),
        ("Sverigedemokrater", "politics"),
        ("SPD-Wähler", "politics"),
        ("hbtq-personer", "sexuality"),
        ("gay_couples", "sexuality"),
        ("Gewerkschaftsmitglieder", "union"),
        ("fackförbund medlemmar", "union"),
        ("trade union members", "union"),
        ("kids-toys", "minors"),
        ("Jugendliche", "minors"),
        ("tonåringar", "minors"),
        ("børnetøj", "minors"),
        ("age < 18", "minors"),
        ("customer_age <= 17 OR x", "minors"),
        ("under 18s", "minors"),
        ("vorbestrafte", "crime"),
    ],
)
def test_words_that_reveal_are_found(text: str, category: str) -> None:
    """Whatever their ending, with capitals, hyphens, underscores or humps between them."""
    assert category in dict(told_by(text)), text


@pytest.mark.parametrize(
    "text",
    [
        "lapsed-vip",
        "VIP customers who have not bought for 180 days",
        "market = 'SE' AND lifetime_value > 5000 AND last_purchase_at < '2026-05-01'",
        "Winterjacken Stammkunden",
        "kunder som handlat senaste 30 dagarna",
        "cart-abandoners",
        "age >= 18",
        "age < 65",
        "newsletter-readers",
        "everyone",
        "swedes",
    ],
)
def test_ordinary_audiences_are_left_alone(text: str) -> None:
    """A warning about everything would be read by nobody."""
    assert list(told_by(text)) == []


def test_every_category_has_a_reason_and_all_five_languages() -> None:
    """And the project file may acknowledge just these."""
    assert set(LISTED) == set(get_args(Category))
    for listed in LISTED.values():
        assert set(listed["words"]) == {"en", "de", "sv", "da", "no"}
        assert all(listed["words"].values())
        assert "GDPR" in listed["reason"]


def test_every_word_of_the_list_is_found_by_itself() -> None:
    """None is written so that it never matches."""
    for category, listed in LISTED.items():
        for words in listed["words"].values():
            for word in words:
                assert category in dict(told_by(word.replace("*", "").replace("-", " "))), word


def test_a_hint_says_where_and_why_and_can_be_acknowledged(tmp_path) -> None:  # noqa: ANN001 - pytest's own
    """Only the category that is acknowledged falls silent."""
    titled = ', title: "Kids with asthma"'
    [first, second] = hints(load(tmp_path, audience=titled))
    assert {first.category, second.category} == {"health", "minors"}
    assert "`asthma` in its title may reveal health (Art. 9 GDPR" in str(first)
    project = load(tmp_path, audience=f"{titled}, acknowledged: {{health: a toy brand}}")
    assert [hint.category for hint in hints(project)] == ["minors"]
    assert hints(project, "another") == []
