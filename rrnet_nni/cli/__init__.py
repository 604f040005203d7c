"""The `rrnet` command line."""
