//! What travels on the bus: messages, and the CloudEvents attributes that make one a command or a reply.

pub mod attributes;
mod command;
mod headers;
#[cfg(test)]
mod kept;
mod message;
mod reply;
mod text;

pub use command::{Command, Known, OUTPUT_BYTES_MAX};
pub use headers::Headers;
pub use malformed::Malformed;
pub use message::Message;
pub use reply::Reply;

mod malformed;
