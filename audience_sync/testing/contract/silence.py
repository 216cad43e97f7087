"""What a connector keeps to itself."""

# ruff: noqa: S101 - a contract is made of assertions
from __future__ import annotations

import traceback

import orjson
from pydantic import SecretStr

from audience_sync.connector import ConnectorSettings
from audience_sync.testing.builders import answered, identifiers
from audience_sync.testing.contract.bench import Bench
from audience_sync.testing.listening import logged

SHORTEST_SECRET = 6  # characters; shorter words turn up in sentences by chance


class KeepsSilent(Bench):
    """Neither errors nor reprs nor the log tell of secrets or people."""

    def test_errors_hold_nothing_secret(self) -> None:
        """No secret, no hash and none of the partner's text is in an error, a repr or a log."""
        members = self._members(3)
        secrets = _secrets(self.settings()) | identifiers(members)
        echo = "partner-said " + " ".join(sorted(secrets))
        bodies = (
            {"error": {"message": echo, "code": 100}},
            {"error": echo, "error_description": echo, "message": echo},
            echo.encode(),
        )
        with logged() as log:
            for status in (200, 400, 401, 403, 404, 409, 413, 429, 500):
                for body in bodies:
                    for name, raised in self._failures(answered(body, status), strict=False):
                        said = "".join(traceback.format_exception(raised))
                        said += repr(raised) + str(raised) + repr(raised.args)
                        _clean(said, {"partner-said"} | secrets, name)
            connector, _ = self._started()
            receipt = connector.add(self._upload(connector, members), members)
            _clean(repr(connector) + repr(connector.settings) + repr(receipt), secrets, "repr")
        _clean("\n".join(log), secrets, "the log")


def _secrets(settings: ConnectorSettings) -> set[str]:
    """Every secret of the settings, and the texts within one that is JSON."""
    found: set[str] = set()
    for name in type(settings).model_fields:
        value = getattr(settings, name)
        if isinstance(value, SecretStr):
            found |= _texts(value.get_secret_value())
    return {secret for secret in found if len(secret) >= SHORTEST_SECRET}


def _texts(secret: str) -> set[str]:
    try:
        inside = orjson.loads(secret)
    except orjson.JSONDecodeError:
        return {secret}
    if not isinstance(inside, dict):
        return {secret}
    hidden = ("secret", "token", "private_key")
    return {str(v) for k, v in inside.items() if any(h in k for h in hidden) and "uri" not in k}


def _clean(said: str, secrets: set[str], where: str) -> None:
    # Not "assert secret not in said": pytest would print both.
    found = sum(secret in said for secret in secrets)
    assert found == 0, f"{where} tells {found} of the things that must stay inside"
