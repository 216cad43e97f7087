"""Rakuten keeps the contract of order connectors, by endpoint and by file."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

import pytest
from rakuten_fake import DropFake, RakutenFake

from audience_sync.sandbox.rakuten.files import FileServer, running_files
from audience_sync.testing import OrderContract
from connectors._rakuten_drop import DropSettings
from connectors.rakuten import RakutenConnector, RakutenSettings


class TestByEndpoint(OrderContract):
    connector_class = RakutenConnector

    def settings(self) -> RakutenSettings:
        return RakutenSettings(base_url="https://rakuten.example", merchant_id="37978")

    def partner(self) -> RakutenFake:
        return RakutenFake()


class TestByFile(OrderContract):
    connector_class = RakutenConnector
    over_http = False
    server: ClassVar[FileServer]

    @pytest.fixture(autouse=True)
    def _running(self) -> Iterator[None]:
        with running_files() as server:
            type(self).server = server
            yield

    def settings(self) -> RakutenSettings:
        drop = DropSettings(**self.server.settings())
        return RakutenSettings(merchant_id="37978", send_by="sftp", sftp=drop)

    def partner(self) -> DropFake:
        return DropFake(self.server)
