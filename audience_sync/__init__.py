"""Consenting customers to ad partners, hashed; withdrawals taken back; every transfer logged."""
