//! The ports as a process reaches them that may die at each of their calls.
//!
//! A call about several things at once may have been made for the first of them only when the process dies; so who dies before one of them
//! has done those that come before it.

mod bus;
mod inbox;
mod log;

pub(crate) use bus::GatedBus;
pub(crate) use inbox::GatedInbox;
pub(crate) use log::Gated;

use crate::gate::{Edge, die, is_here};

/// Where in a batch this process must die, if it must before any of what is in it.
fn fatal<'a>(whats: impl IntoIterator<Item = &'a String>) -> Option<usize> {
    whats.into_iter().position(|what| is_here(Edge::Before, what))
}

/// Dies if it must after one of these, of which each was done.
fn survive<'a>(whats: impl IntoIterator<Item = &'a String>) {
    if whats.into_iter().any(|what| is_here(Edge::After, what)) {
        die();
    }
}
