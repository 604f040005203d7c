"""What a run came to: its results, how far two executions agree, and the page that shows both."""
