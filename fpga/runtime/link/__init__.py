"""The link between two parties: addresses, TLS, framed messages."""
