"""What a machine needs to run trials: looked at here, and on the machines of an experiment."""
