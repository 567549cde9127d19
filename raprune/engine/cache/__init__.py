"""What is computed only once: activations before the layer being decided, shared by processes and files."""
