"""Who a partner holds, who is wanted, and the difference: partitions, state files, outbox."""
