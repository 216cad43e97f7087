"""Replacing a list at Meta: when it may be, and what became of it; Meta says so later."""

from __future__ import annotations

from dataclasses import replace

from audience_sync.connector import (
    ConfigurationError,
    Kind,
    Members,
    Receipt,
    TemporaryPartnerError,
    Upload,
)
from connectors._meta_audiences import FIELDS, NORMAL, REPLACE_FAILED, REPLACING, operation_of
from connectors._meta_graph import Graph, numeric
from connectors._meta_wire import COLUMNS

POLL_AFTER = 300.0  # seconds; how long a replacement takes is not documented
_WORD = "replaced"


def may_replace(graph: Graph, upload: Upload, members: Members) -> bool:
    """Whether people whom we do not know are perhaps on a list of ours, and Meta would let us.

    A list that nothing was uploaded to has none. Meta names the columns that a replacement takes:
    neither external ids nor limited data use are among them.
    """
    settings = graph.settings
    plain = not settings.limited_data_use and not members.has(Kind.EXTERNAL_ID).any()
    if not (settings.replace_lost_lists and plain and members.has(*COLUMNS).any()):
        return False
    found = graph.get(numeric(upload.remote_id), fields=FIELDS)
    return operation_of(found) == NORMAL and found.get("approximate_count_upper_bound") != 0


def pending(upload: Upload, found: Receipt) -> Receipt:
    """The receipt of a replacement: what Meta counted, until it tells whether it was done."""
    reference = f"{_WORD} {upload.remote_id} {found.accepted}"
    return replace(found, reference=reference, pending=True, poll_after=POLL_AFTER)


def poll(graph: Graph, reference: str) -> Receipt:
    """Whether a replacement is done; nothing else is pending at Meta."""
    word, _, rest = reference.partition(" ")
    audience, _, counted = rest.partition(" ")
    if word != _WORD or not counted.isdigit():
        raise ConfigurationError("Meta answers at once; there is nothing to poll")
    members = int(counted)
    status = operation_of(graph.get(numeric(audience), fields="id,operation_status"))
    if status is None:
        raise TemporaryPartnerError("Meta did not tell the audience's state; try again")
    if status == REPLACE_FAILED:
        return Receipt(
            accepted=0,
            unattributed=members,
            reference=reference,
            reason="replacement failed",
            lost=True,
        )
    if status == REPLACING:
        return Receipt(accepted=members, reference=reference, pending=True, poll_after=POLL_AFTER)
    return Receipt(accepted=members, reference=reference)
