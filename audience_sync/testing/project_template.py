"""The project files that `audience-sync init` writes: a commented one, and the demonstration's."""

from __future__ import annotations

import os
from pathlib import Path

import orjson

from audience_sync.errors import ConfigurationError
from audience_sync.testing.demo_partners import DESTINATIONS, demo_secrets

DEMO_DATABASE = "customers.db"
COMMENTED_VARIABLES = ("META_ACCESS_TOKEN", "GOOGLE_CREDENTIALS")

_COMMENTED = """\
# What audience-sync shares, with whom, and under which rules.
# `audience-sync check` tells what is wrong here; `audience-sync schema` helps your editor.

project: {project}
controller: {controller}   # the company responsible for the customers; appears in records
# purpose: advertising to consenting customers   # appears in the transfer log
# timezone: Europe/Stockholm   # of all schedules; default UTC

source:
  # A SQLAlchemy URL, or a path or glob of .parquet .csv .csv.gz .ndjson files.
  # A password only by reference: postgresql://reader:${{DB_PASSWORD}}@db.internal/shop
  url: sqlite:///customers.db
  # A database is asked by a query, or by `table: customers`; files need neither.
  query: SELECT * FROM customers
  columns:                         # our name: your column; leave out what you do not have
    customer_id: id                # required: your own key, unique per row
    consent: ads_consent           # required: true/false/null, or granted, denied, withdrawn,
                                   #   objected, unknown; whoever has not granted is not shared
    consent_at: ads_consent_at     # time of that decision
    email: email
    phone: phone_number            # as people type it
    idfa: ios_ad_id                # device IDs leave only where a destination allows it
    gaid: android_ad_id
    # external_id: partner_key     # an id by which partners may know the customer
    country: country               # ISO 3166, such as SE; the region of national phone numbers
    account_status: status         # active or closed
    last_activity_at: last_purchase_at
    birth_date: birth_date
    origin: collected_through
  # hashed: {{email: email/plain}}   # kinds that you hold as SHA-256 already, and in which form

# decisions:                       # a consent log, one row per decision; the latest word wins
#   url: sqlite:///customers.db
#   query: SELECT customer_id, decision, decided_at, partner, channel FROM consent_log

policy:                            # who may be shared at all
  consent_max_age: 24 months       # older consent counts no more
  keep_after_last_activity: 3 years
  minimum_age: 18
  origins: [account, purchase, membership, newsletter, customer_service]
  default_country: SE              # for phone numbers of customers without a country

guards:                            # limits that hold a run until a person approves it, or `off`
  minimum_members: 100
  maximum_removals: 30%            # of the members leaving at once
  maximum_growth: 300%             # joining, of those held
  maximum_source_drop: 50%         # source rows gone since the last run
  maximum_unusable: 20%            # identifiers that no partner can use
  maximum_consent_drop: 30%        # fall of the consent rate since the last run

# webhooks:                        # who may send withdrawals to `audience-sync serve`
#   keys: {{shop: ${{WEBHOOK_KEY}}}}   # signs requests; `openssl rand -hex 32`

destinations:                      # accounts at partners, by a name of your own
  meta-se:
    connector: meta
    ad_account_id: "1234567890"
    access_token: ${{META_ACCESS_TOKEN}}   # secrets only as ${{VARIABLE}} or file:/path
    # app_secret: ${{META_APP_SECRET}}     # when the app asks for a proof with every request
    # allow_unhashed_device_ids: true    # Meta and Google take device IDs only unhashed
  google-se:
    connector: google
    operating_account: "1234567890"
    # login_account: "9876543210"        # the manager account, when you act through one
    credentials: ${{GOOGLE_CREDENTIALS}}   # JSON of a service account or of a user
  # `audience-sync connectors` lists the others: tiktok, snapchat, pinterest, x, webhook, rakuten

audiences:                         # groups of customers, by a name of your own
  lapsed-vip:
    title: VIP customers who have not bought since May
    # A SQL predicate over your own columns; without it, every customer.
    where: "market = 'SE' AND lifetime_value > 5000 AND last_purchase_at < '2026-05-01'"
    identifiers: [email, phone]    # default: all that the source maps
    destinations: [meta-se, google-se]   # or {{meta-se: {{remote_id: "238…"}}}} to adopt a list
    schedule: "0 3 * * *"          # cron; without it, on demand only
    # timezone: Europe/Stockholm
    # holdout: 5%                  # people who are never sent, to measure what ads bring
    # expires_after: 180 days      # members are removed at the partner after this long
    # guards: {{maximum_removals: 60%}}   # instead of those above
"""

