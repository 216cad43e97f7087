"""Rakuten's order files: the exact lines, and a server that is compared before it is trusted."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import paramiko
import pytest
from pydantic import ValidationError

from audience_sync.connector import (
    AuthenticationError,
    Orders,
    RefusedError,
    TemporaryPartnerError,
    UnreachedError,
)
from audience_sync.sandbox.rakuten.files import FileServer, running_files
from audience_sync.testing.builders import FakePartner
from audience_sync.testing.orders import made_up_orders, taken_back
from connectors._rakuten_drop import Drop, DropSettings
from connectors.rakuten import RakutenConnector, RakutenSettings


@pytest.fixture
def server() -> Iterator[FileServer]:
    """A file server on this machine."""
    with running_files() as running:
        yield running


def drop(server: FileServer | None = None, **changes: Any) -> Drop:
    """A drop at this server; name the settings that should differ."""
    usual: dict[str, Any] = {
        "host": "sftp.example",
        "host_key": "SHA256:" + "A" * 43,
        "username": "shop",
        "password": "secret-of-the-shop",
    }
    if server is not None:
        usual |= server.settings()
    return Drop(DropSettings(**(usual | changes)), "37978")


def order(**changes: Any) -> Orders:
    """The order of the partner's own example."""
    return made_up_orders([1], order_id="100045", click_id="abcDEF12345", **changes)


def test_a_line_has_thirteen_fields() -> None:
    """The layout of the help pages: no e-mail, no member, a reason for what is taken back."""
    written = drop().write(taken_back(order(lines=1, sku="SKU1", name=None)))
    assert written == b"100045|abcDEF12345|2026-11-21|SKU1|-1|-4999|USD||||||returned\n"


def test_every_line_has_a_reason() -> None:
    """The help pages require the last field, so a sale has one too; the word is a setting."""
    sold = order(lines=1, sku="SKU1", name=None)
    assert drop().write(sold) == b"100045|abcDEF12345|2026-11-21|SKU1|1|4999|USD||||||order\n"
    assert drop(reason_of_sales="").write(sold).endswith(b"|USD||||||\n")
    for wrong in ("a|b", "a\nb"):
        with pytest.raises(ValidationError, match="delimiter"):
            drop(reason_of_sales=wrong)


def test_a_file_that_may_not_be_renamed_is_refused(
    server: FileServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server says so: nothing arrived, and a person has to ask for the right."""

    def denied(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("paramiko.SFTPClient.rename", denied)
    with pytest.raises(RefusedError, match="renamed"):
        drop(server).put(order())
    assert server.book.written() == []


def test_the_page_shows_a_line() -> None:
    """The example of the documentation is what this connector writes."""
    page = (Path(__file__).parents[2] / "docs/partners/rakuten.md").read_text()
    example = page.split("<!-- example: file -->\n```text\n")[1].split("```")[0]
    back = taken_back(order(lines=1, sku="SKU1", name="Scarf"))
    assert drop().write(back).decode() == example


def test_the_layout_is_the_contracts() -> None:
    """Delimiter, fields, header, dates, decimals and letters."""
    settings: dict[str, Any] = {
        "fields": ("merchant_id", "order_id", "date", "amount", "name", "customer_status"),
        "delimiter": ";",
        "header": True,
        "date_form": "%d.%m.%Y",
        "amounts": "major",
        "encoding": "shift_jis",
    }
    written = drop(**settings).write(order(lines=1, name="靴; red ☃"))
    assert written.decode("shift_jis") == (
        "merchant_id;order_id;date;amount;name;customer_status\n"
        "37978;100045;21.11.2026;49.99;靴  red ?;existing\n"
    )


def test_a_file_appears_whole_and_once(server: FileServer) -> None:
    """Written aside and renamed; what has its name already is left alone."""
    drop(server).look()
    drop(server).put(order())
    drop(server).put(order())
    assert list(server.files) == ["/orders/orders_37978_r1-0.txt"]
    assert (server.problems, server.book.calls) == ([], 1)
    assert drop(server).arrived(order()) is True


def test_a_stranger_is_told_nothing(server: FileServer) -> None:
    """With another key than the one configured not even the password is sent."""
    with pytest.raises(AuthenticationError, match="another key"):
        drop(server, host_key="SHA256:" + "A" * 43).put(order())
    assert (server.logins, server.files) == (0, {})


def test_a_wrong_password_is_told(server: FileServer) -> None:
    """In the operator's words, and never the password."""
    with pytest.raises(AuthenticationError, match="check username") as caught:
        drop(server, password="some-other-secret").look()
    assert "some-other-secret" not in repr(caught.value.args)


def test_a_key_that_cannot_be_read_is_told(server: FileServer) -> None:
    """Before anything is sent."""
    with pytest.raises(AuthenticationError, match="private_key"):
        drop(server, private_key="no key at all").look()


def test_a_key_logs_in_where_the_server_knows_it(server: FileServer) -> None:
    """This one knows passwords only, so a good key is refused, not misread."""
    text = io.StringIO()
    paramiko.ECDSAKey.generate().write_private_key(text)
    with pytest.raises(AuthenticationError, match="check username"):
        drop(server, private_key=text.getvalue()).look()


def test_a_missing_folder_is_told(server: FileServer) -> None:
    """The file is refused, and would be refused again."""
    with pytest.raises(RefusedError, match="folder"):
        drop(server, folder="/elsewhere").look()
    with pytest.raises(RefusedError, match="folder"):
        drop(server, folder="/elsewhere").put(order())


def test_nobody_there_means_that_nothing_arrived(server: FileServer) -> None:
    """So the file may be sent again."""
    with pytest.raises(UnreachedError):
        drop(server, port=1).put(order())


@pytest.mark.parametrize(
    ("moment", "kind", "arrived"),
    [
        ("open", UnreachedError, None),
        ("rename", TemporaryPartnerError, False),
        ("renamed", TemporaryPartnerError, True),
    ],
)
def test_a_line_that_breaks_leaves_what_can_be_told(
    server: FileServer, moment: str, kind: type[Exception], arrived: bool | None
) -> None:
    """Before the name nothing arrived; in between the server tells which."""
    server.break_at = moment
    with pytest.raises(kind) as caught:
        drop(server).put(order())
    assert type(caught.value) is kind
    assert "100045" not in str(caught.value)
    assert drop(server).arrived(order()) is arrived
    drop(server).put(order())
    assert server.book.calls == 1


def test_a_file_holds_whole_orders_up_to_its_limit() -> None:
    """As many lines as the contract allows; the endpoint takes one order a call."""
    settings = RakutenSettings(
        merchant_id="1", send_by="sftp", sftp=drop(lines_per_file=5).settings
    )
    assert RakutenConnector.limits_of(settings).members_per_request == 5
    assert RakutenConnector.needs_of(settings) == ("click_id",)
    plain = RakutenSettings(merchant_id="1")
    assert RakutenConnector.limits_of(plain).members_per_request == 1
    assert RakutenConnector(plain, FakePartner()).recipient.country == "US"  # type: ignore[arg-type]
    other = RakutenSettings(merchant_id="1", recipient_name="Rakuten KK", recipient_country="JP")
    assert RakutenConnector.recipient_of(other).name == "Rakuten KK"
