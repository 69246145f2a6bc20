"""What the benchmarks share: a place to work in, the two clusters, bare clients, a small network, and the table."""
