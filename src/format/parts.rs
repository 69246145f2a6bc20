//! What the forms of the parts of a message have in common, whatever their version.

use super::{Invalid, Version, v5, v6};
use agreement::Heartbeat;
use model::Report;
use serde::Serialize;
use service::RoutingState;
use std::sync::Arc;

/// A form that is made of a room's value without a copy of what is long in it.
pub trait Form<'a>: Sized {
    /// The room's value.
    type Value: 'a;

    /// The value in this form, as far as it has words for it.
    fn of(value: &'a Self::Value) -> Self;
}

/// A form, or what was made of one, that becomes a room's value of the type `V`.
pub trait Kept<V> {
    /// The room's value. Fails when the form says what cannot be.
    fn kept(self) -> Result<V, Invalid>;
}

/// A form of the routing state, and of the reports that go with it. What carries states has the version of the states that it carries, and whether that has words
/// for them is asked before: [`Version::of`].
pub trait State<'a>: Form<'a, Value = RoutingState> + Kept<Arc<RoutingState>> + Serialize {
    /// Its version.
    const VERSION: Version;
    /// The form of reports in that version.
    type Report: Form<'a, Value = Report> + Kept<Box<Report>> + Serialize;
}

impl<'a> State<'a> for v5::RoutingState<'a> {
    const VERSION: Version = Version::V5;
    type Report = v5::Report<'a>;
}

impl<'a> State<'a> for v6::RoutingState<'a> {
    const VERSION: Version = Version::V6;
    type Report = v6::Report<'a>;
}

/// Both ways between two enums with the same variants, none of which holds anything.
macro_rules! same_words {
    ($form:ty = $room:ty { $($word:ident),+ $(,)? }) => {
        impl From<$room> for $form {
            fn from(word: $room) -> Self {
                match word { $(<$room>::$word => Self::$word),+ }
            }
        }

        impl From<$form> for $room {
            fn from(word: $form) -> Self {
                match word { $(<$form>::$word => Self::$word),+ }
            }
        }
    };
}
pub(crate) use same_words;

macro_rules! kept {
    ($($form:ty = $pointer:ident<$room:ty>),+) => { $(
        impl Kept<$pointer<$room>> for $form {
            #[inline]
            fn kept(self) -> Result<$pointer<$room>, Invalid> {
                Ok($pointer::new(self.try_into()?))
            }
        }
    )+ };
}

kept!(v5::RoutingState<'_> = Arc<RoutingState>, v6::RoutingState<'_> = Arc<RoutingState>);
kept!(v5::Heartbeat<'_> = Box<Heartbeat>);
kept!(v5::Report<'_> = Box<Report>, v6::Report<'_> = Box<Report>);
