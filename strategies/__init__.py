"""How a space is searched: Algorithm 1, its rivals, and the tuner of λ."""
