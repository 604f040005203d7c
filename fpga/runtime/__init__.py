"""Two parties that execute a compiled program: link, material, session, commands."""
