"""What the ledger remembers, as frozen values: runs, batches, lists, leases, transfer lines."""
