//! Crash at every point: a process that does everything runs undisturbed and lists where it could die; then, for each of these points, another one
//! dies there and is started again. Each has sagas, a log, books and topics of its own.

use std::time::{Duration, Instant};

use futures::StreamExt;
use saga::ports::SagaLog;
use saga::sql::postgres::PostgresOutbox;
use saga::sql::sqlite::SqliteOutbox;
use saga::{Message, Status, Topic};

use crate::Failure;
use crate::args::Args;
use crate::books::Books;
use crate::job::{Course, Job, TRIGGER};
use crate::judge::judge;
use crate::load;
use crate::participant::{GOODS, OFFICE};
use crate::process::Process;
use crate::run::ended;

/// How many processes are dying at a time. Where a broker must first notice that they are dead, they wait, most of the time.
const AT_ONCE: usize = 8;
const AT_ONCE_ON_BROKER: usize = 16;
/// Each makes a score of quorum queues, which RabbitMQ gives up when many are made at a time: it then makes none at all any more. And each opens a
/// score of connections to PostgreSQL, which has a hundred.
const AT_ONCE_BY_THE_SCORE: usize = 4;
/// A saga that has not ended by then is stuck. A broker may take a good while until it takes a member for dead.
const STUCK_AFTER: Duration = Duration::from_secs(180);
/// Some points depend on which of two replies comes first: who has not come by runs again.
const TRIES: usize = 6;
/// How often the points are listed: what one undisturbed run does not pass, another may.
const LISTINGS: usize = 3;

/// Who starts a saga.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    /// A call, repeated until it is answered.
    Call,
    /// A message through an outbox.
    Outbox,
}

/// What a process that dies is to do.
pub(crate) fn jobs(bus: &str) -> Vec<(Job, Way)> {
    let job = |id: &str, refused_by: Option<&str>, course: Course| Job {
        id: id.to_owned(),
        refused_by: refused_by.map(str::to_owned),
        course: Some(course),
    };
    let step = |name: &str| Some(name.to_owned());
    let stumbling = Course { stumbles_at: step("label"), ..Course::default() };
    let lingering = Course { lingers_at: step("money"), ..Course::default() };
    // What a bus in memory holds is gone with it, a message that starts a saga too.
    let outbox = if bus == "memory:" { Way::Call } else { Way::Outbox };
    vec![
        (job("completed", None, Course::default()), Way::Call),
        (job("stumbling", None, stumbling), outbox),
        (job("refused", Some("money"), Course::default()), outbox),
        (job("refused-late", Some("parcel"), Course::default()), Way::Call),
        (job("refused-early", Some("stock"), lingering), outbox),
    ]
}

/// How it went at one point.
#[derive(Debug)]
enum Outcome {
    Good,
    /// Everything had ended, and nobody had come by.
    NotReached,
    Wrong(String),
}

/// Has a process die at every point, or at the one that is asked for, and returns whether everything was right each time.
pub(crate) async fn run(args: &Args) -> Result<bool, Failure> {
    let begun = Instant::now();
    let points = match &args.at {
        Some(point) => vec![point.clone()],
        None => list(args).await?,
    };
    println!("{} points at which to die", points.len());
    let check = |(nth, point): (usize, String)| async move {
        let outcome = check(args, nth, &point).await;
        (point, outcome.unwrap_or_else(|why| Outcome::Wrong(why.to_string())))
    };
    let numbered = points.iter().cloned().enumerate();
    let at_once = match scheme(&args.bus) {
        "memory" => AT_ONCE,
        "amqp" => AT_ONCE_BY_THE_SCORE,
        _ if !args.is_on_sqlite() => AT_ONCE_BY_THE_SCORE,
        _ => AT_ONCE_ON_BROKER,
    };
    let mut outcomes = futures::stream::iter(numbered.map(check)).buffer_unordered(at_once);
    let (mut checked, mut wrong) = (0, 0);
    while let Some((point, outcome)) = outcomes.next().await {
        checked += 1;
        match outcome {
            Outcome::Good => {}
            Outcome::NotReached => {
                wrong += 1;
                println!("{point}: not reached");
            }
            Outcome::Wrong(what) => {
                wrong += 1;
                println!("{point}: {what}");
            }
        }
        if checked % 25 == 0 {
            println!(
                "{checked} of {} points, {wrong} wrong, {:.0} s",
                points.len(),
                begun.elapsed().as_secs_f64()
            );
        }
    }
    println!("{} and {}: {checked} points, {wrong} wrong", scheme(&args.bus), scheme(&args.log));
    Ok(wrong == 0)
}

fn scheme(url: &str) -> &str {
    url.split(':').next().unwrap_or_default()
}

/// The points that undisturbed runs pass.
async fn list(args: &Args) -> Result<Vec<String>, Failure> {
    let mut points: Vec<String> = Vec::new();
    for nth in 0..LISTINGS {
        let stand = Stand::make(args, &format!("list{nth}")).await?;
        let file = stand.args.folder.join("points");
        let mut process = stand.start(&["--list".to_owned(), file.display().to_string()])?;
        if let Some(why) = stand.wait(&mut process).await? {
            return Err(format!("even undisturbed: {why}").into());
        }
        process.kill().await?;
        for point in std::fs::read_to_string(file)?.lines() {
            if !points.iter().any(|known| known == point) {
                points.push(point.to_owned());
            }
        }
    }
    Ok(points)
}

