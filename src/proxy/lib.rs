//! `/predict`, the Open Inference Protocol below `/v2`, and the upstreams behind them.
//!
//! A request is read as far as its key, the model is chosen by the agreed state and this moment's lease, and the request
//! goes to the model's upstream, or is answered here when there is none. When the canary cannot be asked, the stable model
//! is. Nothing here waits for disk or peers, changes the routing or judges a model: what was observed is shown to those
//! who do.

mod answer;
mod body;
mod count;
mod counted;
mod entry;
mod fast;
mod given;
mod headers;
mod key;
mod leftover;
mod observe;
mod pass;
mod patience;
mod predict;
mod random;
mod recording;
mod repeats;
mod route;
mod table;
mod tester;
mod upload;
mod upstream;

pub use body::Body;
pub use entry::Entry;
pub use fast::connection::FastPath;
pub use fast::relay::Underway;
pub use given::Heard;
pub use headers::Remote;
pub use observe::Observations;
pub use predict::{Proxy, Settings};
pub use route::{METHODS, Route};
pub use tester::Testers;
pub use upload::RequestBody;
pub use upstream::address::{Upstream, UpstreamError, Upstreams, UpstreamsError};
pub use upstream::client::Timeouts;
