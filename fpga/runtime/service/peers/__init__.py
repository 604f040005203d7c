"""What the two daemons do together over their link: executions in lanes, and material made ahead of demand."""
