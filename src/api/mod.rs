//! Floor 4: what HTTPS clients see: routes, JSON shapes, problems.
