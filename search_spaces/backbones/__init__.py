"""The backbones that are searched."""
