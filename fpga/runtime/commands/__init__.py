"""The command lines of the two-party execution."""
