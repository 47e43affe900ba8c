//! Starts sagas without end, and knows which the broker has taken.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use saga::ports::{Declaration, EventBus, Group, GroupStart, Published, SagaLog, TopicKind};
use saga::{Message, Payload, Topic};
use tokio::sync::watch;

use crate::Failure;
use crate::job::{Job, REFUSING, SAGA, TRIGGER};
use crate::run::ended;

/// The jobs that the broker has taken so far.
pub(crate) type Placed = Arc<Mutex<Vec<Job>>>;

pub(crate) fn all(placed: &Placed) -> Vec<Job> {
    placed.lock().unwrap_or_else(PoisonError::into_inner).clone()
}

/// Places so many jobs a second until it is over. Every one is placed until the broker has it.
pub(crate) async fn place(
    bus: Arc<dyn EventBus>,
    rate: u32,
    over: watch::Receiver<bool>,
    placed: Placed,
) -> Result<(), Failure> {
    const TICKS: u32 = 10;
    let topic = Topic::new(TRIGGER)?;
    let mut ticker = tokio::time::interval(Duration::from_secs(1) / TICKS);
    let mut count = all(&placed).len();
    while !*over.borrow() {
        ticker.tick().await;
        let jobs: Vec<Job> = (0..rate.div_ceil(TICKS)).map(|n| job(count + n as usize)).collect();
        publish(&*bus, &topic, &jobs).await?;
        count += jobs.len();
        placed.lock().unwrap_or_else(PoisonError::into_inner).extend(jobs);
    }
    Ok(())
}

/// Places again, without end, whatever the log does not know though it was placed some time ago. A broker that forgets may have lost it
/// before any coordinator had read it: then nobody but whoever placed it knows of it. The same id twice is one saga.
pub(crate) async fn place_again(
    bus: Arc<dyn EventBus>,
    log: Arc<dyn SagaLog>,
    placed: Placed,
) -> Result<(), Failure> {
    const EVERY: Duration = Duration::from_secs(5);
    let topic = Topic::new(TRIGGER)?;
    let mut unknown_before = HashSet::new();
    loop {
        tokio::time::sleep(EVERY).await;
        let jobs = all(&placed);
        let known = ended(&*log).await?;
        let unknown: Vec<_> = jobs.into_iter().filter(|job| !known.contains_key(&job.id)).collect();
        let lost: Vec<_> = unknown.iter().filter(|job| unknown_before.contains(&job.id)).cloned().collect();
        if !lost.is_empty() {
            println!("{} jobs are placed again: the log does not know them", lost.len());
            publish(&*bus, &topic, &lost).await?;
        }
        unknown_before = unknown.into_iter().map(|job| job.id).collect();
    }
}

/// Returns once the broker has acknowledged them all.
async fn publish(bus: &dyn EventBus, topic: &Topic, jobs: &[Job]) -> Result<(), Failure> {
    let mut waiting = jobs.iter().map(|job| message(topic, job)).collect::<Result<Vec<_>, _>>()?;
    while !waiting.is_empty() {
        let answers = bus.publish(waiting.clone()).await;
        let mut answers = answers.into_iter();
        waiting.retain(|_| !matches!(answers.next(), Some(Published::Acked)));
        if !waiting.is_empty() {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
    Ok(())
}

/// Makes the topic, and the coordinators' group on it, since they may not be there yet: RabbitMQ keeps events for the groups that it knows.
pub(crate) async fn declare(bus: &dyn EventBus) -> Result<(), Failure> {
    let topic = Topic::new(TRIGGER)?;
    let group = Group { name: format!("{SAGA}.coordinator").into(), start: GroupStart::Earliest };
    Ok(bus.declare(&[Declaration { topic, kind: TopicKind::Events, groups: vec![group] }]).await?)
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
