//! What is fuzzed.

mod barrier;
mod configs;
mod envelopes;
mod names;
mod orders;
mod outbox;
mod records;
mod replay;
mod topics;
mod wires;

use crate::Target;

/// All of them.
pub const TARGETS: &[Target] = &[
    Target { name: "envelopes", what: "commands and replies, by their attributes", run: envelopes::run },
    Target { name: "kafka", what: "messages as they arrive on Kafka", run: wires::kafka },
    Target { name: "rabbit", what: "messages as they arrive on RabbitMQ", run: wires::rabbit },
    Target { name: "nats", what: "messages as they arrive on NATS", run: wires::nats },
    Target { name: "topics", what: "the list of topics on RabbitMQ", run: topics::run },
    Target { name: "names", what: "payloads, ids, topics and moments", run: names::run },
    Target { name: "records", what: "sagas as they are stored", run: records::run },
    Target {
        name: "replay",
        what: "stored entries by a stored definition, replayed and shown",
        run: replay::run,
    },
    Target { name: "barrier", what: "stored rows of the barrier, claimed and completed", run: barrier::run },
    Target { name: "outbox", what: "stored messages of the outbox", run: outbox::run },
    Target { name: "configs", what: "URLs of buses and databases", run: configs::run },
    Target { name: "orders", what: "the checkout's lines of orders", run: orders::run },
];
