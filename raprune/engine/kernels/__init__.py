"""How a convolution of masked networks is computed: the arithmetic, and who picks the fastest."""
