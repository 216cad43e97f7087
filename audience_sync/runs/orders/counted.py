"""Compare the order lines that a partner shows with what we know we reported of them."""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl

from audience_sync.ledger.ledger import Ledger
from audience_sync.runs.orders.keys import OrderKeys

_SHOWN = ("order_id", "sku", "quantity", "amount", "currency")


def unlike(
    ledger: Ledger, keys: OrderKeys, destination: str, shown: Sequence[Sequence[str]]
) -> tuple[int, int]:
    """How many lines only the partner counts, and how many only we do, both by their sums.

    A line is shown as order, article, quantity, amount in minor units, currency. Lines of orders
    that the partner shows nothing of are counted as one each: our ledger knows no names.
    """
    lines = pl.DataFrame(shown, schema=dict.fromkeys(_SHOWN, pl.String()), orient="row")
    written = lines.select(
        line=keys.fingerprints(lines, "order_id", "sku", "currency"),
        quantity=pl.col("quantity").cast(pl.Int64),
        amount=pl.col("amount").cast(pl.Int64),
    )
    theirs = set(written.iter_rows())
    orders = keys.fingerprints(lines, "order_id").unique()
    known = ledger.reported(destination, [bytes.fromhex(order) for order in orders])
    held = [one for one in known if one.quantity or one.amount]
    ours = {(one.line.hex(), one.quantity, one.amount) for one in held}
    unseen = ledger.reported_orders(destination) - len({one.of_order for one in held})
    return len(theirs - ours), len(ours - theirs) + unseen
