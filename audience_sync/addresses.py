"""Where a destination's `base_url` leads: to this machine, or over a network."""

from __future__ import annotations

from ipaddress import ip_address
from urllib.parse import urlsplit


def is_here(url: str) -> bool:
    """Whether it never leaves this machine, as with a simulated partner."""
    host = urlsplit(url).hostname or ""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost"


def in_the_clear(url: str) -> bool:
    """Whether a network reads what is sent there: the credentials, and who is on a list."""
    return urlsplit(url).scheme.lower() == "http" and not is_here(url)
