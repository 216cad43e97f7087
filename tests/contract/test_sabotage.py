"""The contract bites: each way of breaking a connector fails the test that is meant for it."""

from __future__ import annotations

import logging
import threading
from typing import Any, ClassVar

import orjson
import pytest
from toy_fake import ToyFake
from toy_partner import ToyConnector, ToySettings

from audience_sync.connector import (
    Answer,
    AudienceRequest,
    ConfigurationError,
    ConnectorSettings,
    Consent,
    Kind,
    Limits,
    Members,
    PartnerError,
    Receipt,
    Recipient,
    RefusedError,
    Rejection,
    Statistics,
    TemporaryPartnerError,
    Upload,
)
from audience_sync.testing.builders import FakePartner
from audience_sync.testing.contract import ConnectorContract


class ToyContract(ConnectorContract):
    """Not collected by its name; the tests below call its methods."""

    connector_class = ToyConnector

    def settings(self) -> ConnectorSettings:
        return ToySettings(token="toy-token-canary", allow_unhashed_device_ids=True)

    def partner(self) -> FakePartner:
        return ToyFake()


class DropsRejections(ToyConnector):
    def _receipt(self, sent: int, bad: list[int]) -> Receipt:
        return Receipt(accepted=sent)


class CountsWrong(ToyConnector):
    def _receipt(self, sent: int, bad: list[int]) -> Receipt:
        return Receipt(accepted=sent - 1, rejected=super()._receipt(sent, bad).rejected)


class NamesTheWrongMember(ToyConnector):
    def _receipt(self, sent: int, bad: list[int]) -> Receipt:
        rejected = tuple(Rejection(position=(at + 1) % sent, reason="bad") for at in bad)
        return Receipt(accepted=sent - len(bad), rejected=rejected)


class LeaksTheToken(ToyConnector):
    def explain(self, answer: Answer) -> PartnerError | None:
        error = super().explain(answer)
        if isinstance(error, RefusedError):
            return RefusedError(f"refused for {self.settings.token.get_secret_value()}")
        return error


class RepeatsThePartnersWords(ToyConnector):
    def explain(self, answer: Answer) -> PartnerError | None:
        error = super().explain(answer)
        if isinstance(error, RefusedError):
            return RefusedError(answer.body.decode("utf-8", "replace"))
        return error


class LogsTheBody(ToyConnector):
    def _body(self, upload: Upload, members: Members) -> tuple[bytes, list[int]]:
        body, positions = super()._body(upload, members)
        logging.getLogger("toy").debug("sending %s", body)
        return body, positions


class Undetermined(ToyConnector):
    times = 0

    def _body(self, upload: Upload, members: Members) -> tuple[bytes, list[int]]:
        body, positions = super()._body(upload, members)
        Undetermined.times += 1
        return body[:-1] + b',"nonce":%d}' % Undetermined.times, positions


class DoesNotPickle(ToyConnector):
    def __init__(self, settings: ToySettings, client: Any) -> None:
        super().__init__(settings, client)
        self.lock = threading.Lock()


class ForgetsWhenPickled(ToyConnector):
    def __init__(self, settings: ToySettings, client: Any) -> None:
        super().__init__(settings, client)
        self.salt = b',"salt":1}'

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"salt": b"}"}

    def _body(self, upload: Upload, members: Members) -> tuple[bytes, list[int]]:
        body, positions = super()._body(upload, members)
        return body[:-1] + self.salt, positions


class RetriesItself(ToyConnector):
    def _change(self, method: str, upload: Upload, members: Members) -> Receipt:
        try:
            return super()._change(method, upload, members)
        except TemporaryPartnerError:
            return super()._change(method, upload, members)


class IgnoresTheLimits(ToyConnector):
    limits = Limits(members_per_request=80, bytes_per_request=20_000)


class WritesTooMuch(ToyConnector):
    limits = Limits(members_per_request=40, bytes_per_request=1_000)


class HasNoLimit(ToyConnector):
    limits = Limits(members_per_request=0)


class RemoveAdds(ToyConnector):
    def remove(self, upload: Upload, members: Members) -> Receipt:
        return self._change("POST", upload, members)


