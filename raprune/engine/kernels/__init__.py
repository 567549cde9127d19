"""How a convolution is computed: the arithmetic, and who picks the fastest."""
