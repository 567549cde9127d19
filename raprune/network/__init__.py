"""What is pruned, and what it costs: graph, weights, surgery, low rank, sizes."""
