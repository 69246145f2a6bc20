//! Floor 4: `/predict` and the upstreams behind it.
