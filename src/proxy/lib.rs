//! Floor 4: `/predict`, the Open Inference Protocol below `/v2`, and the upstreams behind them.
//!
//! A request is read as far as its key, the model is chosen by the agreed state and this moment's lease, and the request
//! goes to the model's upstream, or is answered here when there is none. When the canary cannot be asked, the stable model
//! is. Nothing here waits for disk or peers, changes the routing or judges a model: what was observed is shown to those
//! who do.

mod answer;
mod body;
mod count;
mod date;
mod forward;
mod headers;
mod kept;
mod key;
mod observe;
mod pass;
mod plain;
mod plan;
mod predict;
mod relay;
mod reply;
mod rewound;
mod route;
mod sent;
mod shortcut;
mod smoke;
mod tester;
mod upload;
mod upstreams;
mod way;

pub use body::Body;
pub use forward::Timeouts;
pub use headers::Remote;
pub use observe::{ModelObservations, Observations};
pub use predict::Proxy;
pub use relay::Underway;
pub use rewound::Rewound;
pub use route::{METHODS, Route};
pub use shortcut::Shortcut;
pub use upstreams::{Upstream, UpstreamError, Upstreams, UpstreamsError};

/// Any error of a body that is not this room's own.
type BoxError = Box<dyn std::error::Error + Send + Sync>;
