"""`python -m audience_sync` is `audience-sync`."""

from __future__ import annotations

from audience_sync.cli import main

main()
