"""The ledger: what audience-sync remembers of runs, lists, leases and transfers."""
