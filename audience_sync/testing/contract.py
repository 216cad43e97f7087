"""What every connector has to keep; a plugin's test class inherits it and gains all its tests.

    class TestMyPartner(ConnectorContract):
        connector_class = MyConnector

        def settings(self): return MySettings(base_url="https://partner.example", token="…")
        def partner(self): return MyFakePartner()

`MyFakePartner` is a `FakePartner` that answers as the partner would. The tests are ordinary
methods without fixtures, so they can also be called one by one.
"""

# ruff: noqa: S101 - a contract is made of assertions
from __future__ import annotations

import ast
import inspect
import pickle
import sys
import traceback
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, ClassVar

import orjson
import pytest
from pydantic import SecretStr

from audience_sync.connector import (
    Answer,
    AudienceSyncError,
    AuthenticationError,
    ConfigurationError,
    Connector,
    ConnectorSettings,
    Kind,
    Limits,
    Members,
    PartnerError,
    Receipt,
    RefusedError,
    Statistics,
    TemporaryPartnerError,
    Upload,
)
from audience_sync.testing.builders import (
    FakePartner,
    Sent,
    answered,
    identifiers,
    made_up_audience,
    made_up_members,
    made_up_upload,
)
from audience_sync.testing.listening import logged

SHORTEST_SECRET = 6  # characters; shorter words turn up in sentences by chance
LONGEST_REFERENCE = 1_000  # characters
MANY = 10_000  # members; a full batch is tried up to this size
ERRORS: tuple[tuple[int, type[PartnerError]], ...] = (
    (400, RefusedError),
    (401, AuthenticationError),
    (404, RefusedError),
    (408, TemporaryPartnerError),
    (413, RefusedError),
    (429, TemporaryPartnerError),
    (500, TemporaryPartnerError),
    (502, TemporaryPartnerError),
    (503, TemporaryPartnerError),
)
STRANGE: tuple[Any, ...] = (
    *(None, [], 5, "no", {}, [{}]),
    *({"id": None}, {"error": 5}, {"error": ["no"]}, {"data": None}),
)
UNREADABLE = (b"", b"<!DOCTYPE html><html><body>Sorry</body></html>", b'{"id": "12')

Deed = Callable[[Connector[Any], str], Any]


