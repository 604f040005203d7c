"""From real numbers to words: calibration, formats, rings, lowering, certificate."""
