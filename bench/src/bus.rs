//! `bench bus`: what our adapter publishes and consumes in a second, beside the broker's own client, in turns.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures::StreamExt;
use futures::stream;
use saga_core::Message;
use saga_core::ports::{
    Declaration, Delivery, Group, GroupStart, Published, Settled, SubscriptionSpec, TopicKind,
};
use saga_core::record::Topic;
use serde_json::json;

use crate::broker::Broker;
use crate::durable::{probe, runtime};
use crate::effort::Effort;
use crate::process::cpu_time;
use crate::raw::{Kafka, Nats, Outgoing, Rabbit, Raw, Reader};
use crate::sides::Side;
use crate::spread::Spread;

const MESSAGE_BYTES: usize = 300;
/// How many messages are handed over at once, and how many such batches may be unanswered.
const BATCH: u64 = 256;
const BATCHES_UNANSWERED_MAX: usize = 16;
const UNSETTLED_MAX: u16 = 4_096;
const READ_MAX: usize = 512;
const TOPIC: &str = "messages";
const GROUP: &str = "readers";

/// Messages in a second, and this process's CPU time for each, in µs.
#[derive(Clone, Copy)]
struct Rate {
    per_second: f64,
    cpu_us: f64,
}

/// Of one run: publishing, then consuming.
type Rates = [Rate; 2];
const PARTS: [&str; 2] = ["publish", "consume"];

pub(crate) fn run(broker: Broker, url: &str, effort: Effort) {
    runtime().block_on(measure(broker, url, effort));
}

async fn measure(broker: Broker, url: &str, Effort { rounds, messages, .. }: Effort) {
    let promise = match broker {
        Broker::Kafka => Kafka::open(url).await.promise(),
        Broker::Rabbit => Rabbit::open(url).await.promise(),
        Broker::Nats => Nats::open(url).await.promise(),
    };
    println!(
        "saga-rs {}; {promise}; {messages} messages of {MESSAGE_BYTES} B, published all, then consumed all; {rounds} rounds",
        env!("CARGO_PKG_VERSION")
    );
    let before = probe();
    let (mut raw, mut ours) = (Vec::new(), Vec::new());
    for round in 1..=rounds {
        for (side, runs) in [(Side::Raw, &mut raw), (Side::Ours, &mut ours)] {
            eprint!("\rround {round} of {rounds}: {:<10}", side.name());
            let prefix = format!("bus-{}-{round}-{}.", std::process::id(), side.name());
            runs.push(one(broker, url, side, &prefix, messages).await);
        }
    }
    eprint!("\r{:40}\r", "");
    let after = probe();
    // What a client has read ahead before the first message is taken costs nothing here; Kafka's reads most of them.
    let is_fair = |(_, name): &(usize, &&str)| !matches!(broker, Broker::Kafka) || **name != "consume";
    let parts = PARTS.iter().enumerate().filter(is_fair).map(|(part, name)| {
        let of = |runs: &[Rates], figure: fn(&Rate) -> f64| Spread::of(runs.iter().map(|run| figure(&run[part])));
        let pairs = ours.iter().zip(&raw);
        let ratio = Spread::of(pairs.map(|(ours, raw)| ours[part].per_second / raw[part].per_second));
        let (raw_rate, ours_rate) = (of(&raw, |it| it.per_second), of(&ours, |it| it.per_second));
        let (raw_cpu, ours_cpu) = (of(&raw, |it| it.cpu_us), of(&ours, |it| it.cpu_us));
        println!(
            "{name}: raw {raw_rate:.0}/s, {raw_cpu:.1} µs CPU a message; ours {ours_rate:.0}/s, {ours_cpu:.1} µs; ours ÷ raw {ratio:.2}"
        );
        json!({ "part": name, "raw_per_second": raw_rate.json(), "ours_per_second": ours_rate.json(), "raw_cpu_us": raw_cpu.json(),
                "ours_cpu_us": ours_cpu.json(), "ratio": ratio.json() })
    });
    let parts: Vec<_> = parts.collect();
    println!("fdatasync, p50 of 100: {before:.1?} before, {after:.1?} after");
    println!(
        "{}",
        json!({ "benchmark": "bus", "bus": broker.name(), "promise": promise, "rounds": rounds, "messages": messages, "bytes": MESSAGE_BYTES,
                "parts": parts, "fdatasync_us": [before.as_micros() as u64, after.as_micros() as u64] })
    );
}

async fn one(broker: Broker, url: &str, side: Side, prefix: &str, messages: u64) -> Rates {
    match (side, broker) {
        (Side::Ours, _) => ours(broker, url, prefix, messages).await,
        (Side::Raw, Broker::Kafka) => raw::<Kafka>(url, prefix, messages).await,
        (Side::Raw, Broker::Rabbit) => raw::<Rabbit>(url, prefix, messages).await,
        (Side::Raw, Broker::Nats) => raw::<Nats>(url, prefix, messages).await,
    }
}

