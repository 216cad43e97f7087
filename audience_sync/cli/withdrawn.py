"""The answer of `withdraw`, in sentences."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from audience_sync.cli.taken_away import tell_taken_away
from audience_sync.cli.written import number, tell

if TYPE_CHECKING:
    from audience_sync.app import App
    from audience_sync.runs.lane import Worked
    from audience_sync.runs.withdrawal_requests import Received

_ELSEWHERE = (  # who has a phone or a device is known from lists that hold it
    "A list that holds this person by other identifiers lets go at once where any list shows that "
    "they are the same, else with the next sync; give the --customer-id, too, and it does at once."
)
_GIVEN = (  # who has another address afterwards is known by the id alone
    "It is what was given that is blocked, not the customer: whose address changes in the source "
    "is added by the new one; give the --customer-id, too, and they are not."
)
_COUNTED = "rows are counted without the header"


def tell_answer(
    app: App,
    received: Received,
    progress: Mapping[str, Any],
    worked: Worked,
    partner: str | None,
    *,
    partly: bool,
    by_id: bool = True,
) -> None:
    """Who withdraws, what was reached, and what is left; `partly` where it may leave some lists.

    Not `by_id` are those of whom identifiers alone are given, which may change.
    """
    count, one = app.discretion.count, received.people == 1
    told = number(count(received.people))
    people = "1 person withdraws" if told == "1" else f"{told} people withdraw"
    lines = [f"Recorded {', '.join(received.withdrawals)}: {people}."]
    if received.unusable:
        lines.append(_unread(number(count(received.unusable)), received))
    if received.timeless:
        lines.append(_timeless(number(count(received.timeless)), received))
    if received.unplaced:
        lines.append(_unplaced(number(count(received.unplaced)), received))
    if progress["missing"]:
        lines.append(_missing(number(count(progress["missing"])), one=one))
    lines += _waits(progress, partner) or [_reached(progress, received, partner, by_id=by_id)]
    lines += _left(app, received, progress, worked)
    lines += [_ELSEWHERE] if partly else [] if by_id else [_GIVEN]
    tell(lines)
    tell_taken_away(progress["taken_away"])


def unacknowledged(progress: Mapping[str, Any]) -> int:
    """How many destinations have not acknowledged yet."""
    states = progress["destinations"]
    return sum(states.get(state, 0) for state in ("queued", "sent"))


def _left(
    app: App, received: Received, progress: Mapping[str, Any], worked: Worked
) -> Iterator[str]:
    """What stands in the way, and what to do."""
    if unacknowledged(progress):
        where = {} if progress["unresolved"] else _destinations(app, received)
        for reason in dict.fromkeys([*worked.reasons, *where]):
            told = f"{', '.join(sorted(where[reason]))}: " if reason in where else ""
            yield f"  {told}{reason[:1].upper()}{reason[1:]}"
        again = "it is tried again; `audience-sync withdrawals --deliver` does so now."
        yield f"Mend that: {again}" if progress["unresolved"] else again.capitalize()


def _destinations(app: App, received: Received) -> dict[str, list[str]]:
    """Which have not acknowledged, by why."""
    mine = {app.ledger.withdrawal(one).sequence for one in received.withdrawals}
    found: dict[str, list[str]] = {}
    for row in app.ledger.withdrawal_deliveries(sequences=mine):
        if row.reason and row.acknowledged_at is None:
            found.setdefault(row.reason, []).append(row.destination)
    return found


def _waits(progress: Mapping[str, Any], partner: str | None) -> list[str]:
    """What a withdrawal by customer id waits for, where the source cannot be read to its end."""
    if not progress["unresolved"]:
        return []
    there = f"at {partner}" if partner else "anywhere"
    waits = (
        "It waits until the customers can be read, since only they tell whom a customer id means; "
        f"until then nobody is added {there}."
    )
    asked = progress["asked"]
    if asked:
        were = "1 destination was" if asked == 1 else f"{asked} destinations were"
        waits += f" {were} asked at once to take off those whom the rows that can be read show."
    return [waits]


def _unread(count: str, received: Received) -> str:
    """Which rows somebody should mend."""
    no = "no identifier that can be read"
    if received.uneven == received.unusable:
        no = "not one field for each column"
    elif received.uneven:
        no += ", or not one field for each column,"
    found = f"{_rows(count, received.unusable_rows, received.unusable)} {no}"
    was, it = ("was", "it") if received.unusable == 1 else ("were", "them")
    whole = " See whether the file is whole: one that ends too early may lack more rows."
    told = f"{found} and {was} left out: mend {it} and withdraw {it} again ({_COUNTED})."
    return told + whole if received.uneven else told


def _timeless(count: str, received: Received) -> str:
    """Which rows count as decided now, since they say no time that can be read."""
    named = _rows(count, received.timeless_rows, received.timeless)
    counts = "it counts" if received.timeless == 1 else "they count"
    return f"{named} a decided_at that cannot be read: {counts} as decided now ({_COUNTED})."


def _unplaced(count: str, received: Received) -> str:
    """Which rows withdraw a phone that was not read, whatever else they say."""
    named = _rows(count, received.unplaced_rows, received.unplaced)
    one = received.unplaced == 1
    number_is, it = ("its phone number was", "it") if one else ("their phone numbers were", "them")
    return (
        f"{named} a country that nobody knows, so that {number_is} left out: write a code such as "
        f"SE and withdraw {it} again ({_COUNTED})."
    )


def _rows(count: str, rows: Sequence[int], of: int) -> str:
    """The rows by their numbers, or the first of so many, as what holds something."""
    named = [str(row) for row in rows]
    if of == 1:
        return f"Row {named[0]} holds"
    if len(named) == of:
        return f"Rows {', '.join(named[:-1])} and {named[-1]} hold"
    return f"{count} rows, such as {', '.join(named)}, hold"


def _reached(
    progress: Mapping[str, Any], received: Received, partner: str | None, *, by_id: bool
) -> str:
    them = "this person" if received.people == 1 else "any of them"
    there = f" at {partner}" if partner else ""
    whose = "" if by_id else " by what was given"
    blocked = f"every future addition{there}{whose} is blocked"
    if received.earlier:
        blocked += ", except of those whose grant in the source is later than their decided_at"
    held, left = progress["held"], unacknowledged(progress)
    if not held:
        return f"Nothing had to be removed, since no list{there} holds {them}; {blocked}."
    where = f"destinations that {'may hold' if left else 'held'} {them}"
    return f"Acknowledged at {held - left} of {held} {where}; {blocked}."


def _missing(count: str, *, one: bool) -> str:
    if one:
        return "Note that the source has no customer with this id, so that only the id is refused."
    ids = "1 customer id is" if count == "1" else f"{count} customer ids are"
    return f"{ids} not in the source, so that only the ids themselves are refused."
