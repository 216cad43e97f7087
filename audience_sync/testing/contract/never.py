"""What a connector never does."""

# ruff: noqa: S101 - a contract is made of assertions
from __future__ import annotations

import pickle
from concurrent.futures import ThreadPoolExecutor

import pytest

from audience_sync.connector import ConfigurationError, Members, Receipt
from audience_sync.testing.builders import made_up_members, made_up_upload
from audience_sync.testing.contract.bench import Bench

MANY = 10_000  # members; a full batch is tried up to this size


class NeverDoes(Bench):
    """Nothing is assumed, sent unasked, too much at once, or another time otherwise."""

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