/// Measures from here until it is asked.
struct Watch(Instant, Duration);

impl Watch {
    fn start() -> Self {
        Self(Instant::now(), cpu_time())
    }

    fn rate(&self, messages: u64) -> Rate {
        let (took, cpu) = (self.0.elapsed(), cpu_time() - self.1);
        let count = messages as f64;
        Rate { per_second: count / took.as_secs_f64(), cpu_us: cpu.as_secs_f64() * 1e6 / count }
    }
}

/// The messages of a run, in batches.
fn batches(messages: u64) -> impl Iterator<Item = std::ops::Range<u64>> {
    (0..messages).step_by(BATCH as usize).map(move |first| first..messages.min(first + BATCH))
}

fn payload(nth: u64) -> Bytes {
    let mut payload = nth.to_be_bytes().to_vec();
    payload.resize(MESSAGE_BYTES, b'x');
    payload.into()
}

/// Which messages have come: each counts once.
struct Seen(Vec<bool>, u64);

impl Seen {
    fn none(messages: u64) -> Self {
        Self(vec![false; usize::try_from(messages).expect("they fit in memory")], messages)
    }

    fn see(&mut self, payload: &[u8]) {
        let nth = u64::from_be_bytes(*payload.first_chunk().expect("it was written here"));
        let seen = &mut self.0[usize::try_from(nth).expect("it was written here")];
        self.1 -= u64::from(!std::mem::replace(seen, true));
    }

    const fn are_all(&self) -> bool {
        self.1 == 0
    }
}

async fn raw<R: Raw>(url: &str, prefix: &str, messages: u64) -> Rates {
    let bus = R::open(url).await;
    let topic: Arc<str> = format!("{prefix}{TOPIC}").into();
    bus.create(&topic).await;
    let watch = Watch::start();
    let publishing = batches(messages).map(|batch| {
        let outgoing = |nth| Outgoing { topic: Arc::clone(&topic), key: nth, payload: payload(nth) };
        bus.publish(batch.map(outgoing).collect())
    });
    stream::iter(publishing).buffer_unordered(BATCHES_UNANSWERED_MAX).collect::<()>().await;
    let published = watch.rate(messages);
    let mut reader = bus.read(&topic, UNSETTLED_MAX).await;
    let (mut watch, mut seen) = (None, Seen::none(messages));
    while !seen.are_all() {
        let batch = reader.next().await;
        // Joining a group takes its time, which is not what is measured.
        watch.get_or_insert_with(Watch::start);
        let (payloads, receipts): (Vec<_>, Vec<_>) = batch.into_iter().unzip();
        payloads.iter().for_each(|payload| seen.see(payload));
        reader.ack(receipts).await;
    }
    let consumed = watch.expect("there are messages").rate(messages);
    drop(reader);
    bus.delete(&topic).await;
    [published, consumed]
}

async fn ours(broker: Broker, url: &str, prefix: &str, messages: u64) -> Rates {
    let adapter = broker.connect(url, prefix).await;
    let (topic, bus) = (Topic::new(TOPIC).expect("a topic's name"), Arc::clone(&adapter.bus));
    let groups = vec![Group { name: GROUP.into(), start: GroupStart::Earliest }];
    let declaration = Declaration { topic: topic.clone(), kind: TopicKind::Commands, groups };
    bus.declare(&[declaration]).await.expect("a new topic");
    let watch = Watch::start();
    let publishing = batches(messages).map(|batch| {
        let message = |nth: u64| Message::new(topic.clone(), payload(nth)).keyed(nth.to_string());
        let batch = batch.map(message).collect();
        let bus = &bus;
        async move {
            let answers = bus.publish(batch).await;
            assert!(answers.iter().all(|answer| matches!(answer, Published::Acked)), "{answers:?}");
        }
    });
    stream::iter(publishing).buffer_unordered(BATCHES_UNANSWERED_MAX).collect::<()>().await;
    let published = watch.rate(messages);
    let in_flight_max = usize::from(UNSETTLED_MAX);
    let spec = SubscriptionSpec { topic, group: GROUP.into(), in_flight_max, key_order: false };
    let subscription = bus.subscribe(spec).await.expect("it is declared");
    let (mut watch, mut seen) = (None, Seen::none(messages));
    while !seen.are_all() {
        let batch = subscription.next(READ_MAX).await.expect("the broker is there");
        watch.get_or_insert_with(Watch::start);
        batch.iter().for_each(|delivery| seen.see(delivery.message.payload.bytes()));
        let settled = subscription.settle(batch.into_iter().map(Delivery::ack).collect()).await;
        assert!(settled.iter().all(|one| *one == Settled::Settled), "{settled:?}");
    }
    let consumed = watch.expect("there are messages").rate(messages);
    drop(subscription);
    drop(bus);
    adapter.end(&[TOPIC]).await;
    broker.forget(url, prefix).await;
    [published, consumed]
}
