//! Floor 4: `/predict` and the upstreams behind it.
//!
//! A request is read as far as its key, the model is chosen by the agreed state and this moment's lease, and the request
//! goes to the model's upstream, or is answered here when there is none. Nothing here waits for disk or peers, changes
//! the routing or judges a model: what was observed is shown to those who do.

mod answer;
mod body;
mod date;
mod forward;
mod key;
mod observe;
mod plain;
mod plan;
mod predict;
mod rewound;
mod shortcut;
mod upstreams;

pub use body::Body;
pub use forward::Timeouts;
pub use observe::{ModelObservations, Observations};
pub use predict::Proxy;
pub use rewound::Rewound;
pub use shortcut::Shortcut;
pub use upstreams::{Upstream, UpstreamError, Upstreams, UpstreamsError};

/// Any error of a body that is not this room's own.
type BoxError = Box<dyn std::error::Error + Send + Sync>;
