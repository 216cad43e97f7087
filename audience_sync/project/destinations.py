"""The section `destinations`: accounts at partners, each with the settings of its connector."""

from __future__ import annotations

from audience_sync.project.document import Place
from audience_sync.project.entries import Entries
from audience_sync.project.model import Destination
from audience_sync.project.references import secret_places
from audience_sync.project.uses import sendable_forms
from audience_sync.project.withdrawals import DestinationPolicy, check_deletes
from audience_sync.project.wording import connector_meant


def read_destinations(entries: Entries) -> dict[str, Destination]:
    """Each destination by its name; settings that its connector does not take are told."""
    read = {
        name: _destination(entries, name, entry)
        for name, entry in entries.named("destinations").items()
    }
    return {name: destination for name, destination in read.items() if destination is not None}


def _destination(entries: Entries, name: str, entry: object) -> Destination | None:
    place: Place = ("destinations", name)
    chosen = entry.get("connector") if isinstance(entry, dict) else None
    connector = entries.connectors.get(str(chosen))
    if not isinstance(entry, dict) or connector is None:
        entries.findings.add((*place, "connector"), _remedy(entries, chosen))
        return None
    model = connector.settings_class
    ours = DestinationPolicy.model_fields.keys() - model.model_fields.keys()
    own = {key: value for key, value in entry.items() if key in ours}
    written = {key: value for key, value in entry.items() if key not in {"connector", *ours}}
    secrets = frozenset((*place, *steps) for steps in secret_places(model, written))
    settings = entries.validated(model, entries.references.fill(written, place, secrets), place)
    policy = entries.validated(DestinationPolicy, entries.references.fill(own, place), place)
    if settings is None or policy is None:
        return None
    check_deletes(policy, connector, place, entries.findings)
    return Destination(
        name=name,
        connector=str(chosen),
        settings=settings,
        forms=sendable_forms(connector, settings),
        on_refused_removal=policy.on_refused_removal,
    )


def _remedy(entries: Entries, chosen: object) -> str:
    """What to do where a destination has no connector that is installed."""
    reason = entries.why(str(chosen))
    if reason is not None:
        return f"{chosen} is left out: {reason}"
    remedy = "write connector: and its name; "
    if chosen is not None:
        remedy = f"not installed; {connector_meant(str(chosen), entries.connectors)}"
    installed = ", ".join(sorted(entries.connectors)) or "none"
    return f"{remedy}installed are {installed}"
