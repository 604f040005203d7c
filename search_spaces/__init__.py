"""What may be chosen: gated activations and poolings in the backbones of the paper."""
