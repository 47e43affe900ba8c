#![doc = include_str!("../README.md")]
#![cfg_attr(docsrs, feature(doc_cfg))]

mod bus;
mod config;
mod connect;
mod error;
#[cfg(feature = "fuzz")]
#[cfg_attr(docsrs, doc(cfg(feature = "fuzz")))]
pub mod fuzz;
mod names;
mod operate;
mod publish;
mod security;
mod settle;
mod subscribe;
mod topology;
mod wire;

pub use bus::NatsBus;
pub use config::NatsConfig;
