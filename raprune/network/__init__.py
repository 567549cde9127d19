"""What is pruned, and its size: the traced network, weights, surgery, low rank, costs."""
