"""Order reporting: select, judge, reference, diff, guard, outbox, deliver."""
