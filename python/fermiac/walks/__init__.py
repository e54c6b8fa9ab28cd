"""History-driven random walks on graphs."""
