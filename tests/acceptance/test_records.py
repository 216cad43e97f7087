"""`records`: what Art. 30 asks, for each destination, from the project file and the connectors."""

from __future__ import annotations

from collections.abc import Callable

from shop import Shop, people

RECORDS = (
    "records: {contact: privacy@corner.example, legal_basis: 'consent, Art. 6(1)(a)', "
    "safeguards: 'standard contractual clauses'}\n"
)


def test_every_destination_has_its_part(open_shop: Callable[..., Shop]) -> None:
    """As JSON, as text of 80 columns, and as Markdown; nothing is sent for it."""
    shop = open_shop(people(3), change=lambda text: text + RECORDS)
    found = {
        each["destination"]: each for each in shop.must("records", "--json").json["activities"]
    }
    assert set(found) == {"meta-se", "google-se"}
    meta = found["meta-se"]
    assert meta["controller"] == "Corner Shop AB"
    assert meta["recipient"] == "Meta Platforms Ireland Limited"
    assert meta["country"] == "IE"
    assert meta["outside_eea"].startswith("none to Meta")
    assert meta["contact"] == "privacy@corner.example"
    assert "records.protection_officer" in meta["protection_officer"]
    assert any("e-mail addresses, hashed" in data for data in meta["data"])
    assert any("phone numbers, hashed" in data for data in meta["data"])
    assert {audience.partition(":")[0] for audience in meta["audiences"]} == {"everyone", "swedes"}
    assert (
        "at the recipient: members stay on a list until they are taken off; what it matched: "
        in ("\n".join(meta["retention"]))
    )
    google = "members leave a list 540 days after they were last sent, at the latest"
    kept = f"at the recipient: {google}; what it matched: by its own terms"
    assert kept in found["google-se"]["retention"]
    told = shop.must("records").out
    assert max(len(line.rstrip()) for line in told.splitlines()) <= 80
    assert "legal basis" in told
    page = shop.must("records", "--markdown").out
    assert page.startswith("# Record of processing activities: corner-shop")
    assert "| recipient | Meta Platforms Ireland Limited |" in page
    assert shop.journal() == []


def test_a_transfer_to_a_third_country_names_its_safeguards(
    open_shop: Callable[..., Shop],
) -> None:
    """And says which key is missing where there are none."""

    def abroad(text: str) -> str:
        more = (
            "  partner:\n    connector: webhook\n    base_url: https://partner.example\n"
            "    recipient_name: Partner Inc\n    recipient_country: US\n    minimum_audience: 0\n"
            "    identifiers: {email: email/plain}\n    secret: file:secrets/partner\n"
        )
        return text.replace("audiences:\n", f"{more}audiences:\n", 1).replace(
            "[meta-se, google-se]", "[meta-se, partner]"
        )

    shop = open_shop(people(3), change=abroad)
    (shop.folder / "secrets" / "partner").write_text("p" * 32)
    [partner] = [
        each
        for each in shop.must("records", "--json").json["activities"]
        if each["destination"] == "partner"
    ]
    assert partner["outside_eea"] == "to US; safeguards not stated; write records.safeguards"
    shop.project.write_text(shop.project.read_text() + RECORDS)
    assert "to US; standard contractual clauses" in shop.must("records", "--json").out
