//! Floor 1: what a model's requests looked like over the last while; pure.
