//! Floor 2: mutually authenticated links to all peers.
