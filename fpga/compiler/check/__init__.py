"""Whether a build's instructions compute its program, found from its files alone."""
