"""Everything that is kept, what it holds, and until when; docs/retention.md is written from here.

A table or a folder that is not named here has no limit, which a test does not let pass.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Limit:
    """A table (or a file or folder of the state), what it holds, and when it goes.

    `setting` is the key under `retention:` that says how long; None where something else does.
    """

    name: str
    holds: str
    until: str
    setting: str | None = None


TABLES = (
    Limit(
        name="transfer_log",
        holds="what was sent to whom, when, and what came back: counts, never people",
        until="so long after the run of a line has ended; a signed checkpoint stands in for it",
        setting="transfer_log",
    ),
    Limit(
        name="checkpoints",
        holds="signatures over lines of the transfer log",
        until="until all their lines are purged and a newer one stands in for these",
        setting="transfer_log",
    ),
    Limit(
        name="transfer_log_head",
        holds="one row: how long the log is and its last hash",
        until="as long as the ledger; it holds nothing of anybody",
    ),
    Limit(
        name="runs",
        holds="funnels and deltas (counts), states, who planned and approved",
        until="so long after they ended; of each list the newest and the last delivered one stay",
        setting="runs",
    ),
    Limit(
        name="batches",
        holds="counts and answers of each upload",
        until="with their run; positions of rejected members until the run ends",
        setting="runs",
    ),
    Limit(
        name="remote_lists",
        holds="a list's id and marker at its partner, sizes, names of membership files",
        until="so long after the list was emptied and the project dropped it",
        setting="lists",
    ),
    Limit(
        name="leases",
        holds="which process works on what",
        until="so long after nobody held them any more",
        setting="jobs",
    ),
    Limit(
        name="jobs",
        holds="work that many workers share: names, numbers, times",
        until="so long after they ended",
        setting="jobs",
    ),
    Limit(name="pieces", holds="parts of jobs", until="until their job ends", setting="jobs"),
    Limit(
        name="schedules",
        holds="which due time of an audience was served",
        until="so long after the project dropped the audience",
        setting="schedules",
    ),
    Limit(
        name="reported_lines",
        holds="keyed fingerprints of order lines, quantities, amounts",
        until="`orders.window`, after which an order is no longer corrected",
    ),
    Limit(
        name="fingerprints",
        holds="keyed fingerprints of members that a partner rejected",
        until="so long after the rejection, 30 days at most",
        setting="fingerprints",
    ),
    Limit(
        name="traces",
        holds="keyed fingerprints of who was taken off a list, when and by which run",
        until="so long after they were taken off",
        setting="traces",
    ),
    Limit(
        name="intake_marks",
        holds="keyed marks of requests that came in, so that none counts twice",
        until="a time of days that each carries itself",
    ),
    Limit(
        name="intake_receipts",
        holds="what a request was answered: counts and ids",
        until="a time of days that each carries itself",
    ),
    Limit(
        name="intake_counts",
        holds="how many requests of each sort came in on a day",
        until="so long after that day",
        setting="runs",
    ),
    Limit(
        name="withdrawals",
        holds="when how many people withdrew and by which way; their file's name",
        until="so long after every destination confirmed them",
        setting="withdrawals",
    ),
    Limit(
        name="withdrawal_deliveries",
        holds="how far a withdrawal is at each destination, with times",
        until="with their withdrawal",
        setting="withdrawals",
    ),
    Limit(
        name="withdrawal_removals",
        holds="up to which withdrawal a list was told, and what its partner has not answered",
        until="so long after the last removal from a list that the project dropped",
        setting="withdrawals",
    ),
    Limit(
        name="withdrawal_keys",
        holds="keyed fingerprints of idempotency keys",
        until="so long after they came in",
        setting="withdrawals",
    ),
    Limit(
        name="withdrawal_watch",
        holds="up to when the consent log was watched",
        until="as long as the ledger; it holds nothing of anybody",
    ),
)

FILES = (
    Limit(
        name="lists/",
        holds="memberships: hashes by identity, encrypted",
        until="until a newer membership takes their place or the list is emptied",
    ),
    Limit(
        name="outbox/",
        holds="what a run is about to send: hashes, encrypted",
        until="until the run ends; of one that nobody approves or finishes, so long",
        setting="outboxes",
    ),
    Limit(
        name="scratch/",
        holds="what a plan works on: hashes, encrypted",
        until="until the plan ends; what a dead process left, until the next sweep",
    ),
    Limit(
        name="withdrawals/",
        holds="identifiers of people who withdrew: hashes, encrypted",
        until="with their withdrawal",
        setting="withdrawals",
    ),
    Limit(
        name="credentials/",
        holds="tokens that partners change by themselves, encrypted",
        until="until the project drops the destination and no list there holds anybody",
    ),
    Limit(
        name="keys/",
        holds="marks that tell which fingerprint key this state began with",
        until="as long as the state; nothing of anybody can be read from them",
    ),
    Limit(
        name="order-key/",
        holds="a mark that tells by which fingerprint key reported orders are known",
        until="as long as the state; nothing of anybody can be read from it",
    ),
    Limit(
        name="state-keys/",
        holds="marks that tell which state keys there were",
        until="as long as the state; nothing of anybody can be read from them",
    ),
    Limit(
        name="ledger.sqlite",
        holds="the tables above, where the ledger is a SQLite file (with -wal and -shm)",
        until="each table as above",
    ),
    Limit(
        name="state.key",
        holds="the keys of this state, where they do not come from outside",
        until="until you destroy it, and all encrypted files with it",
    ),
    Limit(
        name="signing.key",
        holds="the key that signs the transfer log, where it does not come from outside",
        until="until you change it",
    ),
)


def page_tables() -> str:
    """Both tables in Markdown, for the documentation."""
    return "\n\n".join(
        f"## {title}\n\n| {first} | holds | kept | setting |\n| --- | --- | --- | --- |\n"
        + "\n".join(map(_row, limits))
        for title, first, limits in (("Tables", "table", TABLES), ("Files", "place", FILES))
    )


def _row(limit: Limit) -> str:
    setting = f"`retention.{limit.setting}`" if limit.setting else "-"
    return f"| `{limit.name}` | {limit.holds} | {limit.until} | {setting} |"
