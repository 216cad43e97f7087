"""What supervisors ask: whether this installation is sound, and whether all that it needs answers.

Looking upgrades nothing, makes no keys and sends nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import unquote
from uuid import uuid4

from audience_sync.checking import know_fingerprint_key
from audience_sync.delivery.redis_board import ask_broker
from audience_sync.errors import AudienceSyncError, ConfigurationError, StateError
from audience_sync.identifiers.selftest import self_test
from audience_sync.keys import FINGERPRINT_KEY, KEY_FILE
from audience_sync.ledger.ledger import Ledger
from audience_sync.ledger.schema import refuse_newer
from audience_sync.ledger.tables import REVISION
from audience_sync.membership.location import open_location
from audience_sync.plugins import Installed, installed_connectors
from audience_sync.project import load_project
from audience_sync.runs.sweep import last_sweep
from audience_sync.settings import Settings, environment

_SQLITE = "sqlite:///"
_PROBE = b"audience-sync was here"


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """One thing that was looked at: `error` is None when it is in order."""

    subject: str
    detail: str
    error: AudienceSyncError | None = None


def health(settings: Settings) -> list[Look]:
    """Whether this installation works by itself: project, connectors, keys, forms.

    No server is asked: starting this process anew would not mend those.
    """
    installed = installed_connectors()
    steps: list[tuple[str, Callable[[], str]]] = [
        ("connectors", lambda: _connectors(installed)),
        ("project", lambda: _project(settings, installed)),
        ("keys", lambda: _keys(settings)),
        ("forms", _forms),
    ]
    return list(_looked(steps))


def readiness(settings: Settings) -> list[Look]:
    """Whether all that a run needs answers: ledger and its schema, state, keys, broker."""
    steps: list[tuple[str, Callable[[], str]]] = [
        ("ledger", lambda: _ledger(settings)),
        ("clock", lambda: _clock(settings)),
        ("state", lambda: _state(settings)),
        ("keys", lambda: _matching_keys(settings)),
        ("broker", lambda: _broker(settings)),
        ("sweep", lambda: _sweep(settings)),
    ]
    return list(_looked(steps))


def _looked(steps: Iterable[tuple[str, Callable[[], str]]]) -> Iterator[Look]:
    for subject, step in steps:
        try:
            yield Look(subject=subject, detail=step())
        except AudienceSyncError as error:
            yield Look(subject=subject, detail=str(error), error=error)


def _connectors(installed: Installed) -> str:
    if installed.broken:
        name, reason = next(iter(installed.broken.items()))
        raise ConfigurationError(f"the connector {name} cannot be used: {reason}")
    return ", ".join(sorted(installed.connectors))


def _project(settings: Settings, installed: Installed) -> str:
    variables = environment(settings.project.parent)
    project = load_project(settings.project, installed.connectors, variables)
    return f"{(n := len(project.audiences))} audience{'s' * (n != 1)}"


def _forms() -> str:
    self_test()
    return "every form writes its vectors"


def _keys(settings: Settings) -> str:
    if _unmade(settings):
        return "made by the first run"
    return f"state key {settings.keys()[0].state.current}"


def _matching_keys(settings: Settings) -> str:
    if _unmade(settings):
        return "made by the first run"
    keys, _ = settings.keys()
    known = (keys.fingerprint, *keys.older)
    place, origin = open_location(settings.state_url), settings.keys_from(FINGERPRINT_KEY)
    know_fingerprint_key(place, known, keep=False, origin=origin)
    return f"state key {keys.state.current}, and the fingerprint key of this state"


def _unmade(settings: Settings) -> bool:
    folder = settings.state_folder
    outside = settings.state_keys is not None or settings.fingerprint_key is not None
    return not outside and folder is not None and not (folder / KEY_FILE).exists()


def _ledger(settings: Settings) -> str:
    url = settings.database_url.get_secret_value()
    if _no_file(url):
        return "made by the first run"
    found = Ledger.schema(url)
    refuse_newer(found)
    if found != REVISION and not url.startswith("sqlite"):
        Ledger.open(url).close()  # says what to do
    upgraded = "" if found == REVISION else f", upgraded to {REVISION} by the next command"
    return f"schema {found}{upgraded}"


def _clock(settings: Settings) -> str:
    url = settings.database_url.get_secret_value()
    return "this machine's" if _no_file(url) else Ledger.clock(url)


def _no_file(url: str) -> bool:
    return url.startswith(_SQLITE) and not Path(unquote(url.removeprefix(_SQLITE))).exists()


def _state(settings: Settings) -> str:
    """A small file can be written, read and deleted."""
    location = open_location(settings.state_url)
    name = f"ready-{uuid4().hex}"
    try:
        with location.create(name) as file:
            file.write(_PROBE)
        found = location.read(name, 0, len(_PROBE))
    finally:
        with suppress(AudienceSyncError):
            location.delete(name)
    if found != _PROBE:
        raise StateError("the state location does not give back what was written to it")
    return "can be written and read"


def _broker(settings: Settings) -> str:
    if settings.broker_url is None:
        return "none is set; everything runs in the process that is asked"
    ask_broker(settings.broker_url.get_secret_value())
    return "answers"


def _sweep(settings: Settings) -> str:
    """Told, not judged: whoever looks here may be the one whom the sweep waits for."""
    url = settings.database_url.get_secret_value()
    if settings.broker_url is None:
        return "not needed without a broker"
    if _no_file(url):
        return "nobody has swept yet"
    with Ledger.open(url) as ledger:
        last = last_sweep(ledger)
    if last is None:
        return "nobody swept lately; are a beat and a worker for the queue poll running?"
    minutes = round((datetime.now(UTC) - last).total_seconds() / 60)
    return f"{minutes} minute{'s' * (minutes != 1)} ago" if minutes > 0 else "just now"
