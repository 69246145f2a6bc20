//! Floor 5: configuration and assembly of one node.
