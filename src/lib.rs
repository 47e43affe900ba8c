//! Durable sagas.
#![cfg_attr(docsrs, feature(doc_cfg))]

pub use saga_core::*;
#[cfg(feature = "webhook")]
pub use saga_webhook as webhook;
