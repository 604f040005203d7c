"""Kernel cycle formulas, operator latency and the lookup table."""
