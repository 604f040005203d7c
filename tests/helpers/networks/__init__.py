"""Networks that several tests share: by hand, at random, small."""
