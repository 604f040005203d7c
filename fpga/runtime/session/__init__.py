"""Two parties together: an inference, or the making of material, from agreement to result."""
