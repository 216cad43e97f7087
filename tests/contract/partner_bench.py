"""A shipped connector over HTTP against its simulated partner, with a client that never sleeps."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import orjson
import requests

from audience_sync.connector import Connector, Kind, Members
from audience_sync.delivery.client import HttpPartnerClient
from audience_sync.sandbox.credentials import demo_service_account
from audience_sync.sandbox.options import PINTEREST_CREDENTIALS, X_CREDENTIALS
from audience_sync.sandbox.snapchat import oauth
from audience_sync.testing.builders import KeptInMemory, made_up_audience, made_up_members
from connectors.google import GoogleConnector
from connectors.meta import MetaConnector
from connectors.pinterest import PinterestConnector
from connectors.snapchat import SnapchatConnector
from connectors.tiktok import TikTokConnector
from connectors.x import XConnector

KINDS = (Kind.EMAIL, Kind.PHONE, Kind.IDFA, Kind.GAID)
SECRET = "0123456789abcdef0123456789abcdef"
# What makes a list from files at TikTok: no person's hash.
NOBODY = hashlib.sha256(b"audience-sync").hexdigest()


def control(url: str, path: str, wanted: Mapping[str, Any] | None = None) -> Any:
    """Ask the sandbox something, or tell it."""
    address = f"{url}/_control/{path}"
    answer = (
        requests.get(address, timeout=10)
        if wanted is None
        else requests.post(address, json=wanted, timeout=10)
    )
    answer.raise_for_status()
    return answer.json()


@dataclass(frozen=True, kw_only=True)
class Setup:
    """How a connector is set up for the sandbox, and what its partner is like."""

    connector: type[Connector[Any]]
    settings: Callable[[str], dict[str, Any]] = field(repr=False)
    throttled: float | None = None  # the wait that a throttle of seven minutes asks for
    terms: str | None = None  # a word of the sentence that asks a person to act
    names: bool = False  # says which members it refuses
    counts: bool = False  # says how many members it refuses


def _meta(url: str) -> dict[str, Any]:
    return {
        "base_url": f"{url}/meta",
        "ad_account_id": "act_1234567890",
        "access_token": "sandbox-token",
        "app_secret": SECRET,
        "allow_unhashed_device_ids": True,
    }


def _google(url: str) -> dict[str, Any]:
    return {
        "base_url": f"{url}/google",
        "operating_account": "1234567890",
        "credentials": orjson.dumps(demo_service_account(url)).decode(),
        "allow_unhashed_device_ids": True,
        "ios_app_id": "123456789",
        "android_app_id": "com.example.app",
        "poll_after": 0,
    }


def _tiktok(url: str) -> dict[str, Any]:
    return {
        "base_url": f"{url}/tiktok",
        "advertiser_id": "7000000000000000001",
        "access_token": "sandbox-token",
    }


def _snapchat(url: str) -> dict[str, Any]:
    return {
        "base_url": f"{url}/snapchat",
        "token_url": f"{url}/snapchat/login/oauth2/access_token",
        "ad_account_id": "422ef6f5-0000-4000-8000-000000000001",
        "client_id": oauth.CLIENT_ID,
        "client_secret": oauth.CLIENT_SECRET,
        "refresh_token": oauth.REFRESH_TOKEN,
    }


def _pinterest(url: str) -> dict[str, Any]:
    return {
        "base_url": f"{url}/pinterest/v5",
        "ad_account_id": "549756359984",
        "poll_after": 0,
        **PINTEREST_CREDENTIALS,
    }


def _x(url: str) -> dict[str, Any]:
    return {"base_url": f"{url}/x", "account_id": "18ce54d4x5t", **X_CREDENTIALS}


SETUPS: Mapping[str, Setup] = {
    "meta": Setup(
        connector=MetaConnector,
        settings=_meta,
        throttled=420.0,
        terms="terms",
        names=True,
        counts=True,
    ),
    "google": Setup(
        connector=GoogleConnector,
        settings=_google,
        throttled=60.0,
        terms="terms",
        names=True,
        counts=True,
    ),
    "tiktok": Setup(connector=TikTokConnector, settings=_tiktok, terms="Operator"),
    "tiktok-files": Setup(
        connector=TikTokConnector,
        settings=lambda url: _tiktok(url) | {"flow": "files"},
        terms="Operator",
    ),
    "snapchat": Setup(
        connector=SnapchatConnector, settings=_snapchat, terms="Data Manager", counts=True
    ),
    "pinterest": Setup(
        connector=PinterestConnector, settings=_pinterest, throttled=420.0, terms="ads:write"
    ),
    "x": Setup(connector=XConnector, settings=_x, throttled=420.0, terms="terms", names=True),
}


class Bench:
    """A connector that is ready, and a look at what its partner holds."""

    def __init__(self, url: str, name: str, **changes: Any) -> None:
        self.url, self.setup, self.slept = url, SETUPS[name], list[float]()
        self.name = self.setup.connector.name
        self.credentials: dict[str, str] = {}
        kind = self.setup.connector
        settings = kind.settings_class(**(self.setup.settings(url) | changes))
        self.client = HttpPartnerClient(
            settings.base_url,
            sleep=self.slept.append,
            clock=lambda: time.monotonic() + sum(self.slept),
            timeout=(20, 20),
            kept=self._kept,
        )
        self.connector = kind(settings, self.client)
        self.client.bind(self.connector)

    def ensure(self) -> str:
        """The list."""
        return self.connector.ensure_audience(made_up_audience(kinds=KINDS))

    def members(self, count: int = 20, slots: int = 1, *, seed: int = 0) -> Members:
        """People with everything that the partner takes."""
        forms = self.connector.forms
        kinds = [kind for kind in KINDS if kind in forms]
        return made_up_members(count, kinds, slots=slots, seed=seed, forms=forms)

    def held(self, remote_id: str) -> set[str]:
        """What the partner holds, all parts of a list together."""
        found: set[str] = set()
        for piece in remote_id.split(","):
            number = piece.rpartition(":")[2]
            listed = control(self.url, f"members?partner={self.name}&list={number}")
            found.update(*listed["identifiers"].values())
        return found - {NOBODY}

    def fault(self, kind: str, **options: Any) -> None:
        """Switch a fault on."""
        control(self.url, "faults", {"partner": self.name, "kind": kind, **options})

    @contextmanager
    def _kept(self, name: str) -> Iterator[KeptInMemory]:
        yield KeptInMemory(self.credentials, name)
