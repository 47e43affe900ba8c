//! Durable sagas.
pub use saga_core::*;
