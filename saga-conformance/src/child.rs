//! A consumer in a process of its own, to be killed.

use std::io::Write;
use std::process::{ExitCode, Stdio};

use saga_core::ports::Delivery;
use saga_core::record::Topic;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};
use tokio::sync::mpsc;

use crate::check::{Check, Stop};
use crate::client::{IN_FLIGHT_MAX, id};
use crate::stand::Stand;

const TASK: &str = "SAGA_CONFORMANCE_CHILD";

/// What the child is to do with what it reads.
pub(crate) enum Task {
    /// Tell each id, then acknowledge.
    Consume(Topic),
    /// Put each with the dead letters.
    Bury(Topic),
}

impl Task {
    pub(crate) fn from_env() -> Option<Self> {
        let task = std::env::var(TASK).ok()?;
        let (verb, topic) = task.split_once(' ')?;
        let topic = Topic::new(topic).ok()?;
        Some(if verb == "bury" { Self::Bury(topic) } else { Self::Consume(topic) })
    }

    fn to_env(&self) -> String {
        match self {
            Self::Consume(topic) => format!("consume {topic}"),
            Self::Bury(topic) => format!("bury {topic}"),
        }
    }
}

/// Starts this very program as a child with a task; what it has told arrives one by one.
pub(crate) fn start(task: &Task) -> Check<(Child, mpsc::UnboundedReceiver<String>)> {
    let program = std::env::current_exe().map_err(Stop::failed)?;
    let mut child = Command::new(program)
        .env(TASK, task.to_env())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .map_err(|error| Stop::failed(format!("the child cannot be started: {error}")))?;
    let output = child.stdout.take().expect("it is piped");
    let (tell, told) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        let mut lines = BufReader::new(output).lines();
        while let Ok(Some(line)) = lines.next_line().await {
            if tell.send(line).is_err() {
                return;
            }
        }
    });
    Ok((child, told))
}

/// The child itself; it never ends by itself unless something is wrong.
pub(crate) async fn run(stand: &Stand, task: Task) -> ExitCode {
    match consume(stand, task).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(stop) => {
            eprintln!("the child stops: {stop:?}");
            ExitCode::FAILURE
        }
    }
}

async fn consume(stand: &Stand, task: Task) -> Check {
    let client = stand.connect().await?;
    let (topic, buries) = match task {
        Task::Consume(topic) => (topic, false),
        Task::Bury(topic) => (topic, true),
    };
    let reader = client.read(&topic).await?;
    loop {
        for delivery in reader.next(IN_FLIGHT_MAX.min(8)).await? {
            let told = id(&delivery);
            if !buries {
                writeln!(std::io::stdout(), "{told}").map_err(Stop::failed)?;
            }
            let settlement = if buries { delivery.dead_letter("buried") } else { Delivery::ack(delivery) };
            let _stale_ones_come_again = reader.settle(vec![settlement]).await;
            if buries {
                writeln!(std::io::stdout(), "{told}").map_err(Stop::failed)?;
            }
        }
    }
}
