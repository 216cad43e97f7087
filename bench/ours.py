"""Starts our own command; `bench/sync.py` measures this process."""
from audience_sync.app import App

with App.open() as app:
    for o in app.sync():
        print(o.run and (o.run.state, dict(o.run.delta), o.run.reason, o.run.funnel), o.error)
        if o.error or o.run.state.value not in ("confirmed", "delivered"):
            raise SystemExit(1)
