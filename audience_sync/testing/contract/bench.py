"""A connector with a fake of its partner, and members, uploads and deeds to try it with."""

# ruff: noqa: S101 - a contract is made of assertions
from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, ClassVar

from audience_sync.connector import (
    Answer,
    Connector,
    ConnectorSettings,
    Kind,
    Members,
    Receipt,
    Upload,
)
from audience_sync.testing.builders import (
    FakePartner,
    Sent,
    made_up_audience,
    made_up_members,
    made_up_upload,
)

Deed = Callable[[Connector[Any], str], Any]


class Bench:
    """What all tests of the contract stand on."""

    connector_class: ClassVar[type[Connector[Any]]]
    volatile: ClassVar[frozenset[str]] = frozenset()  # parameters that differ in each request

    def settings(self) -> ConnectorSettings:
        """Settings with made-up secrets; allow unhashed device IDs where the partner takes them."""
        raise NotImplementedError

    def partner(self) -> FakePartner:
        """A fresh fake of the partner, which knows no list and holds nobody."""
        raise NotImplementedError

    def harmless(self, sent: Sent) -> bool:
        """Whether a request changes nothing at the partner; override where a POST may be."""
        return sent.method == "GET"

    def _started(
        self, settings: ConnectorSettings | None = None
    ) -> tuple[Connector[Any], FakePartner]:
        partner = self.partner()
        connector = self.connector_class(settings or self.settings(), partner)
        partner.bind(connector)
        return connector, partner

    def _kinds(self) -> tuple[Kind, ...]:
        allowed = self.settings().allow_unhashed_device_ids
        forms = self.connector_class.sendable(self.settings()).items()
        return tuple(kind for kind, form in forms if allowed or not form.endswith("/raw"))

    def _members(self, count: int, *, slots: int = 1, seed: int = 0) -> Members:
        forms = self.connector_class.forms
        return made_up_members(count, self._kinds(), slots=slots, seed=seed, forms=forms)

    def _ensured(self, connector: Connector[Any]) -> str:
        return connector.ensure_audience(made_up_audience(kinds=self._kinds()))

    def _upload(self, connector: Connector[Any], members: Members) -> Upload:
        return made_up_upload(remote_id=self._ensured(connector), total=len(members))

    def _final(self, connector: Connector[Any], receipt: Receipt) -> Receipt:
        if not receipt.pending or receipt.reference is None:
            return receipt
        return connector.poll(receipt.reference)

    def _requests(self, started: tuple[Connector[Any], FakePartner]) -> list[Any]:
        connector, partner = started
        members = self._members(20, slots=2)
        upload = self._upload(connector, members)
        connector.add(upload, members)
        connector.remove(
            made_up_upload(remote_id=upload.remote_id, session=8, consent=None), members
        )
        return [sent.written(self.volatile) for sent in partner.uploads]

    def _deeds(self) -> list[tuple[str, Deed]]:
        members = self._members(3)
        deeds: list[tuple[str, Deed]] = [
            ("check", lambda it, _: it.check()),
            ("ensure_audience", lambda it, _: self._ensured(it)),
            ("add", lambda it, number: it.add(made_up_upload(remote_id=number), members)),
            (
                "remove",
                lambda it, number: it.remove(
                    made_up_upload(remote_id=number, consent=None), members
                ),
            ),
        ]
        if self.connector_class.statistics is not Connector.statistics:
            deeds.append(("statistics", lambda it, number: it.statistics(number)))
        if self.connector_class.delete_audience is not Connector.delete_audience:
            deeds.append(("delete_audience", lambda it, number: it.delete_audience(number)))
        return deeds

    def _failures(
        self, answer: Answer, *, strict: bool = True
    ) -> Iterator[tuple[str, BaseException]]:
        """What each deed raises when the partner gives nothing but this answer."""
        for name, deed in self._deeds():
            connector, partner = self._started()
            remote_id = self._ensured(connector)
            partner.always = answer
            try:
                deed(connector, remote_id)
            except Exception as raised:  # noqa: BLE001 - any error at all is the finding
                yield name, raised
            else:
                assert not strict, f"{name} took HTTP {answer.status} for a success"
