"""What an engine computes once: activations before the layer being decided, shared by processes and files."""
