//! The rules by which sagas wake, keep going and keep their identity: one test each, which fails without its rule.

mod callback;
mod deadlines;
mod gathering;
mod identity;
mod log;
mod operators;
mod recovery;
mod rig;
mod room;
mod several;
