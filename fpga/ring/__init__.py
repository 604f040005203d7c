"""Arithmetic on Z_2^32."""
