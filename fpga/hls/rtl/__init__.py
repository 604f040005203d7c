"""Verilog twins of the accelerator's hot kernels, and what it takes to simulate and synthesise them."""
