"""The project opened for one command: logging, progress bars, and what a first run must say."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from audience_sync import journal
from audience_sync.cli import ending
from audience_sync.cli.loading import loading
from audience_sync.cli.progress import Bars
from audience_sync.errors import ConfigurationError, SourceError

if TYPE_CHECKING:
    from audience_sync.app import App


@contextmanager
def opened(*, watched: bool = False, debug: bool = False) -> Iterator[App]:
    """The project that the settings name. `watched` lets `working` show bars on a terminal."""
    watching = watched and sys.stdout.isatty() and sys.stderr.isatty()
    with loading():
        from audience_sync.app import App  # noqa: PLC0415 - keeps --help light

        project = App.open(progress=Bars() if watching else None)
    with project as app:
        ending.BEGUN.set()
        settings = app.settings
        journal.set_up(settings.log_format, settings.log_level, debug=debug)
        try:
            yield app
        except (ConfigurationError, SourceError) as error:
            raise type(error)(app.project.located(str(error))) from None
        except KeyboardInterrupt:
            _interrupted(app)
            raise
        finally:
            _tell_of_new_keys(app)


def _tell_of_new_keys(app: App) -> None:
    made = vars(app).get("keyring_and_fingerprint_key", (None, None, False))[2]
    folder = app.settings.state_folder
    if made and folder is not None:
        from audience_sync.keys import KEY_FILE  # noqa: PLC0415 - only on a first run

        ending.say(
            f"made state keys in {folder / KEY_FILE}\n"
            "back them up: the state cannot be read without them"
        )
    if vars(app).get("signer_and_made", (None, False))[1] and folder is not None:
        from audience_sync.keys import SIGNING_FILE  # noqa: PLC0415 - only on a first run

        ending.say(
            f"made the key that signs the transfer log in {folder / SIGNING_FILE}; back it up, too"
        )


def _interrupted(app: App) -> None:
    """Name the deliveries that were under way in this process."""
    from audience_sync.holder import this_process  # noqa: PLC0415 - only at such an end
    from audience_sync.ledger.records.runs import RunState  # noqa: PLC0415 - the same

    if "ledger" not in vars(app):
        ending.say("interrupted; nothing was sent")
        return
    others = {lease.name for lease in app.ledger.leases_held("") if lease.holder != this_process()}
    under_way = [
        run.id
        for run in app.ledger.runs(states=[RunState.DELIVERING])
        if run.lease_name not in others
    ]
    if not under_way:
        ending.say("interrupted; no delivery is left to go on with")
    for run in under_way:
        ending.say(f"interrupted; `audience-sync resume {run}` goes on")
