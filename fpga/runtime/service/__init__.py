"""A pair of daemons that answer clients on shares: neither server, and no party of the protocol, sees an image."""
