"""Two-party protocols: what each costs and what each does."""
