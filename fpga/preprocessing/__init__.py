"""Correlated randomness made by the two parties themselves: oblivious transfer and homomorphic encryption."""
