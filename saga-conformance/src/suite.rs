use std::future::Future;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;
use saga_core::Error;
use saga_core::ports::{BusAdmin, EventBus};

use crate::client::Client;
use crate::run::{Options, run};
use crate::server::Server;
use crate::stand::{Connect, Stand};
use crate::{cases, child};

/// The variable that names the server, if it has not the name of the bus.
const SERVER_NAME: &str = "SAGA_SERVER";

/// The raw client's throughput over a topic of the given name, with so many messages of so many bytes.
pub type RawThroughput =
    Arc<dyn Fn(String, String, usize, usize) -> BoxFuture<'static, Result<Throughput, String>> + Send + Sync>;
/// Takes the place away where the dead letters of a topic and group would go.
pub type BrokenDeadLetters =
    Arc<dyn Fn(String, String, String) -> BoxFuture<'static, Result<(), String>> + Send + Sync>;

/// Messages in a second.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Throughput {
    /// Published and acknowledged.
    pub published: f64,
    /// Consumed and settled.
    pub consumed: f64,
}

/// The suite for one adapter, being put together. See the crate's page.
pub struct Suite {
    stand: Stand,
    url_variable: Option<String>,
}

impl Suite {
    /// A suite for the bus of this name, which is also its server's, that `connect` opens by URL.
    pub fn new<B, Fut>(name: &str, connect: impl Fn(String) -> Fut + Send + Sync + 'static) -> Self
    where
        B: EventBus + BusAdmin + 'static,
        Fut: Future<Output = Result<B, Error>> + Send + 'static,
    {
        let connect: Connect = Arc::new(move |url| {
            let connecting = connect(url);
            async move {
                let bus = Arc::new(connecting.await?);
                Ok(Client { bus: Arc::clone(&bus) as Arc<dyn EventBus>, admin: bus })
            }
            .boxed()
        });
        Self { stand: Stand::new(name, connect), url_variable: None }
    }

    /// The environment variable that holds the server's URL. Without one, the bus needs no server.
    #[must_use]
    pub fn url_from(mut self, variable: &str) -> Self {
        self.url_variable = Some(variable.to_owned());
        self
    }

    /// The variable that holds where a proxy must listen and what it passes on to, as `LISTEN=>TARGET`, for brokers that tell their clients
    /// an address of their own. Without one, the proxy listens anywhere and passes on to the URL's host.
    #[must_use]
    pub fn proxy_from(mut self, variable: &str) -> Self {
        self.stand.proxy = std::env::var(variable).ok();
        self
    }

    /// How long a delivery may be held before the broker, as configured by the constructor, would take it back from a client that gives no
    /// word.
    #[must_use]
    pub fn lease(mut self, lease: Duration) -> Self {
        self.stand.lease = lease;
        self
    }

    /// What the raw client can do, for comparison: it is given the URL, a topic, a number of messages and their size in bytes.
    #[must_use]
    pub fn raw_throughput(mut self, raw: RawThroughput) -> Self {
        self.stand.raw = Some(raw);
        self
    }

    /// How to break the dead letters of a topic and group: it is given the URL, the topic and the group.
    #[must_use]
    pub fn break_dead_letters(mut self, breaking: BrokenDeadLetters) -> Self {
        self.stand.break_dead_letters = Some(breaking);
        self
    }

    /// Runs the cases that the command line asks for, and exits as a test does.
    pub fn main(mut self) -> ExitCode {
        let options = match Options::parse(std::env::args().skip(1)) {
            Ok(options) => options,
            Err(problem) => {
                eprintln!("{problem}");
                return ExitCode::from(2);
            }
        };
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
        let runtime = runtime.expect("threads can be started");
        if let Some(variable) = &self.url_variable {
            match std::env::var(variable) {
                Ok(url) => self.stand.url = url,
                Err(_) => return not_run(&options, variable),
            }
            let name = std::env::var(SERVER_NAME).unwrap_or_else(|_| self.stand.name.clone());
            self.stand.server = Server::from_env(&name);
        }
        if let Some(task) = child::Task::from_env() {
            return runtime.block_on(child::run(&self.stand, task));
        }
        runtime.block_on(run(self.stand, &options))
    }
}

/// Nothing is run, and nothing looks as if it had been.
fn not_run(options: &Options, variable: &str) -> ExitCode {
    let chosen = cases::ALL.iter().filter(|case| options.wants(case)).count();
    println!(
        "{chosen} cases not run: {variable} is not set to a server's URL; `cargo xtask conformance` starts one"
    );
    println!("0 passed, 0 failed, {chosen} not run");
    if options.is_required { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

impl std::fmt::Debug for Suite {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Suite").field("name", &self.stand.name).finish_non_exhaustive()
    }
}