_DEMO = """\
# The demonstration: made-up customers, and partners that run on this machine.
# Begin the partners with `audience-sync sandbox`, then try `audience-sync plan lapsed-vip`.

project: nordic-fashion
controller: Nordic Fashion AB
timezone: Europe/Stockholm

source:
  url: sqlite:///{database}
  table: customers
  columns:
    customer_id: id
    email: email
    phone: phone_number
    idfa: ios_ad_id
    gaid: android_ad_id
    country: country
    consent: ads_consent
    consent_at: ads_consent_at
    account_status: status
    last_activity_at: last_purchase_at
    birth_date: birth_date
    origin: collected_through

policy:
  consent_max_age: 24 months
  keep_after_last_activity: 3 years
  minimum_age: 18
  origins: [account, purchase, membership, newsletter, customer_service]
  default_country: SE

{destinations}
audiences:
  lapsed-vip:
    title: VIP customers who have not bought for 180 days
    where: "lifetime_value > 4000 AND last_purchase_at < date('now', '-180 days')"
    destinations: [meta-se, google-se, x-se]
    schedule: "0 3 * * *"
  newsletter-readers:
    title: Newsletter readers in the Nordic countries
    where: "collected_through = 'newsletter' AND market IN ('SE', 'NO', 'DK', 'FI')"
    destinations: [meta-se, google-se, pinterest-se, webhook-se]
    schedule: "30 3 * * *"
  all-members:
    title: Everybody who may be shared
    # TikTok and Snapchat serve no list of less than 1,000, so they get the large one.
    destinations: [meta-se, google-se, tiktok-se, snapchat-se, pinterest-se, x-se, webhook-se]
    schedule: "0 4 * * *"
    holdout: 5%

orders:                            # those that an affiliate's link led to
  url: sqlite:///{database}
  table: order_lines
  columns:
    order_id: order_number
    customer_id: customer_id
    ordered_at: ordered_at
    sku: sku
    name: article
    quantity: quantity
    amount: amount
    currency: currency
    status: status
    click_id: affiliate_click
    landed_at: clicked_at
    customer_status: new_or_existing
  amounts: major
  destinations: [rakuten-se]
  schedule: "15 * * * *"
"""


def commented_project(project: str = "my-shop", controller: str = "My Shop AB") -> str:
    """A project file to begin with, every key explained.

    It loads once the variables in `COMMENTED_VARIABLES` are set.
    """
    quoted = orjson.dumps(controller).decode()  # what JSON quotes, YAML reads
    return _COMMENTED.format(project=project, controller=quoted)


def demo_project(
    sandbox_url: str, *, database: str = DEMO_DATABASE, poll_after: float = 1.0
) -> str:
    """The demonstration's project: three audiences and orders, to every partner in a sandbox.

    Its secrets are the files that `write_demo_secrets` makes beside it.
    """
    there = DESTINATIONS.format(sandbox=sandbox_url.rstrip("/"), poll_after=poll_after)
    return _DEMO.format(destinations=there, database=database)


def write_demo_secrets(folder: Path, sandbox_url: str) -> None:
    """Write what the sandbox takes for credentials into files that only their owner may read."""
    for name, text in demo_secrets(sandbox_url.rstrip("/")).items():
        path = folder / name
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        try:
            opened = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
        except FileExistsError:
            raise ConfigurationError(f"{path} exists already; choose an empty folder") from None
        with os.fdopen(opened, "w", encoding="utf-8") as file:
            file.write(text)
