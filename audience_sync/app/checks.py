"""`check`: a look at everything that a sync needs, which changes nothing at a partner."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from audience_sync.addresses import in_the_clear
from audience_sync.app.parts import Parts
from audience_sync.errors import AudienceSyncError, ConfigurationError
from audience_sync.keys import FINGERPRINT_KEY

if TYPE_CHECKING:
    from audience_sync.checking import Doubt

_Look = tuple[str, "Callable[[], str | Doubt]"]  # what is looked at, and what tells how it is


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One thing that `check` looked at: `error` is None when it is in order, or only `warns`."""

    subject: str
    detail: str
    error: AudienceSyncError | None = None
    warns: bool = False


@dataclass(frozen=True)
class Checks:
    """Looks at one thing after the other; what is wrong with one keeps from no other."""

    parts: Parts

    def findings(self, destination: str | None = None) -> list[Finding]:
        """What each look found; of one destination only, where one is named."""
        project = self.parts.project
        if destination is not None and destination not in project.destinations:
            raise ConfigurationError(
                f"no destination {destination} in {project.path.name}; there are "
                f"{', '.join(project.destinations)}"
            )
        chosen = [destination] if destination else list(project.destinations)
        found = [self._found(*look) for look in (*self._looks(), *self._looks_at(chosen))]
        hints = [Finding(subject="name", detail=hint, warns=True) for hint in self.warnings()]
        return found + hints

    def warnings(self, audience: str | None = None) -> list[str]:
        """What audiences' names, titles and conditions may reveal of the people in them."""
        from audience_sync.project.sensitive import hints  # noqa: PLC0415 - keeps status light

        return [str(hint) for hint in hints(self.parts.project, audience)]

    def _found(self, subject: str, look: Callable[[], str | Doubt]) -> Finding:
        located = self.parts.project.located
        try:
            found = look()
        except AudienceSyncError as error:
            return Finding(subject=subject, detail=located(str(error)), error=error)
        if isinstance(found, str):
            return Finding(subject=subject, detail=found)
        return Finding(subject=subject, detail=located(found.detail), warns=True)

    def _looks(self) -> Iterator[_Look]:
        project = self.parts.project
        yield "project", lambda: f"{(n := len(project.audiences))} audience{'s' * (n != 1)}"
        yield "connectors", self._connectors
        yield "forms", _forms
        yield "keys", self._keys
        yield "signing", self._signing
        yield "ledger", self._ledger
        yield "state", self._state
        yield "source", self._source
        yield "decisions", self._decisions
        if project.orders is not None:
            yield "orders", self._orders
        if project.webhooks is not None:
            yield "webhooks", self._webhooks

    def _looks_at(self, destinations: list[str]) -> Iterator[_Look]:
        for name in destinations:
            if in_the_clear(self.parts.project.destinations[name].settings.base_url):
                yield f"address {name}", _in_the_clear
            yield f"destination {name}", lambda name=name: self._destination(name)  # type: ignore[misc] # mypy infers no default of a lambda

    def _webhooks(self) -> str:
        if self.parts.project.webhooks_lack:
            raise ConfigurationError(self.parts.project.webhooks_lack)
        return "each sender has secrets of its own"

    def _connectors(self) -> str:
        installed = self.parts.installed
        broken = "; ".join(f"{name}: {why}" for name, why in installed.broken.items())
        works = f"{len(installed.connectors)} installed"
        return f"{works}; left out is {broken}" if broken else works

    def _keys(self) -> str:
        from audience_sync.checking import know_fingerprint_key  # noqa: PLC0415 - as above

        keyring = self.parts.keyring_and_fingerprint_key[0]
        origin = self.parts.settings.keys_from(FINGERPRINT_KEY)
        known = self.parts.fingerprint_keys
        know_fingerprint_key(self.parts.location, known, keep=False, origin=origin)
        return f"state key {keyring.current}"

    def _signing(self) -> str | Doubt:
        from audience_sync.checking import look_at_signatures  # noqa: PLC0415 - as above

        if self.parts.signer_and_made[0] is None:
            return "the transfer log is not signed: set AUDIENCE_SYNC_SIGNING_KEY"
        return look_at_signatures(self.parts.ledger, self.parts.signer)

    def _ledger(self) -> str | Doubt:
        from audience_sync.checking import look_at_ledger  # noqa: PLC0415 - as above

        return look_at_ledger(self.parts.ledger, self.parts.location)

    def _state(self) -> str:
        from audience_sync import checking  # noqa: PLC0415 - as above

        ledger, location = self.parts.ledger, self.parts.location
        keyring = self.parts.keyring_and_fingerprint_key[0]
        checking.know_state_keys(ledger, location, keyring, keep=False)
        return checking.look_at_state(ledger, location, keyring)

    def _source(self) -> str | Doubt:
        from audience_sync.checking import look_at_source  # noqa: PLC0415 - as above

        return self._discreet(look_at_source(self.parts.project))

    def _decisions(self) -> str:
        from audience_sync.checking import look_at_decisions  # noqa: PLC0415 - as above

        return look_at_decisions(self.parts.project, self.parts.installed.names)

    def _orders(self) -> str:
        from audience_sync.ordering import look_at_orders  # noqa: PLC0415 - as above

        found = look_at_orders(self.parts.project, self.parts.connectors)
        return str(self.parts.discretion.text(found))

    def _discreet(self, found: str | Doubt) -> str | Doubt:
        """A sentence without small counts; a doubt names what is wrong as it is."""
        return str(self.parts.discretion.text(found)) if isinstance(found, str) else found

    def _destination(self, name: str) -> str:
        from audience_sync.checking import look_at_lists  # noqa: PLC0415 - as above
        from audience_sync.connector import OrderConnector  # noqa: PLC0415 - as above

        link = self.parts.link(name)
        link.connector.check()
        if isinstance(link.connector, OrderConnector):
            reported = self.parts.ledger.reported_orders(name)
            told = self.parts.discretion.count(reported)
            so_far = told if isinstance(told, str) else f"{told:,}"
            return f"{link.connector.title} is told of orders, {so_far} so far"
        lists = look_at_lists(self.parts.project, self.parts.ledger, link)
        return f"{link.connector.title} takes the credentials, {lists}"


def _in_the_clear() -> Doubt:
    from audience_sync.checking import Doubt  # noqa: PLC0415 - as above

    return Doubt(
        "base_url begins with http://, so that whoever stands on the way reads the credentials and "
        "who is sent; write https://"
    )


def _forms() -> str:
    from audience_sync.identifiers.selftest import self_test  # noqa: PLC0415 - as above

    self_test()
    return "every form writes its vectors"
