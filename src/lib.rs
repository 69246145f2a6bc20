//! Atomic canary rollouts across machines.
//!
//! The house has floors; a room imports downward only.
//!
//! | floor | rooms | what holds there |
//! |---|---|---|
//! | 0 | [`model`] | plain values, parsed once and valid from then on |
//! | 1 | [`commit`], [`health`], [`rollout`], [`routing`] | pure: no files, no sockets, no clock, no randomness |
//! | 2 | [`store`], [`pki`], [`tls`], [`mesh`], [`audit`], [`crash`] | one kind of outside world each: disk, certificates, TLS, peers, the record; and where tests end it |
//! | 3 | [`driver`] | owns the engine and the controller, carries out what they say in order |
//! | 4 | [`api`], [`proxy`] | what HTTPS clients see |
//! | 5 | [`node`] | configuration and assembly of one node |
//! | 6 | [`cli`] | one command, one file |

pub mod api;
pub mod audit;
pub mod cli;
pub mod commit;
pub mod crash;
pub mod driver;
pub mod format;
pub mod health;
pub mod mesh;
pub mod model;
pub mod node;
pub mod pki;
pub mod proxy;
pub mod rollout;
pub mod routing;
pub mod store;
pub mod tls;
