"""The way to a partner: one client, its pace, its wire, and the record of each exchange."""
