"""An app that is left leaves no connection open behind it."""

from __future__ import annotations

from contextlib import nullcontext
from typing import Any

from pipeline_world import MemoryPartner

from audience_sync.app import App
from audience_sync.delivery.exchange import Exchange
from audience_sync.runs.link import Link


def test_leaving_the_app_closes_every_destination() -> None:
    """Each link that was made is closed, used or not."""
    closed: list[str] = []
    nothing: Any = None
    with App(nothing, nothing, nothing) as app:
        for name in ("meta-se", "google-se"):
            app.links.made[name] = Link(
                destination=name,
                connector=MemoryPartner(),
                recording=lambda: nullcontext(Exchange()),
                project="test",
                purpose="advertising",
                close=lambda name=name: closed.append(name),  # type: ignore[misc]
            )
        assert closed == []
    assert closed == ["meta-se", "google-se"]
