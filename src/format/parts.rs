//! What the forms of the parts of a message have in common, whatever their version.

use super::{Inexpressible, Invalid, Version, v5, v6};
use crate::commit::Heartbeat;
use crate::model::RoutingState;
use std::sync::Arc;

/// A form that is made of a room's value without a copy of what is long in it.
pub trait Form<'a>: Sized {
    /// The room's value.
    type Value: 'a;

    /// The value in this form, as far as it has words for it.
    fn of(value: &'a Self::Value) -> Self;
}

/// A form of the routing state. What carries states has the version of the states that it carries.
pub trait State {
    /// Its version.
    const VERSION: Version;

    /// Whether it has words for all of `state`.
    ///
    /// # Errors
    /// When it has not.
    fn check(state: &RoutingState) -> Result<(), Inexpressible>;
}

/// A form, or what was made of one, that becomes a room's value of the type `V`.
pub trait Kept<V> {
    /// The room's value.
    ///
    /// # Errors
    /// When the form says what cannot be.
    fn kept(self) -> Result<V, Invalid>;
}

impl Kept<Arc<RoutingState>> for v5::RoutingState<'_> {
    #[inline]
    fn kept(self) -> Result<Arc<RoutingState>, Invalid> {
        self.try_into().map(Arc::new)
    }
}

impl Kept<Arc<RoutingState>> for v6::RoutingState<'_> {
    #[inline]
    fn kept(self) -> Result<Arc<RoutingState>, Invalid> {
        self.try_into().map(Arc::new)
    }
}

impl Kept<Box<Heartbeat>> for v5::Heartbeat<'_> {
    #[inline]
    fn kept(self) -> Result<Box<Heartbeat>, Invalid> {
        self.try_into().map(Box::new)
    }
}
