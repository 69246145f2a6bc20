//! Messages as bytes: an encoder and a decoder for every version.
//!
//! Most of what is written is a state or a heartbeat, and their forms are long. So one is made in the moment in which it is
//! written, and taken apart in the moment in which it is read, instead of being handed on within the form of the message.
//! That matters to a simulation, a tenth of whose work this is.

use super::v5::wire;
use super::{Form, Inexpressible, Invalid, Kept, State, Unreadable, Version, v5, v6};
use agreement::Heartbeat;
use model::Report;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use service::{Message, RoutingState};
use std::marker::PhantomData;
use std::sync::Arc;

/// Room for most messages, in bytes, so that few have to be moved while they are written down.
const USUAL: usize = 512;

/// The bytes of a message. Fails when `version` has no words for it.
pub fn encode(message: &Message, version: Version) -> Result<Vec<u8>, Inexpressible> {
    match version {
        Version::V5 => written::<v5::RoutingState<'_>>(message),
        Version::V6 => written::<v6::RoutingState<'_>>(message),
    }
}

/// The message in these bytes, all of which it must take. Fails when they are no message of this version.
pub fn decode(bytes: &[u8], version: Version) -> Result<Message, Unreadable> {
    match version {
        Version::V5 => read::<v5::RoutingState<'_>, v5::Report<'_>>(bytes),
        Version::V6 => read::<v6::RoutingState<'_>, v6::Report<'_>>(bytes),
    }
}

fn written<'a, S: State<'a>>(message: &'a Message) -> Result<Vec<u8>, Inexpressible> {
    message.value().map_or(Ok(()), |state| S::VERSION.check(state))?;
    let form =
        wire::Message::<'a, Leaving<'a, S>, Leaving<'a, v5::Heartbeat<'a>>, Leaving<'a, S::Report>>::from(message);
    let mut serializer = postcard::Serializer { output: Growing(Vec::with_capacity(USUAL)) };
    form.serialize(&mut serializer).expect("each part of a message has a length and a form in postcard");
    Ok(serializer.output.0)
}

/// A message of which the long parts are a room's already.
type Direct<'a, S, R> = wire::Message<
    'a,
    Entering<Arc<RoutingState>, S>,
    Entering<Box<Heartbeat>, v5::Heartbeat<'a>>,
    Entering<Box<Report>, R>,
>;

fn read<'de, S, R>(bytes: &'de [u8]) -> Result<Message, Unreadable>
where
    S: Kept<Arc<RoutingState>> + Deserialize<'de>,
    R: Kept<Box<Report>> + Deserialize<'de>,
{
    match postcard::take_from_bytes::<Direct<'de, S, R>>(bytes) {
        Ok((form, [])) => Ok(form.try_into()?),
        Ok((_, rest)) => Err(Unreadable::Surplus(rest.len())),
        Err(error) => Err(error.into()),
    }
}

/// The vector that a message is written to: postcard's own takes in byte after byte also where it is given many.
struct Growing(Vec<u8>);

impl postcard::ser_flavors::Flavor for Growing {
    type Output = Vec<u8>;

    #[inline]
    fn try_push(&mut self, byte: u8) -> postcard::Result<()> {
        self.0.push(byte);
        Ok(())
    }

    #[inline]
    fn try_extend(&mut self, bytes: &[u8]) -> postcard::Result<()> {
        // Most numbers are short, and take a byte: less than it takes to call for a copy.
        match bytes {
            [byte] => self.0.push(*byte),
            _ => self.0.extend_from_slice(bytes),
        }
        Ok(())
    }

    fn finalize(self) -> postcard::Result<Vec<u8>> {
        Ok(self.0)
    }
}

/// A room's value that is written in the form `F`.
struct Leaving<'a, F: Form<'a>>(&'a F::Value);

impl<'a, F: Form<'a>> Form<'a> for Leaving<'a, F> {
    type Value = F::Value;

    #[inline]
    fn of(value: &'a F::Value) -> Self {
        Self(value)
    }
}

impl<'a, F: Form<'a> + Serialize> Serialize for Leaving<'a, F> {
    #[inline]
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        F::of(self.0).serialize(serializer)
    }
}

/// A room's value of the type `V` that was read in the form `F`, or why there is none: postcard would say no more than
/// that something is wrong.
struct Entering<V, F>(Result<V, Invalid>, PhantomData<F>);

impl<'de, V, F: Kept<V> + Deserialize<'de>> Deserialize<'de> for Entering<V, F> {
    #[inline]
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Self(F::deserialize(deserializer)?.kept(), PhantomData))
    }
}

impl<V, F> Kept<V> for Entering<V, F> {
    #[inline]
    fn kept(self) -> Result<V, Invalid> {
        self.0
    }
}
