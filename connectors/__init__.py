"""The partners that audience-sync ships: one file each, all of them plugins."""
