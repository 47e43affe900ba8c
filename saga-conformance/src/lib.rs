#![doc = include_str!("../README.md")]
#![cfg_attr(docsrs, feature(doc_cfg))]

#[macro_use]
mod check;
pub mod cases;
mod child;
mod client;
pub mod proxy;
mod run;
pub mod security;
pub mod server;
mod stand;
mod suite;

pub use check::{Check, Stop};
pub use run::{Report, Verdict};
pub use stand::Stand;
pub use suite::{BrokenDeadLetters, RawThroughput, Suite, Throughput};
