//! From version 5, always; and back, unless a state is marked.

use super::{Proposal, RoutingState, audit, history, log, wire};
use crate::format::{Inexpressible, v5};
use std::convert::Infallible;

/// Both ways, for what carries states.
macro_rules! neighbours {
    ($($older:ty = $newer:ty),+ $(,)?) => { $(
        impl<'a> From<$older> for $newer {
            fn from(older: $older) -> Self {
                let Ok(newer) = older.with_state(|state| Ok::<_, Infallible>(RoutingState::from(state)));
                newer
            }
        }

        impl<'a> TryFrom<$newer> for $older {
            type Error = Inexpressible;

            fn try_from(newer: $newer) -> Result<Self, Inexpressible> {
                newer.with_state(v5::RoutingState::try_from)
            }
        }
    )+ };
}

neighbours! {
    v5::Proposal<'a> = Proposal<'a>,
    v5::wire::Message<'a> = wire::Message<'a>,
    v5::log::Record<'a> = log::Record<'a>,
    v5::log::Durable<'a> = log::Durable<'a>,
    v5::log::Snapshot<'a> = log::Snapshot<'a>,
    v5::history::Entry<'a> = history::Entry<'a>,
    v5::audit::Event<'a> = audit::Event<'a>,
    v5::audit::Line<'a> = audit::Line<'a>,
}
