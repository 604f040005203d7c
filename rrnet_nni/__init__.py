"""RRNet: ReLU-reduced neural architecture search for two-party private inference, as an extension of NNI."""

__version__ = "0.1.0"
