"""What a candidate is worth and what it costs."""
