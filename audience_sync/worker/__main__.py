"""The process that `audience-sync worker` becomes."""

from __future__ import annotations

import gc
import sys

from audience_sync.crashing import leave_no_core
from audience_sync.errors import AudienceSyncError

_OBJECTS = 100_000  # as the command line does: modules are no rubbish, here or in what is forked

if __name__ == "__main__":
    leave_no_core()
    gc.set_threshold(_OBJECTS)
    from audience_sync.worker.command import run_worker

    try:
        sys.exit(run_worker(sys.argv[1:]))
    except AudienceSyncError as error:
        sys.exit(str(error))
