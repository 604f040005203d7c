"""Task and experiment files to begin with."""
