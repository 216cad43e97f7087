"""Local servers that behave like the partners' APIs, with faults at will.

Nothing of the pipeline is imported here, so that the simulation shares no mistake with it.
"""

from __future__ import annotations

from audience_sync.sandbox.credentials import demo_refresh_token, demo_service_account
from audience_sync.sandbox.options import GOOGLE_TOKEN, META_TOKEN, SandboxOptions
from audience_sync.sandbox.server import RunningSandbox, build_app, run, running_sandbox

__all__ = [
    "GOOGLE_TOKEN",
    "META_TOKEN",
    "RunningSandbox",
    "SandboxOptions",
    "build_app",
    "demo_refresh_token",
    "demo_service_account",
    "run",
    "running_sandbox",
]
