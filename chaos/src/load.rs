//! Starts sagas without end, and knows which the broker has taken.

use std::sync::Arc;
use std::time::Duration;

use saga::ports::{Declaration, EventBus, Published, TopicKind};
use saga::{Message, Payload, Topic};
use tokio::sync::watch;

use crate::Failure;
use crate::job::{Job, REFUSING, TRIGGER};

/// Places so many jobs a second until it is over. Every one is placed until the broker has it, so whatever is returned was taken.
pub(crate) async fn place(
    bus: Arc<dyn EventBus>,
    rate: u32,
    over: watch::Receiver<bool>,
) -> Result<Vec<Job>, Failure> {
    const TICKS: u32 = 10;
    let topic = Topic::new(TRIGGER)?;
    let mut ticker = tokio::time::interval(Duration::from_secs(1) / TICKS);
    let mut placed = Vec::new();
    while !*over.borrow() {
        ticker.tick().await;
        let jobs: Vec<Job> = (0..rate.div_ceil(TICKS)).map(|n| job(placed.len() + n as usize)).collect();
        let mut waiting = jobs.iter().map(|job| message(&topic, job)).collect::<Result<Vec<_>, _>>()?;
        while !waiting.is_empty() {
            let answers = bus.publish(waiting.clone()).await;
            let mut answers = answers.into_iter();
            waiting.retain(|_| !matches!(answers.next(), Some(Published::Acked)));
            if !waiting.is_empty() {
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
        placed.extend(jobs);
    }
    Ok(placed)
}

/// Makes the topic, since whoever reads it may not be there yet.
pub(crate) async fn declare(bus: &dyn EventBus) -> Result<(), Failure> {
    let topic = Topic::new(TRIGGER)?;
    Ok(bus.declare(&[Declaration { topic, kind: TopicKind::Events, groups: Vec::new() }]).await?)
}

fn job(number: usize) -> Job {
    let refused_by = number.is_multiple_of(5).then(|| REFUSING[number / 5 % REFUSING.len()].to_owned());
    Job { id: format!("j{number}"), refused_by, course: None }
}

/// What starts the saga of a job.
pub(crate) fn message(topic: &Topic, job: &Job) -> Result<Message, Failure> {
    let mut message = Message::new(topic.clone(), Payload::json(job)?);
    message.key = Some(job.id.as_str().into());
    Ok(message)
}
