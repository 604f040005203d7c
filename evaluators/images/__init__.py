"""The images that networks learn from: datasets by name, in memory or in files, as batches, in parts and halves."""
