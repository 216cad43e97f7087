"""The project file of the shop that is attacked: every partner, every section that holds values."""

from __future__ import annotations

PROJECT = """\
project: redteam
controller: Corner Shop AB
source:
  url: sqlite:///shop.db
  table: customers
  columns: {{customer_id: id, email: email, phone: phone, idfa: idfa, gaid: gaid,
    external_id: loyalty_hash, consent: consent, consent_at: consent_at, birth_date: born,
    last_activity_at: active, account_status: status, origin: origin}}
  hashed: {{external_id: external-id/plain}}
decisions: {{url: "sqlite:///shop.db", table: decisions}}
policy: {{default_country: SE, minimum_age: 18, keep_after_last_activity: 3 years}}
guards: {{minimum_members: off, maximum_removals: off, maximum_growth: off,
  maximum_source_drop: off, maximum_unusable: off, maximum_consent_drop: off}}
webhooks:
  keys: {{shop: "${{SHOP_KEY}}"}}
  onetrust: {{keys: {{first: "${{ONETRUST_KEY}}"}}, purposes: {{marketing: all}}}}
  usercentrics: {{authorization: ["${{USERCENTRICS}}"], purposes: {{marketing: [meta]}}}}
canaries:
  bird: {{email: {bird_email}, phone: "{bird_phone}"}}
destinations:
  meta-se:
    connector: meta
    base_url: {url}/meta
    ad_account_id: "1234567890"
    access_token: ${{META_TOKEN}}
    app_secret: ${{META_APP_SECRET}}
    send_external_id: true
    allow_unhashed_device_ids: true
  google-se:
    connector: google
    base_url: {url}/google
    operating_account: "1234567890"
    credentials: file:secrets/google.json
    allow_unhashed_device_ids: true
    ios_app_id: "123456789"
    android_app_id: com.example.shop
    poll_after: 0.01
  tiktok-se:
    connector: tiktok
    base_url: {url}/tiktok
    advertiser_id: "7000000000000000001"
    access_token: ${{TIKTOK_TOKEN}}
  snapchat-se:
    connector: snapchat
    base_url: {url}/snapchat
    token_url: {url}/snapchat/login/oauth2/access_token
    ad_account_id: 422ef6f5-0000-4000-8000-000000000001
    client_id: sandbox-client
    client_secret: ${{SNAPCHAT_SECRET}}
    refresh_token: ${{SNAPCHAT_REFRESH}}
  pinterest-se:
    connector: pinterest
    base_url: {url}/pinterest/v5
    ad_account_id: "549756359984"
    app_id: sandbox-app
    app_secret: ${{PINTEREST_SECRET}}
    refresh_token: ${{PINTEREST_REFRESH}}
    poll_after: 0.01
  x-se:
    connector: x
    base_url: {url}/x
    account_id: 18ce54d4x5t
    consumer_key: file:secrets/x-consumer-key
    consumer_secret: ${{X_CONSUMER_SECRET}}
    access_token: ${{X_ACCESS_TOKEN}}
    access_token_secret: ${{X_ACCESS_TOKEN_SECRET}}
  webhook-se:
    connector: webhook
    base_url: {url}/webhook/shop
    recipient_name: Partner GmbH
    recipient_country: DE
    minimum_audience: 0
    identifiers: {{email: email/plain, phone: phone/e164, idfa: device/lower, gaid: device/lower,
      external_id: external-id/plain}}
    secret: ${{WEBHOOK_SECRET}}
    headers: {{X-Api-Key: "${{WEBHOOK_API_KEY}}"}}
    answer: {{rejected: rejected, key: index, reason: code, accepted: accepted}}
  rakuten-se:
    connector: rakuten
    base_url: {url}/rakuten
    merchant_id: "37978"
  rakuten-files:
    connector: rakuten
    merchant_id: "37979"
    send_by: sftp
    sftp: {{host: "{host}", port: {port}, host_key: "{host_key}", username: {username},
      password: "${{SFTP_PASSWORD}}", folder: {folder}}}
audiences:
  everyone:
    destinations: [meta-se, google-se, tiktok-se, snapchat-se, pinterest-se, x-se, webhook-se]
  north:
    where: "market = '{market}' AND value > 900000.53"
    destinations: [meta-se, webhook-se]
    schedule: "0 3 * * *"
orders:
  url: sqlite:///shop.db
  table: order_lines
  columns: {{order_id: number, customer_id: customer, ordered_at: at, sku: article, name: title,
    quantity: quantity, amount: total, currency: currency, status: status, click_id: click,
    landed_at: landed, customer_status: kind}}
  amounts: major
  destinations: [rakuten-se, rakuten-files]
"""
