"""What a command or a schedule is about: lists by name, those that have ended, and orders."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from audience_sync.app.parts import Parts
from audience_sync.errors import ConfigurationError
from audience_sync.project import ORDERS

if TYPE_CHECKING:
    from audience_sync.runs.outcome import Outcome
    from audience_sync.runs.targets import Target


@dataclass(frozen=True)
class Aims:
    """Names turned into targets; a ConfigurationError names what there is instead."""

    parts: Parts

    def lists(
        self, audiences: Sequence[str], destination: str | None, *, alone: bool = True
    ) -> list[Target]:
        """The lists that a command names, and those that the project named before."""
        return self._targets(audiences, destination, alone=alone)

    def apart(self, targets: Sequence[Target]) -> tuple[list[Target], list[Outcome]]:
        """The lists that may be planned, and those whose destination names another account.

        Such a destination stops none of the others.
        """
        from audience_sync.runs.outcome import Outcome  # noqa: PLC0415 - keeps status light

        wrong: dict[str, ConfigurationError] = {}
        for name in dict.fromkeys(target.destination for target in targets):
            try:
                self.parts.links.account(name)
            except ConfigurationError as error:
                wrong[name] = error
        refused = [
            Outcome(
                audience=one.audience, destination=one.destination, error=wrong[one.destination]
            )
            for one in targets
            if one.destination in wrong
        ]
        return [one for one in targets if one.destination not in wrong], refused

    def looked_at(self) -> list[Target]:
        """Every list, to look at it in our own books: one that stands still hides no other."""
        return self._targets((), None, alone=False)

    def _targets(
        self, audiences: Sequence[str], destination: str | None, *, alone: bool
    ) -> list[Target]:
        from audience_sync.targeting import targets_of  # noqa: PLC0415 - keeps status light

        parts = self.parts
        project, now, retired = parts.project, parts.now(), parts.retired()
        known = parts.connectors
        return targets_of(project, known, audiences, destination, now, retired, alone=alone)

    def named(
        self, audiences: Sequence[str], destination: str | None
    ) -> tuple[list[Target], list[Target]]:
        """The lists that a command names, and the destinations that are told of orders."""
        project = self.parts.project
        if project.orders is None or (audiences and ORDERS not in audiences):
            return self.lists(audiences, destination), []
        from audience_sync.ordering import order_targets  # noqa: PLC0415 - the same

        reports = order_targets(project, self.parts.connectors, destination)
        others = [audience for audience in audiences if audience != ORDERS]
        if others or not audiences or not reports:
            return self.lists(others, destination, alone=not reports), reports
        return [], reports

    def ended(self, audiences: Sequence[str], destination: str | None) -> list[Target]:
        """The lists of audiences that are gone, which no schedule names: they come with others."""
        if not audiences:
            return []
        return [
            target
            for target in self.parts.retired()
            if target.audience not in {*audiences, *self.parts.project.audiences}
            and destination in (None, target.destination)
        ]
