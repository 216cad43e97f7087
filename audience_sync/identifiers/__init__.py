"""Identifiers: kinds, forms, and the columns that write customers in them."""