class SendsTheFirstIdentifierOnly(ToyConnector):
    def _body(self, upload: Upload, members: Members) -> tuple[bytes, list[int]]:
        return super()._body(upload, members.slot(0))


class AssumesConsent(ToyConnector):
    def add(self, upload: Upload, members: Members) -> Receipt:
        return self._change("POST", upload, members)


class SendsRawDevicesUnasked(ToyConnector):
    def add(self, upload: Upload, members: Members) -> Receipt:
        return self._change("POST", upload, members)


class KeepsRawDevices(ToyConnector):
    def remove(self, upload: Upload, members: Members) -> Receipt:
        if not self.settings.allow_unhashed_device_ids:
            raise ConfigurationError("device IDs are not allowed")
        return super().remove(upload, members)


class ChecksByWriting(ToyConnector):
    def check(self) -> None:
        self.client.request("POST", "lists", body=b'{"name":"x","description":"x"}')


class ChecksNothing(ToyConnector):
    def check(self) -> None:
        return


class AlwaysMakesAList(ToyConnector):
    def ensure_audience(self, audience: AudienceRequest) -> str:
        wanted = {"name": audience.name, "description": audience.marker}
        made = self.client.request("POST", "lists", body=orjson.dumps(wanted))
        return str(self._read(made, "id"))


class TakesAnyListOver(ToyConnector):
    def ensure_audience(self, audience: AudienceRequest) -> str:
        lists = self._read(self.client.request("GET", "lists"), "lists")
        return str(next(iter(lists), None) or super().ensure_audience(audience))


class TakesEverythingForASuccess(ToyConnector):
    def explain(self, answer: Answer) -> PartnerError | None:
        return None

    def _read(self, answer: Answer, wanted: str) -> Any:
        return {"lists": {}, "bad": [], "id": 1, "size": 0}[wanted]


class TakesAPageForASuccess(ToyConnector):
    def explain(self, answer: Answer) -> PartnerError | None:
        return None if answer.status < 400 else super().explain(answer)

    def _read(self, answer: Answer, wanted: str) -> Any:
        try:
            return super()._read(answer, wanted)
        except TemporaryPartnerError:
            return {"lists": {}, "bad": [], "id": 1, "size": 0}[wanted]


class TrustsEveryShape(ToyConnector):
    def _read(self, answer: Answer, wanted: str) -> Any:
        return answer.json()[wanted]


class RefusesWhatIsTemporary(ToyConnector):
    def explain(self, answer: Answer) -> PartnerError | None:
        error = super().explain(answer)
        return error and RefusedError("no", answer.status)


class SharesStateBetweenThreads(ToyConnector):
    def add(self, upload: Upload, members: Members) -> Receipt:
        vars(self).setdefault("count", 0)
        self.count += 1
        consent = Consent(ad_user_data=self.count % 3 == 0, ad_personalization=True)
        changed = Upload(
            remote_id=upload.remote_id,
            session=upload.session * 100 + self.count + 10 * len(threading.enumerate()),
            sequence=1,
            last=True,
            total=1,
            consent=consent,
        )
        return super().add(changed, members)


class CannotBePolled(ToyConnector):
    def _receipt(self, sent: int, bad: list[int]) -> Receipt:
        return Receipt(accepted=sent, pending=True)


class SaysNonsense(ToyConnector):
    def statistics(self, remote_id: str) -> Statistics:
        return Statistics(size_lower=9, size_upper=3)


class NamesNoRecipient(ToyConnector):
    recipient = Recipient(name="", country="Ireland")


class HasNoForms(ToyConnector):
    forms: ClassVar[dict[Kind, str]] = {}


class NamesNobodyBySettings(ToyConnector):
    @classmethod
    def recipient_of(cls, settings: ConnectorSettings) -> Recipient:  # noqa: ARG003 - as declared
        return Recipient(name="", country="IE")


class ReadsWhatNobodyTells(ToyConnector):
    reads = ("lookalikes",)


