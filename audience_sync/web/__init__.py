"""The web room: how withdrawals come in by HTTP, from consent platforms and from shops."""
