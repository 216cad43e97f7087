"""The kinds of identifier, and how wide each is when written down."""

from __future__ import annotations

from enum import StrEnum

DIGEST_WIDTH = 32  # bytes of a SHA-256 digest
DEVICE_WIDTH = 16  # bytes of a device ID (a UUID) in raw form


class Kind(StrEnum):
    """What sort of identifier a value is, whatever form it is written in."""

    EMAIL = "email"
    PHONE = "phone"
    IDFA = "idfa"
    GAID = "gaid"
    EXTERNAL_ID = "external_id"
