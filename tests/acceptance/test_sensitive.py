"""`check` and `plan` warn where an audience's words tell too much of its people."""

from __future__ import annotations

from collections.abc import Callable

from shop import Shop, people


def _pregnant(text: str) -> str:
    return text.replace("  swedes: {", '  swedes: {title: "Gravida svenskar", ', 1)


def test_a_telling_title_is_warned_about_and_may_be_acknowledged(
    open_shop: Callable[..., Shop],
) -> None:
    """Nothing fails for it; once somebody has written why, nothing is said."""
    shop = open_shop(people(12), destinations="[meta-se]", change=_pregnant)
    told = shop.must("check")
    assert "`gravida` in its title may reveal health" in " ".join(told.out.split())
    [found] = [f for f in shop.must("check", "--json").json["findings"] if f.get("warning")]
    assert found["ok"]
    assert "Warning: swedes: `gravida`" in shop.must("plan", "swedes").out
    assert shop.must("plan", "swedes", "--json").json["warnings"]
    assert "Warning" not in shop.must("plan", "everyone").out
    shop.write(
        destinations="[meta-se]",
        change=lambda text: _pregnant(text).replace(
            "  swedes: {", "  swedes: {acknowledged: {health: name of a brand}, ", 1
        ),
    )
    assert "gravida" not in shop.must("check").out
    assert "Warning" not in shop.must("plan", "swedes").out
