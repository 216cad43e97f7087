"""The straight line: plan, deliver and poll, readable aloud."""
