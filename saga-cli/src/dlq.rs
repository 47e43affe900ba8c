//! `saga dlq list`, `show`, `redrive`

use std::collections::BTreeSet;
use std::fmt::Write;

use saga::Topic;
use saga::ports::{BusAdmin, DeadLetter};
use saga::wire::Command;
use serde_json::{Value, json};

use crate::change;
use crate::cli::{Audit, Dlq, Place};
use crate::fail::{Failure, NOT_FOUND, WRONG};
use crate::out::{line, print};
use crate::table::{plain, table};

/// How many letters are looked through for one of an id.
const SEARCHED_MAX: usize = 10_000;

pub(crate) async fn run(place: &Place, command: Dlq) -> Result<(), Failure> {
    match command {
        Dlq::List { topic, group, limit } => list(place, topic.as_deref(), group.as_deref(), limit).await,
        Dlq::Show { topic, group, id } => show(place, &topic, &group, &id).await,
        Dlq::Redrive { topic, group, id, limit, audit } => {
            redrive(place, &named(&topic)?, &group, id.as_deref(), limit, &audit).await
        }
    }
}

fn named(topic: &str) -> Result<Topic, Failure> {
    Topic::new(topic).map_err(|error| Failure::new(WRONG, error.to_string()))
}

async fn list(place: &Place, topic: Option<&str>, group: Option<&str>, limit: usize) -> Result<(), Failure> {
    let admin = place.admin().await?;
    let topics = match topic {
        Some(topic) => vec![named(topic)?],
        None => admin.topics().await?,
    };
    let mut letters = Vec::new();
    for topic in topics {
        let groups = match group {
            Some(group) => vec![group.into()],
            None => admin.groups(&topic).await?.into_iter().map(|group| group.name).collect(),
        };
        for group in groups {
            letters.extend(admin.dead_letters(&topic, &group, limit).await?);
        }
    }
    if place.json {
        return line(Value::from(letters.iter().map(|letter| json_of(letter, false)).collect::<Vec<_>>()));
    }
    let row = |letter: &DeadLetter| {
        let saga = Command::parse(&letter.message)
            .map_or_else(|_| "-".to_owned(), |command| format!("{} {}", command.key, command.step));
        let message = &letter.message;
        let (topic, id) = (message.topic.to_string(), message.id.to_string());
        [
            topic,
            letter.group.to_string(),
            id,
            letter.at.to_string(),
            letter.attempts.to_string(),
            saga,
            letter.reason.clone(),
        ]
    };
    let rows: Vec<_> = letters.iter().map(row).collect();
    print(table(["TOPIC", "GROUP", "ID", "AT", "ATTEMPTS", "SAGA, STEP", "WHY"], &rows))
}

async fn show(place: &Place, topic: &str, group: &str, id: &str) -> Result<(), Failure> {
    let admin = place.admin().await?;
    let letter = find(&*admin, &named(topic)?, group, id).await?;
    if place.json {
        return line(json_of(&letter, true));
    }
    let message = &letter.message;
    let mut text = String::new();
    let mut fact = |name: &str, value: &str| {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{name:<9} {}", plain(value));
    };
    fact("topic", message.topic.as_str());
    fact("group", &letter.group);
    fact("id", message.id.as_str());
    fact("at", &letter.at.to_string());
    fact("attempts", &letter.attempts.to_string());
    fact("why", &letter.reason);
    if let Some(key) = &message.key {
        fact("key", key);
    }
    for (name, value) in message.headers.iter() {
        fact("header", &format!("{name}: {value}"));
    }
    line(format_args!("{text}\n{}", plain(&String::from_utf8_lossy(&message.payload))))
}

async fn find(admin: &dyn BusAdmin, topic: &Topic, group: &str, id: &str) -> Result<DeadLetter, Failure> {
    let letters = admin.dead_letters(topic, group, SEARCHED_MAX).await?;
    let found = letters.into_iter().find(|letter| letter.message.id.as_str() == id);
    found.ok_or_else(|| {
        let message = format!("group {group} of topic {topic} has no dead letter {id}");
        Failure::new(NOT_FOUND, message)
    })
}

/// Commands of sagas are retried as a new round of their steps; everything else is sent to its topic again.
async fn redrive(
    place: &Place,
    topic: &Topic,
    group: &str,
    id: Option<&str>,
    limit: usize,
    audit: &Audit,
) -> Result<(), Failure> {
    let (who, why) = audit.who_and_why()?;
    let admin = place.admin().await?;
    let letters = match id {
        Some(id) => vec![find(&*admin, topic, group, id).await?],
        None => admin.dead_letters(topic, group, limit).await?,
    };
    // Several letters may be of one step.
    let mut steps = BTreeSet::new();
    let commands = letters.iter().filter(|letter| {
        Command::parse(&letter.message).is_ok_and(|command| steps.insert((command.key, command.step)))
    });
    let commands: Vec<_> = commands.collect();
    let mut failed = None;
    if !commands.is_empty() {
        let operator = place.operator().await?.waiting(audit.wait());
        for letter in commands {
            let command =
                Command::parse(&letter.message).map_err(|error| Failure::new(WRONG, error.to_string()))?;
            let verb = format!("retry {} of", command.step);
            let said = match operator.redrive(letter, &who, &why).await {
                Ok(answer) => change::say(place, &command.key, &verb, answer),
                Err(error) => Err(error.into()),
            };
            if let Err(failure) = said {
                eprintln!("saga: {}: {}", command.key, failure.message);
                failed = Some(failure);
            }
        }
    } else if id.is_some() {
        let message = "a single letter that is no command of a saga cannot be sent again; leave --id out";
        return Err(Failure::new(WRONG, message));
    }
    if id.is_none() {
        let redriven = admin.redrive(topic, group, limit).await?;
        if place.json {
            line(json!({ "sent": redriven.sent, "kept": redriven.kept }))?;
        } else {
            let (sent, kept) = (redriven.sent, redriven.kept);
            line(format_args!("{sent} sent again, {kept} commands of sagas kept as evidence"))?;
        }
    }
    failed.map_or(Ok(()), |failure| Err(Failure::new(failure.code, "not every step could be retried")))
}

fn json_of(letter: &DeadLetter, whole: bool) -> Value {
    let message = &letter.message;
    let command = Command::parse(message).ok();
    let mut shown = json!({
        "topic": message.topic,
        "group": letter.group,
        "id": message.id,
        "key": message.key,
        "at": letter.at.to_string(),
        "attempts": letter.attempts,
        "why": letter.reason,
        "saga": command.as_ref().map(|command| &command.key.saga),
        "saga_id": command.as_ref().map(|command| &command.key.id),
        "step": command.as_ref().map(|command| &command.step),
    });
    if whole {
        shown["headers"] =
            message.headers.iter().map(|(name, value)| json!([name, value])).collect::<Vec<_>>().into();
        shown["payload"] = String::from_utf8_lossy(&message.payload).into();
    }
    shown
}
