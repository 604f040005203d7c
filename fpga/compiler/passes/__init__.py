"""Small passes over the graph, each `apply(graph) -> (graph, changed)`."""
