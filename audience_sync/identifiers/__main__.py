"""Print the page of all forms: `python -m audience_sync.identifiers > docs/identifiers.md`."""

from __future__ import annotations

import sys

from audience_sync.identifiers.page import page

sys.stdout.buffer.write(page().encode())
