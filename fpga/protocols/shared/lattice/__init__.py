"""Lattice encryption, and products of masks and weights under it."""
