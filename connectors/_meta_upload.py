"""Uploads to Meta: members put on, taken off, taken off everywhere, and lists replaced."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from audience_sync.connector import (
    Kind,
    Members,
    Receipt,
    RefusedError,
    Rejection,
    Upload,
)
from connectors._meta_graph import Graph, numeric
from connectors._meta_replace import may_replace, pending
from connectors._meta_wire import (
    COLUMNS,
    ROWS,
    Schema,
    Session,
    body_of,
    invalid_in,
    sessions_for,
)
from connectors._meta_words import (
    OVER,
    TOO_LARGE,
    TOO_MANY_PARAMETERS,
    TOO_MANY_TO_REPLACE,
)

DEVICES = (Kind.GAID, Kind.IDFA)  # one column at Meta, named after the first
SPARE_SESSIONS = 8  # tried in place of one that Meta says is over

_Counts = tuple[dict[str, Any], Session | None]  # Meta's counts, and over which session they run


@dataclass(frozen=True, slots=True, repr=False)
class Uploads:
    """Changes audiences through a destination's client, and reads what became of it."""

    graph: Graph

    def add(self, upload: Upload, members: Members) -> Receipt:
        """Put members on an audience; on a lost one, in place of whoever is there."""
        path, schema = f"{numeric(upload.remote_id)}/users", self._schema(upload)

        def send(batch: Members, session: Session) -> dict[str, Any]:
            return self.graph.send("POST", path, body_of(batch, schema, session))

        own_ids = self.graph.settings.send_external_id
        kinds = [kind for kind in COLUMNS if own_ids or kind is not Kind.EXTERNAL_ID]
        columns = members.merged(*DEVICES).only(*kinds)
        if upload.afresh and may_replace(self.graph, upload, columns):
            receipt = self._replace(upload, columns, len(members), send)
            if receipt is not None:
                return receipt
        return self._change(columns, len(members), self._in_sessions(upload, send), upload)

    def remove(self, upload: Upload, members: Members) -> Receipt:
        """Take identifiers off an audience."""
        path = f"{numeric(upload.remote_id)}/users"

        def send(batch: Members, session: Session) -> dict[str, Any]:
            return self.graph.delete(path, body_of(batch, Schema(), session))

        columns = members.merged(*DEVICES).only(*COLUMNS)
        return self._change(columns, len(members), self._in_sessions(upload, send), upload)

    def remove_everywhere(self, members: Members) -> Receipt:
        """Take people off every audience of the ad account, whoever keeps it."""
        path = f"{self.graph.settings.account}/usersofanyaudience"

        def send(batch: Members) -> _Counts:
            return self.graph.delete(path, body_of(batch, Schema(), None)), None

        columns = members.merged(*DEVICES).only(*COLUMNS)
        return self._change(columns, len(members), send, None)

    def _schema(self, upload: Upload) -> Schema:
        settings = self.graph.settings
        if upload.consent is None or not settings.limited_data_use:
            return Schema()
        if settings.limited_data_use_country is None:
            return Schema(limited=True)
        place = settings.limited_data_use_country, settings.limited_data_use_state or 0
        return Schema(limited=True, place=place)

    def _replace(
        self,
        upload: Upload,
        columns: Members,
        members: int,
        add: Callable[[Members, Session], dict[str, Any]],
    ) -> Receipt | None:
        """Replace whoever is on the list by the first request's members; None where it may not be.

        A replacement of one request is whole at once: it cannot end half way when 90 minutes have
        passed. What is over goes by an ordinary upload, which Meta takes once the list is normal.
        """
        path = f"{numeric(upload.remote_id)}/usersreplace"
        first = True

        def send(batch: Members, session: Session) -> dict[str, Any]:
            nonlocal first
            if not first:
                return add(batch, session)
            alone = session._replace(sequence=1, last=True)
            found = self.graph.send("POST", path, body_of(batch, Schema(), alone))
            first = False
            return found

        try:
            found = self._change(columns, members, self._in_sessions(upload, send), upload)
        except RefusedError as error:
            if error.code != TOO_MANY_TO_REPLACE:
                raise
            return None
        return pending(upload, found)

    def _in_sessions(
        self, upload: Upload, send: Callable[[Members, Session], dict[str, Any]]
    ) -> Callable[[Members], _Counts]:
        """Send each part in a session.

        A session that is over when its batch is sent again gives way to the next, which is the
        same whenever this batch is sent.
        """
        sessions: Iterator[Session] = sessions_for(upload)

        def sent(batch: Members) -> _Counts:
            while True:
                session = next(sessions)
                try:
                    return send(batch, session), session
                except RefusedError as error:
                    if error.code not in OVER or session.spare == SPARE_SESSIONS:
                        raise

        return sent

    def _change(
        self,
        columns: Members,
        members: int,
        send: Callable[[Members], _Counts],
        upload: Upload | None,
    ) -> Receipt:
        """Send the members that have anything for Meta, in parts that a request can hold."""
        there = columns.has(*COLUMNS) if columns.kinds else np.zeros(members, np.bool_)
        rejected = [
            Rejection(position=at, reason="no_usable_identifier")
            for at in np.flatnonzero(~there).tolist()
        ]
        missed, waiting = 0, columns.parts(ROWS)
        while waiting:
            part = waiting.pop(0)
            batch = columns.take(part)
            try:
                found, session = send(batch)
            except RefusedError as error:
                too_much = error.status == TOO_LARGE or error.code == TOO_MANY_PARAMETERS
                if not too_much or len(part) == 1:
                    raise
                waiting[:0] = np.array_split(part, 2)
                continue
            named, unnamed = invalid_in(found, batch, session)
            rejected += [
                Rejection(position=at, reason="invalid_entry") for at in part[named].tolist()
            ]
            missed += unnamed
        missed = min(missed, members - len(rejected))
        return Receipt(
            accepted=members - len(rejected) - missed,
            rejected=tuple(rejected),
            unattributed=missed,
            reference=None if upload is None else f"session {upload.session}",
            reason="num_invalid_entries" if missed else None,
        )
