//! The completion call of `saga-rs` over HTTP: a POST for every saga that has ended.
//!
//! ```
//! use saga_core::ports::Ended;
//! use saga_webhook::Webhook;
//!
//! let webhook = Webhook::post("http://shop.example/orders/done")?
//!     .header("authorization", "Bearer 7f3a")?
//!     .body(|ended: &Ended| format!("{}: all task complete", ended.key.id));
//! # Ok::<(), saga_core::Error>(())
//! ```
//!
//! # What is sent
//! `POST`, with the body that [`Webhook::body`] makes, `content-type: text/plain; charset=utf-8` unless set otherwise,
//! `idempotency-key` with the id of the call, and `traceparent` when the saga was started in a trace. The id is the same for every
//! repeat: whoever receives the call deduplicates by it.
//!
//! # What the answer means
//! | answer | the saga |
//! |---|---|
//! | 2xx | records the call as answered |
//! | 408, 425, 429, 5xx, no answer in time, no connection | calls again, with backoff |
//! | 3xx | records a refusal: a redirect is never followed, since it would take the headers' secrets elsewhere |
//! | anything else, 410 among them | records a refusal, which alerts and waits for an operator |
//!
//! The saga does the repeating, durably; this crate makes one attempt. Of the answer only the status counts, and for a redirect its
//! location. At most 16 KiB of its body are read, only to use the connection again.
//!
//! # Secrets
//! Header values, and the user, password and query of the URL, are in no error and no `Debug` output. The URL's host and path are.
//!
//! # Features
//! - `tls`: HTTPS by rustls, trusting the roots of the operating system (or those that `SSL_CERT_FILE` names).
//!
//! # Why hyper-util
//! Its client is the one inside reqwest, by the same maintainers; without reqwest's URL parser, redirects and decoding the
//! dependency tree is about a third as large, and none of them is wanted here.
#![cfg_attr(docsrs, feature(doc_cfg))]

mod answer;
mod target;
mod transport;
mod webhook;

pub use webhook::Webhook;
