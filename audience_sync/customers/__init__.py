"""Customers: where they are read from, what they decided, and the rules that judge them."""
