"""Correlated randomness on disk: made, kept, and used once."""
