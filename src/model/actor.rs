//! Who asked for a change, for history and audit.

use serde::Serialize;
use std::fmt;

/// The identity behind a request, as its certificate proves it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize)]
pub struct Actor {
    /// The path of the SPIFFE id, `operator/admin`.
    pub id: String,
    /// The certificate's serial number in lower-case hexadecimal.
    pub serial: String,
    /// The address the request came from, `10.0.0.9:51234`.
    pub remote: String,
}

impl fmt::Display for Actor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.id)
    }
}
