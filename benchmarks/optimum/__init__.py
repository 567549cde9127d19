"""The true optimum of small layers: all 2^N masks scored once, and how near methods come to it."""
