//! The barrier's state machine.
