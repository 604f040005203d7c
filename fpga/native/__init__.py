"""How C becomes a library of this machine: compiled at first use, kept, tested before it is trusted."""
