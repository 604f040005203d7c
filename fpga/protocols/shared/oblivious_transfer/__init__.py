"""Oblivious transfer and its extension, and what the parties make of it."""
