"""The accelerator for Vitis HLS."""
