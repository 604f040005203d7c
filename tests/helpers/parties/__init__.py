"""Parties, servers and commands in processes of their own, and networks small enough for them."""
