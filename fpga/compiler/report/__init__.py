"""What a build says of itself, as data and as a page."""
