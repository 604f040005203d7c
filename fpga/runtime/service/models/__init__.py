"""What a server holds for each of its models: the program, the halves of requests that wait, the pool of material."""
