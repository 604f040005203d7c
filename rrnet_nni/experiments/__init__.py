"""An NNI experiment from its file to its end: checked, started, followed, finished, and what one trial of it does."""
