//! What adapters to brokers have in common: URLs and settings, secrets, health, backing off, and the bookkeeping of deliveries. For
//! authors of adapters, the library's own and others (feature `adapter`).

mod backoff;
mod client_settings;
mod deliveries;
mod health;
mod ordered;
mod partition;
mod secret;
mod stages;
mod url;

pub use backoff::Backoff;
pub use client_settings::ClientSettings;
pub use deliveries::{Arrived, Deliveries, Taken};
pub use health::HealthBoard;
pub use ordered::publish_in_order;
pub use partition::{murmur2, partition_of};
pub use secret::Secret;
pub use stages::{Stage, Stages};
pub use url::BusUrl;
