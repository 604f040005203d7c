"""What a network learns from a trained one: its weights to start from, its probabilities and its features."""
