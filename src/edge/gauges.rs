//! Counts of the connections and handshakes that are open, for `/metrics`.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Counts of what is open at the port.
#[derive(Debug, Default)]
pub struct Gauges {
    connections: AtomicU64,
    handshakes: AtomicU64,
}

impl Gauges {
    /// Connections that are open, handshakes included.
    pub fn connections(&self) -> u64 {
        self.connections.load(Ordering::Relaxed)
    }

    /// Handshakes under way.
    pub fn handshakes(&self) -> u64 {
        self.handshakes.load(Ordering::Relaxed)
    }

    pub(crate) fn connection(self: &Arc<Self>) -> Counting {
        Counting::start(self, |gauges| &gauges.connections)
    }

    pub(crate) fn handshake(self: &Arc<Self>) -> Counting {
        Counting::start(self, |gauges| &gauges.handshakes)
    }
}

/// Counts one thing as open until it is dropped.
pub(crate) struct Counting {
    gauges: Arc<Gauges>,
    gauge: fn(&Gauges) -> &AtomicU64,
}

impl Counting {
    fn start(gauges: &Arc<Gauges>, gauge: fn(&Gauges) -> &AtomicU64) -> Self {
        gauge(gauges).fetch_add(1, Ordering::Relaxed);
        Self { gauges: Arc::clone(gauges), gauge }
    }
}

impl Drop for Counting {
    fn drop(&mut self) {
        (self.gauge)(&self.gauges).fetch_sub(1, Ordering::Relaxed);
    }
}