class ConnectorContract:
    """Inherit, name the connector class, and write `settings` and `partner`."""

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

    # What it declares

    def test_declarations_are_sane(self) -> None:
        """A connector says who receives, in which forms, and how much at a time."""
        kind = self.connector_class
        assert kind.name == kind.name.lower() != "", "a name is lower case"
        assert kind.title, "a title is needed"
        assert issubclass(kind.settings_class, ConnectorSettings)
        assert kind.forms, "a connector that takes no identifier is of no use"
        for wanted, form in kind.forms.items():
            assert wanted in Kind
            assert form.count("/") == 1, "a form is written kind/name"
        assert kind.minimum_audience >= 0
        assert kind.minimum_of(self.settings()) >= 0
        for recipient in (kind.recipient, kind.recipient_of(self.settings())):
            assert recipient.name, "the transfer log names who receives"
            assert len(recipient.country) == 2  # noqa: PLR2004 - ISO 3166 alpha-2
            assert recipient.country.isupper()
        assert set(kind.reads) <= {"size", "match rate"}, "nothing else is read of a list"
        told = {kind.statistics, kind.poll} - {Connector.statistics, Connector.poll}
        assert told or not kind.reads, "what is read of a list comes by statistics or poll"

    def test_limits_are_positive(self) -> None:
        """Limits are numbers that a batch can be cut by."""
        for limits in (
            self.connector_class.limits,
            self.connector_class.limits_of(self.settings()),
        ):
            _check_limits(limits)

    def test_only_the_interface_is_imported(self) -> None:
        """A connector's file imports nothing of audience_sync but `audience_sync.connector`."""
        source = inspect.getsource(sys.modules[self.connector_class.__module__])
        for module in _imported(ast.parse(source)):
            root = module.partition(".")[0]
            assert root != "audience_sync" or module == "audience_sync.connector", module
            assert root not in {"requests", "tenacity", "celery", "redis", "sqlalchemy"}, module

    # What it does

    def test_check_passes_and_changes_nothing(self) -> None:
        """A check asks, and leaves lists and members alone."""
        connector, partner = self._started()
        before = dict(partner.lists), set(partner.held)
        connector.check()
        assert (partner.lists, partner.held) == before
        assert partner.uploads, "a check that asks nothing proves nothing"
        assert all(self.harmless(sent) for sent in partner.uploads)

    def test_a_list_is_made_once(self) -> None:
        """A list that is ours is found again, not made twice."""
        connector, partner = self._started()
        first = self._ensured(connector)
        made = dict(partner.lists)
        assert made, "no list was made"
        assert self._ensured(connector) == first
        assert partner.lists == made

    def test_a_list_that_is_not_ours_is_left_alone(self) -> None:
        """A list of the same name without our marker is never taken over."""
        connector, partner = self._started()
        partner.plant(made_up_audience().name)
        foreign = set(partner.lists)
        try:
            remote_id = self._ensured(connector)
        except RefusedError:
            return
        assert not any(number in remote_id for number in foreign)

    def test_a_list_that_is_deleted_is_gone(self) -> None:
        """Where lists can be deleted, ours goes and no other; one that is gone is no error."""
        if self.connector_class.delete_audience is Connector.delete_audience:
            return
        connector, partner = self._started()
        partner.plant("somebody else's")
        others = dict(partner.lists)
        remote_id = self._ensured(connector)
        assert partner.lists != others
        for _ in range(2):
            connector.delete_audience(remote_id)
            assert partner.lists == others

    def test_everything_sent_arrives(self) -> None:
        """Each identifier of each member reaches the list, and all members are accounted for."""
        connector, partner = self._started()
        members = self._members(25, slots=2)
        receipt = connector.add(self._upload(connector, members), members)
        assert receipt.sent == len(members)
        assert receipt.accepted == len(members)
        assert partner.held == identifiers(members)

    def test_adding_twice_changes_nothing(self) -> None:
        """A batch that is sent again ends in the same list and the same counts."""
        connector, partner = self._started()
        members = self._members(9)
        upload = self._upload(connector, members)
        first = connector.add(upload, members)
        again = connector.add(upload, members)
        assert (first.accepted, first.sent) == (again.accepted, again.sent)
        assert partner.held == identifiers(members)

    def test_removal_removes_exactly_those(self) -> None:
        """Removed identifiers are gone, the others stay, and unknown ones are no error."""
        connector, partner = self._started()
        members = self._members(12)
        remote_id = self._upload(connector, members).remote_id
        connector.add(self._upload(connector, members), members)
        leaving, staying = members.take(range(5)), members.take(range(5, 12))
        for _ in range(2):
            upload = made_up_upload(remote_id=remote_id, session=77, total=5, consent=None)
            receipt = connector.remove(upload, leaving)
            assert receipt.sent == len(leaving)
            assert partner.held == identifiers(staying)

    def test_counts_add_up_when_members_are_refused(self) -> None:
        """Accepted + rejected + unattributed is what was sent, however many are refused."""
        for bad in ([], [0], [3, 7], list(range(10))):
            connector, partner = self._started()
            members = self._members(10)
            partner.refused = identifiers(members.take(bad)) if bad else set()
            receipt = connector.add(self._upload(connector, members), members)
            assert receipt.sent == len(members)
            final = self._final(connector, receipt)
            assert final.sent == receipt.accepted or final is receipt
            lost = len(receipt.rejected) + receipt.unattributed
            lost += 0 if final is receipt else final.unattributed + len(final.rejected)
            assert lost == len(bad), "members that the partner refused are not accepted"

    def test_rejections_name_the_right_members(self) -> None:
        """A member that is named as rejected is one that the partner found fault with."""
        connector, partner = self._started()
        members = self._members(10)
        partner.refused = identifiers(members.take([2, 8]))
        receipt = connector.add(self._upload(connector, members), members)
        assert {rejection.position for rejection in receipt.rejected} <= {2, 8}
        assert all(rejection.reason for rejection in receipt.rejected)
        assert partner.held == identifiers(members) - partner.refused

    def test_a_later_answer_can_be_polled(self) -> None:
        """A pending receipt has a reference, and polling it accounts for the accepted members."""
        connector, _ = self._started()
        members = self._members(4)
        receipt = connector.add(self._upload(connector, members), members)
        assert receipt.reference is None or len(receipt.reference) <= LONGEST_REFERENCE
        if receipt.pending:
            assert receipt.reference is not None
            assert connector.poll(receipt.reference).sent == receipt.accepted
        else:
            with pytest.raises(ConfigurationError):
                connector.poll("anything")

    def test_statistics_are_a_range(self) -> None:
        """A size is a range in order."""
        connector, _ = self._started()
        found = connector.statistics(self._ensured(connector))
        assert isinstance(found, Statistics)
        if found.size_lower is not None and found.size_upper is not None:
            assert 0 <= found.size_lower <= found.size_upper

    # What it never does

    def test_consent_is_never_assumed(self) -> None:
        """Where a partner asks for consent, none is sent that was not given."""
        if not self.connector_class.needs_consent_signal:
            return
        connector, partner = self._started()
        members = self._members(2)
        upload = self._upload(connector, members)
        partner.requests.clear()
        unsaid = made_up_upload(remote_id=upload.remote_id, consent=None)
        with pytest.raises((ConfigurationError, ValueError)):
            connector.add(unsaid, members)
        assert not partner.uploads

    def test_raw_device_ids_need_permission(self) -> None:
        """A raw identifier leaves only where the destination allows it."""
        raw = [kind for kind, form in self.connector_class.forms.items() if form.endswith("/raw")]
        if not raw:
            return
        careful = self.settings().model_copy(update={"allow_unhashed_device_ids": False})
        connector, partner = self._started(careful)
        upload = made_up_upload(remote_id=self._ensured(connector))
        partner.requests.clear()
        with pytest.raises(ConfigurationError):
            connector.add(upload, made_up_members(2, raw))
        assert not partner.uploads

    def test_raw_device_ids_can_always_be_removed(self) -> None:
        """A permission that was taken back does not keep anybody on a list."""
        raw = [kind for kind, form in self.connector_class.forms.items() if form.endswith("/raw")]
        if not self.settings().allow_unhashed_device_ids or not raw:
            return
        connector, partner = self._started()
        members = made_up_members(2, raw)
        remote_id = self._upload(connector, members).remote_id
        connector.add(made_up_upload(remote_id=remote_id), members)
        assert partner.held
        careful = self.settings().model_copy(update={"allow_unhashed_device_ids": False})
        later = self.connector_class(careful, partner)
        partner.bind(later)
        later.remove(made_up_upload(remote_id=remote_id, session=5, consent=None), members)
        assert not partner.held

    def test_a_full_batch_keeps_to_the_limits(self) -> None:
        """As many members as the limits allow, with further identifiers, are all taken."""
        connector, partner = self._started()
        limits = connector.limits
        members = self._members(min(limits.members_per_request, MANY), slots=2)
        upload = self._upload(connector, members)
        partner.requests.clear()
        assert connector.add(upload, members).accepted == len(members)
        largest = max(len(sent.body or b"") for sent in partner.uploads)
        largest = largest * limits.members_per_request // len(members)  # where fewer were tried
        assert limits.bytes_per_request is None or largest <= limits.bytes_per_request

    def test_same_input_same_requests(self) -> None:
        """Requests depend on the upload and the members alone, to the byte."""
        assert self._requests(self._started()) == self._requests(self._started())

    def test_pickling_changes_nothing(self) -> None:
        """A connector that went to another worker sends the same."""
        connector, _ = self._started()
        clone = pickle.loads(pickle.dumps(connector))  # noqa: S301 - our own object
        assert self._requests((clone, clone.client)) == self._requests(self._started())

    def test_threads_do_not_disturb_each_other(self) -> None:
        """Uploads at the same time are the same as uploads one after the other."""
        batches = [(number + 1, self._members(5, seed=number)) for number in range(16)]

        def sent(threads: int) -> list[str]:
            connector, partner = self._started()
            remote_id = self._ensured(connector)
            partner.requests.clear()

            def add(batch: tuple[int, Members]) -> Receipt:
                upload = made_up_upload(remote_id=remote_id, session=batch[0])
                return connector.add(upload, batch[1])

            with ThreadPoolExecutor(threads) as pool:
                receipts = list(pool.map(add, batches))
            assert {receipt.sent for receipt in receipts} == {5}
            return sorted(repr(sent.written(self.volatile)) for sent in partner.uploads)

        assert sent(threads=8) == sent(threads=1)

    # What it makes of errors

    def test_errors_are_told_apart(self) -> None:
        """Refused, not authorised and try-again are three different errors."""
        for status, wanted in ERRORS:
            for body in ({}, {"error": {"message": "no"}}, {"message": "no"}):
                for name, raised in self._failures(answered(body, status)):
                    assert type(raised) is wanted, f"{name} made {raised!r} of HTTP {status}"

    def test_unreadable_answers_are_tried_again(self) -> None:
        """A web page, half an answer or none is a partner in trouble, never a success."""
        for body in UNREADABLE:
            for name, raised in self._failures(answered(body)):
                assert type(raised) is TemporaryPartnerError, f"{name} took {body!r}"

    def test_doubt_is_kept_where_something_may_have_been_done(self) -> None:
        """Neither a success, nor a server in trouble, nor an unreadable answer is a proof."""
        connector, partner = self._started()
        upload, answers, usual = self._upload(connector, self._members(3)), [], partner.respond
        partner.requests.clear()

        def respond(sent: Sent) -> Answer:
            answers.append(usual(sent))
            return answers[-1]

        partner.respond = respond  # type: ignore[method-assign]
        assert connector.add(upload, self._members(3)).accepted
        doubtful = [not connector.changed_nothing(answer) for answer in answers]
        assert any(doubtful), "members that were taken would count as never sent"
        for body in (b"{}", *UNREADABLE):
            for status in (408, 500, 502, 503):
                assert not connector.changed_nothing(answered(body, status)), f"HTTP {status}"
        for body in (*UNREADABLE, *STRANGE):
            assert not connector.changed_nothing(answered(body)), f"it took {body!r} for a proof"

    def test_strange_answers_are_no_crash(self) -> None:
        """JSON of another shape than the partner's is an error of ours, not a fault of Python."""
        for body in STRANGE:
            for name, raised in self._failures(answered(body), strict=False):
                assert isinstance(raised, AudienceSyncError), f"{name} fell over {body!r}"

    def test_broken_connections_pass_through(self) -> None:
        """The client's own error comes out as it is, and nothing is tried a second time."""
        lost = TemporaryPartnerError("the partner did not answer in time; try again later")
        for name, deed in self._deeds():
            connector, partner = self._started()
            remote_id = self._ensured(connector)
            partner.requests.clear()
            partner.always = lost
            with pytest.raises(TemporaryPartnerError) as caught:
                deed(connector, remote_id)
            assert caught.value is lost, name
            assert len(partner.uploads) == 1, f"{name} tried again; the client does that"

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

    # The rest is how

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


def _check_limits(limits: Limits) -> None:
    for number in (
        limits.members_per_request,
        limits.parallel_uploads,
        limits.identifiers_per_member,
        limits.batches_per_session,
    ):
        assert number > 0
    for optional in (
        limits.bytes_per_request,
        limits.requests_per_second,
        limits.requests_per_minute,
        limits.requests_per_day,
    ):
        assert optional is None or optional > 0


def _imported(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module is not None:
            yield node.module


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
