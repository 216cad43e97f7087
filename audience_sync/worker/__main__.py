"""The process that `audience-sync worker` becomes."""

from __future__ import annotations

import sys

from audience_sync.crashing import leave_no_core
from audience_sync.errors import AudienceSyncError
from audience_sync.worker.command import run_worker

if __name__ == "__main__":
    leave_no_core()
    try:
        sys.exit(run_worker(sys.argv[1:]))
    except AudienceSyncError as error:
        sys.exit(str(error))
