"""The project's words turned into what planning works with: selections and targets."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from audience_sync.addresses import is_here
from audience_sync.connector import Connector
from audience_sync.customers import description
from audience_sync.errors import ConfigurationError
from audience_sync.identifiers.kinds import Kind
from audience_sync.ledger.records.runs import RemoteList
from audience_sync.membership.guard import GuardLimits
from audience_sync.membership.held import Manifest
from audience_sync.project import Audience, Guards, Project
from audience_sync.runs.canaries import Canary
from audience_sync.runs.targets import Selection, Target

_ANY_TIME = datetime(2026, 1, 1, tzinfo=UTC)  # so that a month has the same length in every turn


def selection_of(project: Project, connectors: Collection[str] = ()) -> Selection:
    """Which customers the project reads, and how it judges them.

    `connectors` names all that are installed: a decision may be limited to any of them.
    """
    base = project.path.parent
    source, policy = project.source, project.policy
    decisions = project.decisions
    return Selection(
        source=description.SourceDescription(
            url=source.url.get_secret_value(),
            columns=source.columns.mapped,
            base=base,
            query=source.query,
            table=source.table,
        ),
        rules=description.PolicyRules(
            consent_max_age=policy.consent_max_age,
            keep_after_last_activity=policy.keep_after_last_activity,
            minimum_age=policy.minimum_age,
            origins=policy.origins,
            default_country=policy.default_country,
        ),
        decisions=None
        if decisions is None
        else description.DecisionsDescription(
            url=decisions.url.get_secret_value(),
            base=base,
            columns=decisions.columns.mapped,
            query=decisions.query,
            table=decisions.table,
        ),
        hashed={Kind(kind): form for kind, form in source.hashed.items()},
        partners=frozenset(connectors)
        | {destination.connector for destination in project.destinations.values()},
    )


def targets_of(
    project: Project,
    connectors: Mapping[str, type[Connector[Any]]],
    audiences: Sequence[str],
    destination: str | None,
    now: datetime,
    retired: Sequence[Target] = (),
    *,
    alone: bool = True,
) -> list[Target]:
    """The lists that a command names: all of the project's, retired ones too, when it names none.

    An audience that is gone may be named as long as a list of it is left. No list at all is an
    error, unless the command is not `alone` about lists.
    """
    _check_named(project, audiences, destination, {target.audience for target in retired})
    targets = [
        _target(project, connectors, project.audiences[name], used, now)
        for name in dict.fromkeys(audiences or project.audiences)
        if name in project.audiences
        for used in project.audiences[name].destinations
        if destination in (None, used)
    ]
    targets += [
        target
        for target in retired
        if (not audiences or target.audience in audiences)
        and destination in (None, target.destination)
    ]
    if not targets and alone:
        raise ConfigurationError(
            "nothing to do: no audience named goes there"
            if destination is not None
            else f"{project.path.name} has no audiences; add one under `audiences:`"
        )
    return targets


def _check_named(
    project: Project, audiences: Sequence[str], destination: str | None, left: Collection[str]
) -> None:
    """Refuse a name that the project does not know; audiences that are gone may be `left`."""
    for name in audiences:
        if name not in project.audiences and name not in left:
            raise ConfigurationError(
                f"no audience {name} in {project.path.name}; there are "
                f"{', '.join(project.audiences) or 'none'}"
            )
    if destination is not None and destination not in project.destinations:
        raise ConfigurationError(
            f"no destination {destination} in {project.path.name}; there are "
            f"{', '.join(project.destinations) or 'none'}"
        )


def retired_of(
    project: Project,
    connectors: Mapping[str, type[Connector[Any]]],
    lists: Sequence[RemoteList],
) -> list[Target]:
    """The lists that hold members, but that the project no longer names: all are to leave.

    Those at a destination that is gone too cannot be reached. A person approves each.
    """
    return [
        _retired(project, connectors, remote)
        for remote in lists
        if remote.remote_id is not None
        and (remote.members or Manifest.of(remote.manifest).files)
        and remote.destination in project.destinations
        and not _names(project, remote.audience, remote.destination)
    ]


def _names(project: Project, audience: str, destination: str) -> bool:
    found = project.audiences.get(audience)
    return found is not None and destination in found.destinations


def _retired(
    project: Project, connectors: Mapping[str, type[Connector[Any]]], remote: RemoteList
) -> Target:
    partner = project.destinations[remote.destination].connector
    settings = project.destinations[remote.destination].settings
    gone = remote.audience not in project.audiences
    where = "is no longer in the project" if gone else f"no longer names {remote.destination}"
    return Target(
        audience=remote.audience,
        destination=remote.destination,
        partner=partner,
        where=None,
        forms={},
        batch_size=connectors[partner].limits_of(settings).members_per_request,
        most_identifiers=1,
        guards=GuardLimits(always=f"the audience {where}, so its list would be emptied"),
        retired=True,
    )


def _target(
    project: Project,
    connectors: Mapping[str, type[Connector[Any]]],
    audience: Audience,
    destination: str,
    now: datetime,
) -> Target:
    partner = project.destinations[destination].connector
    settings = project.destinations[destination].settings
    connector = connectors[partner]
    refresh = connector.refresh_after(project.destinations[destination].settings)
    forms = audience.destinations[destination].forms
    limits = connector.limits_of(settings)
    expires = audience.expires_after
    return Target(
        audience=audience.name,
        destination=destination,
        partner=partner,
        where=audience.where,
        forms=forms,
        batch_size=limits.members_per_request,
        most_identifiers=max(limits.identifiers_per_member, len(forms)),
        guards=_guards(
            audience.guards,
            connector.minimum_of(settings),
            simulated=is_here(settings.base_url),
        ),
        holdout=audience.holdout,
        expired_before=None if expires is None else expires.before(now),
        refreshed_before=None if refresh is None else now - refresh,
        canaries=_canaries(project),
        canaries_at=now,
    )


def _canaries(project: Project) -> tuple[Canary, ...]:
    return tuple(
        Canary(
            name=name,
            values=dict(written.values),
            country=written.country or project.policy.default_country,
            stays=written.stays.after(_ANY_TIME) - _ANY_TIME,
        )
        for name, written in project.canaries.items()
    )


def least_of(
    project: Project,
    connectors: Mapping[str, type[Connector[Any]]],
    audience: str,
    destination: str,
) -> int:
    """The smallest audience that a destination's partner takes, which nobody can overrule.

    A partner that is simulated on this machine has none: nobody receives anything there.
    """
    found = project.destinations.get(destination)
    if found is None or audience not in project.audiences or is_here(found.settings.base_url):
        return 0
    return connectors[found.connector].minimum_of(found.settings)


def _guards(guards: Guards, minimum: int, *, simulated: bool) -> GuardLimits:
    wanted = guards.minimum_members
    if wanted is None:
        wanted = None if simulated or not minimum else minimum
    return GuardLimits(
        minimum_members=None if wanted is None else max(wanted, minimum),
        maximum_removals=guards.maximum_removals,
        maximum_growth=guards.maximum_growth,
        maximum_source_drop=guards.maximum_source_drop,
        maximum_unusable=guards.maximum_unusable,
        maximum_consent_drop=guards.maximum_consent_drop,
    )