/// A process dies at this point and is started again.
async fn check(args: &Args, nth: usize, point: &str) -> Result<Outcome, Failure> {
    for attempt in 0..TRIES {
        let outcome = Stand::make(args, &format!("p{nth}_{attempt}")).await?.check(point).await?;
        if !matches!(outcome, Outcome::NotReached) {
            return Ok(outcome);
        }
    }
    Ok(Outcome::NotReached)
}

/// All that one process works with.
struct Stand {
    args: Args,
    log: std::sync::Arc<dyn SagaLog>,
    books: Vec<Books>,
}

impl Stand {
    async fn make(args: &Args, name: &str) -> Result<Self, Failure> {
        let mut args = args.clone();
        args.folder.push(name);
        std::fs::create_dir_all(&args.folder)?;
        args.books.run = format!("{}_{name}", args.books.run);
        if args.bus != "memory:" {
            args.bus = format!("{}?prefix={}.", args.bus, args.books.run);
        }
        if args.is_on_sqlite() {
            args.books.at = args.folder.display().to_string();
            args.log = format!("sqlite:{}/log.db", args.books.at);
        } else {
            args.log = format!("{}?schema={}_log", args.log, args.books.run);
        }
        let mut books = Vec::new();
        for kind in [GOODS, OFFICE] {
            books.push(Books::make(&args.books, kind).await?);
        }
        let stand = Self { log: saga::log::connect(&args.log).await?, args, books };
        if stand.args.bus != "memory:" {
            load::declare(&*saga::connect(&stand.args.bus).await?).await?;
        }
        stand.place().await?;
        Ok(stand)
    }

    /// Puts into the outbox what is started by it.
    async fn place(&self) -> Result<(), Failure> {
        let topic = Topic::new(TRIGGER)?;
        let jobs = jobs(&self.args.bus).into_iter().filter(|(_, way)| *way == Way::Outbox);
        let messages: Vec<Message> =
            jobs.map(|(job, _)| load::message(&topic, &job)).collect::<Result<_, _>>()?;
        let url = self.args.books.url(OFFICE);
        if self.args.is_on_sqlite() {
            let outbox = SqliteOutbox::connect(&url).await?;
            let mut tx = outbox.pool().begin().await?;
            outbox.publish_all(&mut tx, messages).await?;
            tx.commit().await?;
        } else {
            let outbox = PostgresOutbox::connect(&url).await?;
            let mut tx = outbox.pool().begin().await?;
            outbox.publish_all(&mut tx, messages).await?;
            tx.commit().await?;
        }
        Ok(())
    }

    fn start(&self, more: &[String]) -> Result<Process, Failure> {
        let args = &self.args;
        let mut words = args.of("everybody", "c1", &args.bus);
        words.extend(["--folder".to_owned(), args.folder.display().to_string()]);
        words.extend_from_slice(more);
        Process::start("everybody", words, args.folder.join("said.log"))
    }

    async fn check(&self, point: &str) -> Result<Outcome, Failure> {
        let mut process = self.start(&["--at".to_owned(), point.to_owned()])?;
        match self.wait(&mut process).await? {
            None => {
                process.kill().await?;
                return Ok(Outcome::NotReached);
            }
            Some(how) if how.contains("SIGKILL") => {}
            Some(how) => return Ok(Outcome::Wrong(how)),
        }
        let mut process = self.start(&[])?;
        if let Some(why) = self.wait(&mut process).await? {
            return Ok(Outcome::Wrong(why));
        }
        process.kill().await?;
        self.judge().await
    }

    /// Waits until everything has ended; or says why it does not.
    async fn wait(&self, process: &mut Process) -> Result<Option<String>, Failure> {
        let begun = Instant::now();
        while !self.is_over().await? {
            if let Some(how) = process.ended()? {
                return Ok(Some(how));
            }
            if begun.elapsed() > STUCK_AFTER {
                return Ok(Some(format!("stuck: {:?}", ended(&*self.log).await?)));
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        Ok(None)
    }

    /// Whether every saga has ended, and every callback was made.
    async fn is_over(&self) -> Result<bool, Failure> {
        let ended = ended(&*self.log).await?;
        let calls = self.calls().await?;
        let is_over = |job: &Job| match ended.get(&job.id) {
            Some(Status::Completed) => calls.iter().any(|(_, called)| *called == job.id),
            Some(Status::RolledBack) => true,
            _ => false,
        };
        Ok(jobs(&self.args.bus).iter().all(|(job, _)| is_over(job)))
    }

    async fn calls(&self) -> Result<Vec<(String, String)>, Failure> {
        Ok(self.books.last().ok_or("there are no books")?.calls().await?)
    }

    async fn judge(&self) -> Result<Outcome, Failure> {
        let mut lines = Vec::new();
        for books in &self.books {
            lines.extend(books.lines().await?);
        }
        let placed: Vec<Job> = jobs(&self.args.bus).into_iter().map(|(job, _)| job).collect();
        let verdict = judge(&placed, &ended(&*self.log).await?, &lines, &self.calls().await?);
        let (completed, rolled_back) = (verdict.completed, verdict.rolled_back);
        Ok(if verdict.is_good() && (completed, rolled_back) == (2, 3) {
            Outcome::Good
        } else {
            Outcome::Wrong(format!("{completed} completed, {rolled_back} rolled back, {:?}", verdict.wrong()))
        })
    }
}
