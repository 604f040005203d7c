"""Two parties that execute a compiled program."""
