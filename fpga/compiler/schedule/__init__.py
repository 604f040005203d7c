"""From a program to the accelerator's instructions: tiles, jobs, order, operands."""
