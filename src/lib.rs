#![doc = include_str!("../README.md")]
#![cfg_attr(docsrs, feature(doc_cfg))]

mod connect;

pub use connect::{admin, connect};
pub use saga_core::*;
#[cfg(feature = "webhook")]
pub use saga_webhook as webhook;
