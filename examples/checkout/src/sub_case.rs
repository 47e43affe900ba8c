//! The service of one sub-case: its work, its book, and the barrier that keeps commands which come twice from doing harm.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use saga::memory::{InboxLimits, MemoryInbox, TokioClock};
use saga::participant::ServeOptions;
use saga::ports::EventBus;
use saga::{Compensation, Contract, Service, ServiceBuilder, Step, StepContext, StepError, Undo, handler};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::books::{Book, Entry, Failure, Memory, OpenBook, Place};
use crate::confirmation::{CONFIRMATION, Confirmation};
use crate::history::{HISTORY, History};
use crate::inventory::{INVENTORY, Inventory};
use crate::payment::{PAYMENT, Payment};
use crate::show::Screen;
use crate::trouble::{SubCase, Trouble, Troubles};

/// What a sub-case does, wherever its book is. It is a [`saga::Step`] and its [`saga::Compensation`], with the book open in addition.
#[async_trait]
pub(crate) trait Work<In: Send + 'static, Out: Send + 'static>: Send + Sync + 'static {
    async fn execute(&self, input: In, book: &mut OpenBook<'_>, ctx: &StepContext) -> Result<Out, StepError>;

    async fn undo(
        &self,
        undo: Undo<In, Out>,
        book: &mut OpenBook<'_>,
        ctx: &StepContext,
    ) -> Result<(), StepError>;
}

/// A handler that gets a transaction from its inbox: what is done with the book, the answer and the barrier's row are committed together, or
/// not at all. The types of the two databases differ, the words do not.
#[cfg(any(feature = "postgres", feature = "sqlite"))]
macro_rules! in_transaction {
    ($inbox:expr, $work:expr, $book:expr) => {{
        let doing = (Arc::clone(&$work), Arc::clone(&$book));
        let undoing = (Arc::clone(&$work), Arc::clone(&$book));
        $inbox
            .handler(move |input: In, mut tx, ctx: StepContext| {
                let (work, book) = doing.clone();
                async move {
                    let output = work.execute(input, &mut OpenBook::new(&book, &mut *tx), &ctx).await?;
                    tx.commit(output).await
                }
            })
            .undo(move |undo: Undo<In, Out>, mut tx, ctx: StepContext| {
                let (work, book) = undoing.clone();
                async move {
                    work.undo(undo, &mut OpenBook::new(&book, &mut *tx), &ctx).await?;
                    tx.commit(()).await
                }
            })
    }};
}

/// What sub-cases have in common.
pub(crate) struct Stand {
    pub(crate) bus: Arc<dyn EventBus>,
    pub(crate) place: Place,
    pub(crate) troubles: Arc<Troubles>,
    pub(crate) screen: Screen,
    pub(crate) serve: ServeOptions,
}

impl Stand {
    /// The service of a sub-case, and its book.
    pub(crate) async fn open(&self, case: SubCase) -> Result<(Service, Arc<Book>), Failure> {
        let screen = self.screen.clone();
        let trouble = Trouble::new(Arc::clone(&self.troubles), case, screen.clone());
        match case {
            SubCase::Inventory => self.serve(case, &INVENTORY, Inventory { trouble, screen }).await,
            SubCase::Payment => self.serve(case, &PAYMENT, Payment { trouble, screen }).await,
            SubCase::History => self.serve(case, &HISTORY, History { trouble, screen }).await,
            SubCase::Confirmation => self.serve(case, &CONFIRMATION, Confirmation { trouble, screen }).await,
        }
    }

    async fn serve<In, Out, W>(
        &self,
        case: SubCase,
        contract: &Contract<In, Out>,
        work: W,
    ) -> Result<(Service, Arc<Book>), Failure>
    where
        In: Entry,
        Out: Serialize + DeserializeOwned + Send + Sync + 'static,
        W: Work<In, Out>,
    {
        let service = Service::builder(Arc::clone(&self.bus));
        let (service, book) = self.keep(case, contract, Arc::new(work), service).await?;
        Ok((service.build()?, book))
    }

    /// With the book where it is to be.
    async fn keep<In, Out, W>(
        &self,
        case: SubCase,
        contract: &Contract<In, Out>,
        work: Arc<W>,
        service: ServiceBuilder,
    ) -> Result<(ServiceBuilder, Arc<Book>), Failure>
    where
        In: Entry,
        Out: Serialize + DeserializeOwned + Send + Sync + 'static,
        W: Work<In, Out>,
    {
        #[cfg(feature = "sqlite")]
        if let Some(url) = self.place.file(case)? {
            let inbox = saga::sql::sqlite::SqliteInbox::connect(&url).await?;
            let book = Arc::new(Book::in_database::<In>(contract.name(), inbox.pool().clone()).await?);
            let handler = in_transaction!(inbox, work, book);
            let service = service.inbox(Arc::new(inbox)).serve_with(contract, handler, self.serve.clone());
            return Ok((service, book));
        }
        #[cfg(feature = "postgres")]
        if let Some(url) = self.place.schema(case) {
            let inbox = saga::sql::postgres::PostgresInbox::connect(&url).await?;
            let book = Arc::new(Book::in_database::<In>(contract.name(), inbox.pool().clone()).await?);
            let handler = in_transaction!(inbox, work, book);
            let service = service.inbox(Arc::new(inbox)).serve_with(contract, handler, self.serve.clone());
            return Ok((service, book));
        }
        let (book, pages) = Book::in_memory::<In>(contract.name());
        let book = Arc::new(book);
        let handler = in_memory(work, Arc::clone(&book), pages);
        let service = service.inbox(Arc::new(inbox())).serve_with(contract, handler, self.serve.clone());
        Ok((service, book))
    }
}

/// In memory there is no transaction: an attempt that is cut off after it made its entry comes again, with the same key.
fn in_memory<In, Out, W>(
    work: Arc<W>,
    book: Arc<Book>,
    pages: Arc<Memory>,
) -> impl Step<In, Out> + Compensation<In, Out>
where
    In: Send + 'static,
    Out: Send + 'static,
    W: Work<In, Out>,
{
    let doing = (Arc::clone(&work), Arc::clone(&book), Arc::clone(&pages));
    let undoing = (work, book, pages);
    handler(move |input: In, ctx: StepContext| {
        let (work, book, mut pages) = doing.clone();
        async move { work.execute(input, &mut OpenBook::new(&book, &mut pages), &ctx).await }
    })
    .undo(move |undo: Undo<In, Out>, ctx: StepContext| {
        let (work, book, mut pages) = undoing.clone();
        async move { work.undo(undo, &mut OpenBook::new(&book, &mut pages), &ctx).await }
    })
}

/// What the sub-cases remember of commands in memory, so that none is done twice. Commands of this run live for seconds, so rows for the
/// newest few thousand orders are enough, however many there are.
fn inbox() -> MemoryInbox {
    let limits = InboxLimits { rows_kept_for: Duration::from_secs(600), rows_max: 20_000 };
    MemoryInbox::with_limits(Arc::new(TokioClock::new()), limits)
}
