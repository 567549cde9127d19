"""What the machine around raprune does: paths, files, standard output, signals."""
