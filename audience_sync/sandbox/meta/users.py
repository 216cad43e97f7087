"""Uploads: members added, removed, removed from everywhere, and lists replaced."""

from __future__ import annotations

from typing import Any

from audience_sync.sandbox.meta import params as reading
from audience_sync.sandbox.meta import rows, sessions
from audience_sync.sandbox.meta.audiences import (
    FLAGGED,
    NORMAL,
    NOTHING_UPLOADED,
    REPLACE_FAILED,
    Audience,
    Audiences,
)
from audience_sync.sandbox.meta.errors import (
    CLOSED,
    FAILED,
    NO_FIRST,
    TOO_LARGE,
    UPDATING,
    MetaError,
    invalid,
    replacing,
)
from audience_sync.sandbox.meta.rows import Accepted
from audience_sync.sandbox.meta.sessions import SESSION_LIFE, Session, Sessions, Step
from audience_sync.sandbox.world import Call, Reply, World

DAY = 86_400  # seconds
OWN_IDS = 90  # days that Meta remembers an external id
LARGEST_REPLACEABLE = 100_000_000  # members


class Uploads:
    """What `/users`, `/usersreplace` and `/usersofanyaudience` do."""

    def __init__(self, world: World, audiences: Audiences) -> None:
        self._world = world
        self._audiences = audiences
        self.sessions = Sessions()

    def change(
        self, operation: str, audience: Audience, call: Call, params: dict[str, Any], fault: Any
    ) -> Reply:
        """Add members to an audience, or remove them."""
        self.settle(audience)
        if audience.trouble == FLAGGED:
            raise MetaError(100, "Invalid parameter", subcode=1713230, title=_BLOCKED)
        if self._audiences.is_busy(audience):
            raise replacing(UPDATING, "The audience is being updated.")
        schema, accepted = self._read(audience, params, fault)
        step = sessions.read(reading.member(params, "session"))
        session = self._enter(audience, operation, schema, step, call)
        if operation == "add":
            audience.members.add(accepted.columns, accepted.rows, self._world.clock.now())
            audience.changed = self._world.clock.now()
        else:
            audience.members.remove(accepted.columns, accepted.rows)
        if session is not None and step is not None:
            self._count(session, step, call, accepted)
        return _reply(audience, session, accepted)

    def remove_everywhere(self, account: str, params: dict[str, Any], fault: Any) -> Reply:
        """Remove people from every audience of an ad account."""
        payload = reading.member(params, "payload")
        if payload is None:
            raise invalid("Missing parameter(s): payload")
        _, accepted = rows.read(payload, fault)
        for audience in self._audiences.of(account):
            self.settle(audience)
            audience.members.remove(accepted.columns, accepted.rows)
        content = _counts(accepted.received, accepted.refused, accepted.samples)
        return Reply(content={"account_id": account, **content}, rows=accepted.received)

    def replace(self, audience: Audience, call: Call, params: dict[str, Any], fault: Any) -> Reply:
        """One batch of a replacement of the whole audience."""
        self.settle(audience)
        step = sessions.read(reading.member(params, "session"))
        if step is None:
            raise invalid("Missing parameter(s): session")
        schema, accepted = self._read(audience, params, fault)
        if set(schema) - rows.REPLACEABLE:
            raise invalid("The schema has columns that a replacement does not take.")
        self._may_replace(audience, step)
        session = self._enter(audience, "replace", schema, step, call)
        if session is None:
            raise invalid("Missing parameter(s): session")
        audience.replaced_by = step.session
        audience.replacement.append(accepted)
        self._count(session, step, call, accepted)
        if step.last and not self._finish(audience, fault):
            raise replacing(FAILED, "The replacement failed: no usable row arrived.")
        reply = _reply(audience, session, accepted)
        reply.content["account_id"] = reply.content.pop("audience_id")
        return reply

    def settle(self, audience: Audience) -> None:
        """End what is over: memberships, own ids, and a replacement after its 90 minutes."""
        audience.members.forget("external_id", self._world.clock.now() - OWN_IDS * DAY)
        days = audience.definition.get("retention_days")
        if days is not None:
            audience.members.expire(self._world.clock.now() - days * DAY)
        if audience.replaced_by is None:
            return
        session = self.sessions.find(audience.account, audience.replaced_by)
        if session is not None and self._world.clock.now() >= session.started + SESSION_LIFE:
            self._finish(audience)

    def _may_replace(self, audience: Audience, step: Step) -> None:
        known = self.sessions.find(audience.account, step.session)
        now = self._world.clock.now()
        if audience.replaced_by not in (None, step.session) or now < audience.busy_until:
            raise replacing(UPDATING, "The audience is being updated.")
        if known is None:
            if step.batch != 1:
                raise replacing(NO_FIRST, "No batch with batch_seq 1 has arrived.")
            usable = (NORMAL, NOTHING_UPLOADED, REPLACE_FAILED)
            if self._audiences.status(audience) not in usable:
                raise replacing(UPDATING, "The audience is being updated.")
            if audience.members.people() >= LARGEST_REPLACEABLE:
                raise replacing(TOO_LARGE, "The audience is too large to be replaced.")
        elif known.finished is None and step.batch == 1:
            raise replacing(UPDATING, "The audience is being updated.")
        elif known.finished is not None and known.finished >= known.started + SESSION_LIFE:
            raise replacing(CLOSED, "The 90-minute window of this session has passed.")
        elif known.finished is not None:
            known.batches.clear()  # a replacement takes no late repetition

    def _finish(self, audience: Audience, fault: Any = None) -> bool:
        """Put what has arrived in place of what was there; False when nothing usable arrived.

        A fault makes it take its time, or fail after all.
        """
        now = self._world.clock.now()
        batches, audience.replacement = audience.replacement, []
        session = self.sessions.find(audience.account, audience.replaced_by or 0)
        if session is not None:
            session.finished = now
        audience.replaced_by = None
        if not any(accepted.rows for accepted in batches):
            audience.trouble = REPLACE_FAILED
            return False
        if fault is not None and fault.kind == "slow-processing":
            audience.busy_until = now + fault.seconds
        if fault is not None and fault.kind == "final-failure":
            audience.trouble = REPLACE_FAILED
            return True
        audience.members.remove_added_before(now + 1)
        for accepted in batches:
            audience.members.add(accepted.columns, accepted.rows, now)
        audience.changed, audience.trouble = now, None
        return True

    def _read(
        self, audience: Audience, params: dict[str, Any], fault: Any
    ) -> tuple[tuple[str, ...], Accepted]:
        payload = reading.member(params, "payload")
        if payload is None:
            raise invalid("Missing parameter(s): payload")
        schema, accepted = rows.read(payload, fault)
        valued = "LOOKALIKE_VALUE" in schema
        if audience.value_based and not valued:
            raise invalid("Value-Based Custom Audience requires LOOKALIKE_VALUE attribute.")
        if valued and not audience.value_based:
            raise invalid("LOOKALIKE_VALUE belongs to a value-based audience.")
        return schema, accepted

    def _enter(
        self,
        audience: Audience,
        operation: str,
        schema: tuple[str, ...],
        step: Step | None,
        call: Call,
    ) -> Session | None:
        if step is None:
            return None
        now = self._world.clock.now()
        wanted = Session(step.session, audience.id, operation, schema, now)
        return self.sessions.enter(audience.account, wanted, step, call.body_sha256)

    def _count(self, session: Session, step: Step, call: Call, accepted: Accepted) -> None:
        Sessions.count(session, step, call.body_sha256, accepted.received, accepted.refused)
        if step.last and session.finished is None:
            session.finished = self._world.clock.now()


_BLOCKED = "Audience Upload Blocked"


def _counts(received: int, refused: int, samples: list[str]) -> dict[str, Any]:
    named = {str(at): value for at, value in enumerate(samples)}
    return {
        "num_received": received,
        "num_invalid_entries": refused,
        "invalid_entry_samples": named,
    }


def _reply(audience: Audience, session: Session | None, accepted: Accepted) -> Reply:
    received, refused, name = accepted.received, accepted.refused, "0"
    if session is not None:
        received, refused, name = session.received, session.refused, str(session.id)
    return Reply(
        content={
            "audience_id": audience.id,
            "session_id": name,
            **_counts(received, refused, accepted.samples),
        },
        account=audience.account,
        list_id=audience.id,
        rows=accepted.received,
    )
