"""What the machine around raprune gives: paths, standard output, signals, object stores."""
