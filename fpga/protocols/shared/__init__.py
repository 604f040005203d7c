"""What several protocols use: planes, digits, pooling tree, randomness, preparation without a dealer."""