class HasNoLimitBySettings(ToyConnector):
    @classmethod
    def limits_of(cls, settings: ConnectorSettings) -> Limits:  # noqa: ARG003 - as declared
        return Limits(members_per_request=40, parallel_uploads=0)


class BelievesThatNothingArrived(ToyConnector):
    def changed_nothing(self, answer: Answer) -> bool:
        return answer.status < 500


class BelievesATroubledServer(ToyConnector):
    def changed_nothing(self, answer: Answer) -> bool:
        return answer.status >= 400


SABOTAGE = {
    NamesNobodyBySettings: "test_declarations_are_sane",
    ReadsWhatNobodyTells: "test_declarations_are_sane",
    HasNoLimitBySettings: "test_limits_are_positive",
    DropsRejections: "test_counts_add_up_when_members_are_refused",
    CountsWrong: "test_everything_sent_arrives",
    NamesTheWrongMember: "test_rejections_name_the_right_members",
    LeaksTheToken: "test_errors_hold_nothing_secret",
    RepeatsThePartnersWords: "test_errors_hold_nothing_secret",
    LogsTheBody: "test_errors_hold_nothing_secret",
    Undetermined: "test_same_input_same_requests",
    DoesNotPickle: "test_pickling_changes_nothing",
    ForgetsWhenPickled: "test_pickling_changes_nothing",
    RetriesItself: "test_broken_connections_pass_through",
    IgnoresTheLimits: "test_a_full_batch_keeps_to_the_limits",
    WritesTooMuch: "test_a_full_batch_keeps_to_the_limits",
    HasNoLimit: "test_limits_are_positive",
    RemoveAdds: "test_removal_removes_exactly_those",
    SendsTheFirstIdentifierOnly: "test_everything_sent_arrives",
    AssumesConsent: "test_consent_is_never_assumed",
    SendsRawDevicesUnasked: "test_raw_device_ids_need_permission",
    KeepsRawDevices: "test_raw_device_ids_can_always_be_removed",
    ChecksByWriting: "test_check_passes_and_changes_nothing",
    ChecksNothing: "test_check_passes_and_changes_nothing",
    AlwaysMakesAList: "test_a_list_is_made_once",
    TakesAnyListOver: "test_a_list_that_is_not_ours_is_left_alone",
    TakesEverythingForASuccess: "test_errors_are_told_apart",
    TakesAPageForASuccess: "test_unreadable_answers_are_tried_again",
    TrustsEveryShape: "test_strange_answers_are_no_crash",
    RefusesWhatIsTemporary: "test_errors_are_told_apart",
    SharesStateBetweenThreads: "test_threads_do_not_disturb_each_other",
    CannotBePolled: "test_a_later_answer_can_be_polled",
    SaysNonsense: "test_statistics_are_a_range",
    NamesNoRecipient: "test_declarations_are_sane",
    HasNoForms: "test_declarations_are_sane",
    BelievesThatNothingArrived: "test_doubt_is_kept_where_something_may_have_been_done",
    BelievesATroubledServer: "test_doubt_is_kept_where_something_may_have_been_done",
}

# Where the fault stops the test before it can assert.
OTHERWISE = {
    DoesNotPickle: TypeError,
    IgnoresTheLimits: RefusedError,
    KeepsRawDevices: ConfigurationError,
}


@pytest.mark.parametrize(
    ("sabotaged", "test"), SABOTAGE.items(), ids=[kind.__name__ for kind in SABOTAGE]
)
def test_the_contract_fails_a_sabotaged_connector(sabotaged: type[Any], test: str) -> None:
    """The one test that is meant for this fault fails."""

    class Contract(ToyContract):
        connector_class = sabotaged

    with pytest.raises(OTHERWISE.get(sabotaged, (AssertionError, pytest.fail.Exception))):
        getattr(Contract(), test)()


def test_the_import_rule_bites() -> None:
    """A connector in a module that imports more than the interface is found out."""

    class Contract(ToyContract):
        connector_class = DropsRejections  # defined here, beside imports of the test kit

    with pytest.raises(AssertionError):
        Contract().test_only_the_interface_is_imported()
    ToyContract().test_only_the_interface_is_imported()
