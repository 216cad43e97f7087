"""Work cut into pieces that any number of workers share; the ledger knows what is done."""
