"""What workers share at the moment: how far each job is, and what it waits for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from audience_sync.app import App
    from audience_sync.ledger.records.work import Job

_STAGES = {
    "read": "reading customers",
    "settle": "joining decisions",
    "cross": "carrying refusals across accounts",
    "compare": "comparing with what partners hold",
    "conclude": "writing what is to be sent",
    "remove": "removing",
    "first": "beginning the list",
    "add": "adding",
    "close": "closing the run",
}


def jobs_under_way(app: App) -> list[dict[str, Any]]:
    """The open jobs, oldest first: what each does, how far it is, and what it waits for."""
    return [_told(app, job) for job in app.ledger.jobs()]


def print_jobs(found: list[dict[str, Any]]) -> None:
    """A line a job, and one for what keeps it waiting."""
    from audience_sync.cli.written import tell  # noqa: PLC0415 - keeps --help light

    for job in found:
        done = f"{job['done']:,} of {job['pieces']:,} parts done"
        at_work = f"{_workers(job['at_work'])} at work"
        tell([f"\n{job['what']} ({job['job']}): {job['doing']}, {done}, {at_work}"])
        for wait in job["waits"]:
            until = f" until {wait['until']:%H:%M:%S} UTC" if wait["until"] else ""
            tell([f"  waits{until}: {wait['reason']}"])


def _told(app: App, job: Job) -> dict[str, Any]:
    pieces = app.ledger.pieces(job.id, job.stage)
    held = app.ledger.leases_held(f"piece {job.id}/")
    open_pieces = [piece for piece in pieces if not piece.done]
    waits = {(piece.note, piece.not_before) for piece in open_pieces if piece.note}
    if open_pieces and not held and not waits:
        waits = {("no worker is at it; start one with `audience-sync worker`", None)}
    return {
        "job": job.id,
        "kind": job.kind,
        "what": _what(app, job),
        "stage": job.stage,
        "doing": _STAGES.get(job.stage, job.stage),
        "pieces": len(pieces),
        "done": sum(piece.done for piece in pieces),
        "at_work": len(held),
        "since": job.created_at,
        "waits": [{"reason": note, "until": until} for note, until in sorted(waits, key=str)],
        **_sent(app, job),
    }


def _what(app: App, job: Job) -> str:
    if job.kind == "deliver":
        run = app.ledger.run(job.spec["run"])
        return f"The delivery of {run.audience} to {run.destination}"
    lists = len(job.spec["lists"])
    return f"The plan of {lists:,} list{'s' if lists != 1 else ''}"


def _sent(app: App, job: Job) -> dict[str, Any]:
    """Of a delivery how many members were answered, of how many."""
    if job.kind != "deliver":
        return {}
    from audience_sync.runs.sending import OPEN  # noqa: PLC0415 - keeps status light

    batches = app.ledger.batches(job.spec["run"])
    answered = sum(batch.members for batch in batches if batch.state not in OPEN)
    total = sum(batch.members for batch in batches)
    counts = {"members_answered": answered, "members": total}
    return {"run": job.spec["run"], **app.discretion.counts(counts, *counts)}


def _workers(number: int) -> str:
    return "nobody" if number == 0 else f"{number} worker{'s' if number > 1 else ''}"
