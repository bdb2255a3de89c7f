"""Parts of the benchmark of the connection."""
