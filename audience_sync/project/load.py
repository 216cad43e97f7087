"""`audience-sync.yaml` → `Project`: every section is read, then held against the others.

All that is wrong is told at once, each with file, line, key and remedy.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple, TypeVar
from zoneinfo import ZoneInfo

from pydantic import BaseModel, TypeAdapter, ValidationError

from audience_sync.connector import Connector
from audience_sync.project.canaries import CANARIES, CanarySection, check_canaries
from audience_sync.project.crosschecks import check_hashed, check_policy, check_readable
from audience_sync.project.document import Findings, Place, read_document
from audience_sync.project.model import (
    Audience,
    Destination,
    DestinationUse,
    OrderReports,
    Project,
)
from audience_sync.project.orders import check_orders, window_of
from audience_sync.project.privacy import Approval, RecordsSection, Retention
from audience_sync.project.references import References, secret_places
from audience_sync.project.sections import (
    OWN_ORIGINS,
    AudienceSection,
    Guards,
    OrdersSection,
    Policy,
    ProjectFile,
    ProjectHead,
)
from audience_sync.project.source import Decisions, Source
from audience_sync.project.uses import adopted_once, destination_uses, sendable_forms
from audience_sync.project.values import is_name
from audience_sync.project.webhooks import (
    WEBHOOKS,
    Webhooks,
    check_senders,
    check_webhooks,
)
from audience_sync.project.withdrawals import (
    DestinationPolicy,
    WithdrawalsSection,
    check_deletes,
)
from audience_sync.project.wording import connector_meant, nearest, report

Installed = Mapping[str, type[Connector[Any]]]
M = TypeVar("M", bound=BaseModel)

_READ = ("source", "decisions", "orders", "policy")  # sections that only reading proves right
_NAME_RULE = (
    "a name has small letters, digits and hyphens, begins with a letter or digit, at most 64"
)


def load_project(
    path: Path,
    connectors: Installed,
    environ: Mapping[str, str] = os.environ,
    why: Callable[[str], str | None] = lambda _: None,
) -> Project:
    """Read a project file; one ConfigurationError tells all that is wrong in it.

    `connectors` are the installed ones by name, and `why` tells what is wrong with one that is
    installed and left out; `${VARIABLES}` are looked up in `environ`.
    """
    path = path.absolute()
    tree, findings = read_document(path)
    project = _Loader(tree, findings, References(findings, environ), connectors, why).project()
    findings.raise_if_any()
    assert project is not None  # noqa: S101 - no finding means that every section was read
    return project


class _Defaults(NamedTuple):
    """What an audience has when it says nothing else."""

    guards: Guards
    timezone: ZoneInfo


@dataclass(frozen=True)
class _Loader:
    tree: Mapping[str, Any]
    findings: Findings
    references: References
    connectors: Installed
    why: Callable[[str], str | None]

    def project(self) -> Project | None:
        self._unknown_keys()
        head = self._head()
        timezone = ZoneInfo("UTC") if head is None else head.timezone
        source = self._readable("source", Source)
        has_log = self.tree.get("decisions") is not None
        decisions = self._readable("decisions", Decisions) if has_log else None
        guards = self._optional("guards", Guards) or Guards()
        policy = self._policy(source)
        destinations = self._destinations()
        audiences = self._audiences(source, _Defaults(guards, timezone), destinations)
        orders = self._orders(_Defaults(guards, timezone), destinations, audiences)
        canaries = self._canaries(source)
        webhooks, webhooks_lack = self._webhooks()
        privacy = self._privacy()
        withdrawals = self._optional("withdrawals", WithdrawalsSection) or WithdrawalsSection()
        if head is None or source is None:
            return None
        return Project(
            path=self.findings.path,
            name=head.project,
            controller=head.controller,
            purpose=head.purpose,
            timezone=timezone,
            source=source,
            decisions=decisions,
            policy=policy,
            guards=guards,
            destinations=destinations,
            audiences=audiences,
            orders=orders,
            canaries=canaries,
            webhooks=webhooks,
            webhooks_lack=webhooks_lack,
            **privacy,
            withdrawals=withdrawals,
            report_threshold=head.report_threshold,
            lines={
                ".".join(map(str, place)): line
                for place, line in self.findings.lines.items()
                if len(place) > 1 and (place[0] in _READ or place[-1] == "where")
            },
        )

    def _privacy(self) -> dict[str, Any]:
        sections = {"approval": Approval, "retention": Retention, "records": RecordsSection}
        return {name: self._optional(name, model) or model() for name, model in sections.items()}

    def _unknown_keys(self) -> None:
        known = ProjectFile.model_fields.keys()
        for key in self.tree.keys() - known:
            self.findings.add((key,), f"unknown key; {nearest(key, known)}")

    def _head(self) -> ProjectHead | None:
        written = {key: self.tree[key] for key in ProjectHead.model_fields if key in self.tree}
        return self._validated(ProjectHead, self.references.fill(written, ()), ())

    def _validated(self, model: type[M], value: object, place: Place) -> M | None:
        try:
            return TypeAdapter(model).validate_python(value)
        except ValidationError as error:
            report(error, model, place, self.findings)
            return None

    def _optional(self, key: str, model: type[M]) -> M | None:
        value = self.tree.get(key)
        if value is None:
            return None
        return self._validated(model, self.references.fill(value, (key,)), (key,))

    def _readable(self, key: str, model: type[M]) -> M | None:
        """`source` or `decisions`: its URL may hold a password, by reference only."""
        written = self.tree.get(key)
        if not isinstance(written, dict):
            self.findings.add((key,), f"write {key}: with url: and columns: below it")
            return None
        values = dict(written)
        url = values.pop("url", None)
        filled = self.references.fill(values, (key,))
        if isinstance(url, str):
            url = self.references.url(url, (key, "url"))
        if url is not None:
            filled["url"] = url
        found = self._validated(model, filled, (key,))
        if isinstance(found, Source | Decisions | OrdersSection):
            check_readable(found, (key,), self.findings)
        if isinstance(found, Source):
            check_hashed(found, self.findings)
        return found

    def _orders(
        self,
        defaults: _Defaults,
        destinations: Mapping[str, Destination],
        audiences: Mapping[str, Audience],
    ) -> OrderReports | None:
        if self.tree.get("orders") is None:
            return None
        section = self._readable("orders", OrdersSection)
        if section is None:
            return None
        check_orders(section, destinations, audiences, self.connectors, self.findings)
        return OrderReports(
            lines=section,
            destinations=section.destinations,
            window=window_of(section.window),
            schedule=section.schedule,
            timezone=section.timezone or defaults.timezone,
            guards=defaults.guards.overridden_by(section.guards),
        )

    def _canaries(self, source: Source | None) -> dict[str, CanarySection]:
        found = {}
        for name, entry in self._named(CANARIES).items():
            place: Place = (CANARIES, name)
            canary = self._validated(CanarySection, self.references.fill(entry, place), place)
            if canary is not None:
                found[name] = canary
        if source is not None:
            check_canaries(found, source.columns.kinds, self.findings)
        return found

    def _webhooks(self) -> tuple[Webhooks | None, str]:
        """The section, and what is wrong with its secrets: only who serves it needs them."""
        written = self.tree.get(WEBHOOKS)
        if written is None:
            return None, ""
        place: Place = (WEBHOOKS,)
        secrets = frozenset((WEBHOOKS, *steps) for steps in secret_places(Webhooks, written))
        lack = self.findings.aside()
        filled = replace(self.references, absent=lack).fill(written, place, secrets)
        found = self._validated(Webhooks, filled, place)
        if found is not None:
            check_webhooks(found, self.connectors, self.findings)
            check_senders(found, lack)
        return found, lack.told()

    def _policy(self, source: Source | None) -> Policy:
        policy = self._optional("policy", Policy) or Policy()
        if source is None:
            return policy
        check_policy(policy, source, self.findings)
        if policy.origins is None and source.columns.origin is not None:
            return policy.model_copy(update={"origins": OWN_ORIGINS})
        return policy

    def _named(self, key: str) -> dict[str, Any]:
        """The entries of `destinations`, `audiences` or `canaries`."""
        entries = self.tree.get(key)
        if entries is None:
            return {}
        if not isinstance(entries, dict):
            self.findings.add((key,), "write a name of your own for each, and its keys below it")
            return {}
        for name in entries:
            if not is_name(name):
                self.findings.add((key, name), _NAME_RULE)
        return entries

    def _destinations(self) -> dict[str, Destination]:
        read = {
            name: self._destination(name, entry)
            for name, entry in self._named("destinations").items()
        }
        return {name: destination for name, destination in read.items() if destination is not None}

    def _destination(self, name: str, entry: object) -> Destination | None:
        place: Place = ("destinations", name)
        chosen = entry.get("connector") if isinstance(entry, dict) else None
        connector = self.connectors.get(str(chosen))
        if not isinstance(entry, dict) or connector is None:
            remedy = "write connector: and its name; "
            reason = self.why(str(chosen))
            if reason is not None:
                self.findings.add((*place, "connector"), f"{chosen} is left out: {reason}")
                return None
            if chosen is not None:
                remedy = f"not installed; {connector_meant(str(chosen), self.connectors)}"
            installed = ", ".join(sorted(self.connectors)) or "none"
            self.findings.add((*place, "connector"), f"{remedy}installed are {installed}")
            return None
        model = connector.settings_class
        ours = DestinationPolicy.model_fields.keys() - model.model_fields.keys()
        own = {key: value for key, value in entry.items() if key in ours}
        written = {key: value for key, value in entry.items() if key not in {"connector", *ours}}
        secrets = frozenset((*place, *steps) for steps in secret_places(model, written))
        settings = self._validated(model, self.references.fill(written, place, secrets), place)
        policy = self._validated(DestinationPolicy, self.references.fill(own, place), place)
        if settings is None or policy is None:
            return None
        check_deletes(policy, connector, place, self.findings)
        return Destination(
            name=name,
            connector=str(chosen),
            settings=settings,
            forms=sendable_forms(connector, settings),
            on_refused_removal=policy.on_refused_removal,
        )

    def _audiences(
        self, source: Source | None, defaults: _Defaults, destinations: Mapping[str, Destination]
    ) -> dict[str, Audience]:
        audiences: dict[str, Audience] = {}
        for name, entry in self._named("audiences").items():
            place: Place = ("audiences", name)
            section = self._validated(AudienceSection, self.references.fill(entry, place), place)
            if section is None:
                continue
            self._check_defined(section, place)
            if source is not None:
                reached = {
                    use: (destinations[use], self.connectors[destinations[use].connector])
                    for use in section.destinations
                    if use in destinations
                }
                uses = destination_uses(section, place, source, reached, self.findings)
                audiences[name] = _audience(name, section, uses, defaults)
        adopted_once(audiences, self.findings)
        return audiences

    def _check_defined(self, section: AudienceSection, place: Place) -> None:
        entries = self.tree.get("destinations")
        defined = entries.keys() if isinstance(entries, dict) else frozenset()
        for name in section.destinations.keys() - defined:
            self.findings.add(
                (*place, "destinations"),
                f"{name} is not defined under destinations; {nearest(name, defined)}",
            )


def _audience(
    name: str, section: AudienceSection, uses: Mapping[str, DestinationUse], defaults: _Defaults
) -> Audience:
    return Audience(
        name=name,
        title=section.title or name,
        where=section.where,
        identifiers=section.identifiers,
        destinations=uses,
        schedule=section.schedule,
        timezone=section.timezone or defaults.timezone,
        holdout=section.holdout or 0.0,
        expires_after=section.expires_after,
        guards=defaults.guards.overridden_by(section.guards),
        acknowledged=section.acknowledged,
    )
