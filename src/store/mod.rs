//! Floor 2: what a member must not forget, on disk.
