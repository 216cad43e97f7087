"""Members added, removed and removed all at once, in up to ten destinations of one request."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from audience_sync.sandbox.faults import Fault
from audience_sync.sandbox.google import fields, members
from audience_sync.sandbox.google.errors import (
    denied,
    missing,
    wrong,
    wrong_fields,
)
from audience_sync.sandbox.google.lists import UserList, UserLists
from audience_sync.sandbox.google.members import Batch
from audience_sync.sandbox.google.statuses import Outcome, Statuses, match_range
from audience_sync.sandbox.world import Reply, World

MAXIMUM_DESTINATIONS = 10
ACCOUNT_TYPES = {
    "GOOGLE_ADS",
    "DISPLAY_VIDEO_PARTNER",
    "DISPLAY_VIDEO_ADVERTISER",
    "DATA_PARTNER",
    "GOOGLE_ANALYTICS_PROPERTY",
    "GOOGLE_AD_MANAGER_AUDIENCE_LINK",
    "GOOGLE_AD_MANAGER",
    "FLOODLIGHT_CONFIG",
}
CONSENTS = {"CONSENT_GRANTED", "CONSENT_DENIED", "CONSENT_STATUS_UNSPECIFIED"}
_TYPES = {"email": "EMAIL", "phone": "PHONE_NUMBER", "address": "ADDRESS"}


class Ingestion:
    """What `audienceMembers:ingest`, `:remove` and `:removeAll` do."""

    def __init__(self, world: World, lists: UserLists, statuses: Statuses) -> None:
        self._world, self._lists, self._statuses = world, lists, statuses
        self.without_terms: set[str] = set()

    def add(self, request: dict[str, Any], batch: Batch | None, fault: Fault | None) -> Reply:
        """Put members on lists; consent decides row by row, everything else for the request."""
        fields.check(request, fields.INGEST)
        found = self._destinations(request)
        batch = batch or members.read(request)
        self._check_shape(found, batch)
        self._check_terms(request, batch, found)
        _check_consents(request.get("consent"), batch)
        _check_references(found, batch)
        _reject_values(fault, batch)
        errors = _without_consent(request.get("consent"), batch)
        errors["INVALID_MOBILE_ID_FORMAT"] = sorted(members.wrong_devices(batch))
        return self._conclude("add", request, found, batch, errors, fault)

    def remove(self, request: dict[str, Any], batch: Batch | None, fault: Fault | None) -> Reply:
        """Take members off lists."""
        fields.check(request, fields.REMOVE)
        found = self._destinations(request)
        batch = batch or members.read(request)
        self._check_shape(found, batch)
        _check_references(found, batch)
        _reject_values(fault, batch)
        return self._conclude("remove", request, found, batch, {}, fault)

    def remove_all(self, request: dict[str, Any]) -> Reply:
        """Take off whoever was last added before a time."""
        fields.check(request, fields.REMOVE_ALL)
        found = self._destinations(request)
        now = self._world.clock.now()
        moment = _moment(request["removeAsOfTime"]) if "removeAsOfTime" in request else now
        if moment > now:
            raise wrong("INVALID_REMOVE_AS_OF_TIME", "remove_as_of_time", "It is in the future.")
        validate_only = bool(request.get("validateOnly"))
        if not validate_only:
            for _, one in found:
                one.members.remove_added_before(moment)
        outcomes = [Outcome(given, 1, {"removeAllAudienceMembersStatus": {}}) for given, _ in found]
        asked = self._statuses.keep(outcomes, validate_only=validate_only)
        return Reply(content={"requestId": asked}, list_id=found[0][1].id)

    def _conclude(
        self,
        operation: str,
        request: dict[str, Any],
        found: list[tuple[dict[str, Any], UserList]],
        batch: Batch,
        errors: dict[str, list[int]],
        fault: Fault | None,
    ) -> Reply:
        """Change the lists and remember what each destination will say of it."""
        validate_only = bool(request.get("validateOnly"))
        if fault is not None and fault.kind == "reject-share":
            known = {row for rows in errors.values() for row in rows}
            errors["INVALID_FORMAT"] = [r for r in fault.rejected(batch.rows) if r not in known]
        outcomes = []
        for given, one in found:
            failing = _fails(fault, one)
            away = _addressed_elsewhere(given, batch)
            wrong_rows = {"INTERNAL_ERROR": list(range(batch.rows))} if failing else errors
            said = {
                reason: [row for row in rows if row not in away]
                for reason, rows in wrong_rows.items()
            }
            lost = away.union(*said.values())
            columns, rows = batch.without(lost), batch.rows - len(lost)
            if not validate_only and operation == "add":
                one.members.add(columns, rows, self._world.clock.now())
            elif not validate_only:
                one.members.remove(columns, rows)
            reached = batch.rows - len(away)
            block = _block(operation, batch, away, reached, rows, self._world.options.match_share)
            named = fault is not None and fault.record_indices
            outcomes.append(Outcome(given, reached, block, said, name_rows=named))
        slower = fault.seconds if fault is not None and fault.kind == "slow-processing" else 0.0
        asked = self._statuses.keep(outcomes, validate_only=validate_only, slower=slower)
        return Reply(content={"requestId": asked}, list_id=found[0][1].id, rows=batch.rows)

    def _destinations(self, request: dict[str, Any]) -> list[tuple[dict[str, Any], UserList]]:
        given = request.get("destinations", [])
        if not given:
            raise missing("destinations")
        if len(given) > MAXIMUM_DESTINATIONS:
            raise wrong("TOO_MANY_DESTINATIONS", "destinations", "At most ten destinations.")
        references = [one["reference"] for one in given if one.get("reference")]
        if len(set(references)) != len(references):
            text = "The reference is used twice."
            raise wrong("DUPLICATE_DESTINATION_REFERENCE", "destinations", text)
        return [(one, self._find(at, one)) for at, one in enumerate(given)]

    def _find(self, at: int, given: dict[str, Any]) -> UserList:
        where = f"destinations.destinations[{at}]"
        operating = given.get("operatingAccount")
        if operating is None:
            raise missing(f"{where}.operating_account")
        account = check_account(operating, f"{where}.operating_account")
        login = given.get("loginAccount", operating)
        check_account(login, f"{where}.login_account")
        self.check_access(account[1], login["accountId"])
        number = given.get("productDestinationId", "")
        if not number:
            raise missing(f"{where}.product_destination_id")
        if not number.isdigit():
            raise wrong("INVALID_NUMBER_FORMAT", f"{where}.product_destination_id", "Digits only.")
        found = self._lists.find(number)
        if found is None or found.account != account:
            text = "The account has no such list."
            raise wrong("INVALID_USER_LIST_ID", f"{where}.product_destination_id", text)
        return found

    def check_access(self, operating: str, login: str) -> None:
        """Refuse accounts that the options do not know."""
        options = self._world.options
        if options.google_accounts and operating not in options.google_accounts:
            raise denied()
        if options.google_logins and login not in options.google_logins:
            raise denied()

    @staticmethod
    def _check_shape(found: list[tuple[dict[str, Any], UserList]], batch: Batch) -> None:
        for at, (_, one) in enumerate(found):
            if one.key_type != members.SHAPES[batch.shape]:
                where = f"destinations.destinations[{at}].product_destination_id"
                raise wrong("INVALID_USER_LIST_TYPE", where, "The list takes other identifiers.")

    def _check_terms(
        self, request: dict[str, Any], batch: Batch, found: list[tuple[dict[str, Any], UserList]]
    ) -> None:
        if any(one.account[1] in self.without_terms for _, one in found):
            raise denied("ADVERTISER_TOS_NOT_ACCEPTED")
        terms = request.get("termsOfService", {}).get("customerMatchTermsOfServiceStatus")
        if batch.shape != "userIdData" and terms != "ACCEPTED":
            text = "The Customer Match terms of service must be accepted."
            raise wrong("TERMS_AND_CONDITIONS_NOT_SIGNED", "terms_of_service", text)


def _fails(fault: Fault | None, one: UserList) -> bool:
    """Whether a destination fails in the end; a fault may name the lists."""
    if fault is None or fault.kind != "final-failure":
        return False
    return not fault.values or one.id in fault.values


def check_account(account: dict[str, Any], where: str) -> tuple[str, str]:
    """The type and the number of an account, or the refusal of it."""
    kind, number = account.get("accountType", ""), account.get("accountId", "")
    if not kind or not number:
        raise missing(f"{where}.account_type" if not kind else f"{where}.account_id")
    if kind not in ACCOUNT_TYPES:
        raise wrong("INVALID_ENUM_VALUE", f"{where}.account_type", "The account type is unknown.")
    if not (number.isascii() and number.isdigit()):
        raise wrong("INVALID_NUMBER_FORMAT", f"{where}.account_id", "Digits only, no hyphens.")
    return kind, number


def _check_consents(consent: dict[str, str] | None, batch: Batch) -> None:
    for one in (consent or {}, *batch.consents.values()):
        if not set(one.values()) <= CONSENTS:
            raise wrong("INVALID_ENUM_VALUE", "consent", "The consent is unknown.")


def _check_references(found: list[tuple[dict[str, Any], UserList]], batch: Batch) -> None:
    known = {given.get("reference") for given, _ in found}
    strange = [row for row, names in batch.references.items() if not set(names) <= known]
    if strange:
        raise wrong_fields(
            [
                (
                    f"audience_members.audience_members[{row}].destination_references",
                    "No destination has this reference.",
                    "INVALID_DESTINATION",
                )
                for row in strange
            ]
        )


def _reject_values(fault: Fault | None, batch: Batch) -> None:
    """Refuse the request for rows that a fault names, as if their hashes were wrong."""
    if fault is None or fault.kind != "reject-values":
        return
    wanted = set(fault.values)
    rows = set(fault.rejected(batch.rows))
    for column in batch.columns.values():
        rows |= {row for value, row in zip(*column, strict=True) if value in wanted}
    if rows:
        reason = "INVALID_SHA256_FORMAT"
        raise wrong_fields(
            [
                (members.path(row, batch.shape), "The identifier is not usable.", reason)
                for row in sorted(rows)
            ]
        )


def _without_consent(consent: dict[str, str] | None, batch: Batch) -> dict[str, list[int]]:
    """Rows that are accepted but not used, by the reason that the status will tell."""
    reasons: dict[str, list[int]] = {}
    general = _consent_trouble(consent)
    if general is None and not batch.consents:
        return reasons
    for row in range(batch.rows):
        own = batch.consents.get(row)
        trouble = general if own is None else _consent_trouble(own)
        if trouble is not None:
            reasons.setdefault(trouble, []).append(row)
    return reasons


def _consent_trouble(consent: dict[str, str] | None) -> str | None:
    if not consent:
        return "NO_CONSENT"
    said = [consent.get(name) for name in ("adUserData", "adPersonalization")]
    if "CONSENT_DENIED" in said:
        return "DENIED_CONSENT"
    if None in said:
        return "NO_CONSENT"
    return "UNKNOWN_CONSENT" if "CONSENT_STATUS_UNSPECIFIED" in said else None


def _addressed_elsewhere(given: dict[str, Any], batch: Batch) -> set[int]:
    name = given.get("reference")
    return {row for row, names in batch.references.items() if name not in names}


def _block(
    operation: str, batch: Batch, away: set[int], reached: int, used: int, share: float
) -> dict[str, Any]:
    """The counts of one destination; the record count includes what failed."""
    columns = batch.without(away)
    cells = sum(len(column.values) for column in columns.values())
    counts: dict[str, Any] = {"recordCount": str(reached)}
    kind, name = {
        "mobileData": ("mobileData", "mobileIdCount"),
        "userIdData": ("userIdData", "userIdCount"),
    }.get(batch.shape, ("userData", "userIdentifierCount"))
    if operation == "remove":
        counts[name] = str(cells)
        return {"audienceMembersRemovalStatus": {f"{kind}RemovalStatus": counts}}
    if batch.shape == "compositeData":
        kind = "compositeData"
        counts["dataTypeCounts"] = [
            {"type": _TYPES[kind], "count": str(len(column.values))}
            for kind, column in columns.items()
        ]
    else:
        counts[name] = str(cells)
    if batch.shape in members.HASHED_SHAPES:
        counts["uploadMatchRateRange"] = match_range(used * share, share)
    return {"audienceMembersIngestionStatus": {f"{kind}IngestionStatus": counts}}


def _moment(text: str) -> float:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise wrong("INVALID_REMOVE_AS_OF_TIME", "remove_as_of_time", "Not a time.") from None
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
