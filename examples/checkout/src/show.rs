//! What the user sees.

use std::fmt::Display;
use std::io::{self, IsTerminal, Write};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use saga::StepContext;

/// The screen, or whatever the output was sent to. Cloning shares it.
#[derive(Clone)]
pub(crate) struct Screen {
    shared: Arc<Shared>,
}

struct Shared {
    out: Mutex<Out>,
    is_terminal: bool,
    has_colour: bool,
    /// Whether single events are shown; with many orders they would scroll by.
    is_live: bool,
}

struct Out {
    to: Box<dyn Write + Send>,
    /// Whether the line being shown is one of progress, to be written over.
    has_progress: bool,
    /// When the first line was shown.
    begun: Option<Instant>,
}

/// How something went; a colour, where there are colours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tone {
    Plain,
    Good,
    Bad,
    Undone,
}

impl Screen {
    /// The standard output. Colours only on a terminal, and not where the user's `NO_COLOR` asks for none.
    pub(crate) fn stdout(is_live: bool) -> Self {
        let is_terminal = io::stdout().is_terminal();
        let has_colour = is_terminal && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        Self::new(Box::new(io::stdout()), is_terminal, has_colour, is_live)
    }

    fn new(to: Box<dyn Write + Send>, is_terminal: bool, has_colour: bool, is_live: bool) -> Self {
        let out = Mutex::new(Out { to, has_progress: false, begun: None });
        Self { shared: Arc::new(Shared { out, is_terminal, has_colour, is_live }) }
    }

    pub(crate) fn is_terminal(&self) -> bool {
        self.shared.is_terminal
    }

    pub(crate) fn is_live(&self) -> bool {
        self.shared.is_live
    }

    /// Shows what a sub-case does, as it does it.
    pub(crate) fn event(&self, ctx: &StepContext, tone: Tone, what: impl Display) {
        self.happened(&ctx.step, tone, what);
    }

    /// Shows what happens, with the time since the beginning and where it happens.
    pub(crate) fn happened(&self, place: &str, tone: Tone, what: impl Display) {
        if self.shared.is_live {
            let (on, off) = self.colours(tone);
            self.write(|begun| {
                format!("{:>5} ms  {place:<23}  {on}{what}{off}", begun.elapsed().as_millis())
            });
        }
    }

    /// A verdict, in its colour.
    pub(crate) fn verdict(&self, tone: Tone, what: impl Display) {
        let (on, off) = self.colours(tone);
        self.line(format_args!("{on}{what}{off}"));
    }

    /// A line of its own. Nobody may be reading any more, and that is no reason to stop the orders.
    pub(crate) fn line(&self, what: impl Display) {
        self.write(|_| what.to_string());
    }

    /// The line is made when it is its turn, so that times are shown in their order.
    fn write(&self, line: impl FnOnce(Instant) -> String) {
        let mut out = self.shared.out.lock().unwrap_or_else(PoisonError::into_inner);
        let clear = if std::mem::take(&mut out.has_progress) { "\r\x1b[K" } else { "" };
        let line = line(*out.begun.get_or_insert_with(Instant::now));
        let _nobody_reads = writeln!(out.to, "{clear}{line}").and_then(|()| out.to.flush());
    }

    /// How far things are: on a terminal always in the same line, so it is kept short enough for one.
    pub(crate) fn progress(&self, what: impl Display) {
        if !self.shared.is_terminal {
            return self.line(what);
        }
        const COLUMNS_MAX: usize = 79;
        let what: String = what.to_string().chars().take(COLUMNS_MAX).collect();
        let mut out = self.shared.out.lock().unwrap_or_else(PoisonError::into_inner);
        out.has_progress = true;
        let _nobody_reads = write!(out.to, "\r\x1b[K{what}").and_then(|()| out.to.flush());
    }

    fn colours(&self, tone: Tone) -> (&'static str, &'static str) {
        let on = match tone {
            _ if !self.shared.has_colour => return ("", ""),
            Tone::Plain => return ("", ""),
            Tone::Good => "\x1b[32m",
            Tone::Bad => "\x1b[31m",
            Tone::Undone => "\x1b[33m",
        };
        (on, "\x1b[0m")
    }
}

#[cfg(test)]
pub(crate) mod testing {
    use super::*;

    /// Keeps what is shown.
    #[derive(Clone, Default)]
    pub(crate) struct Shown(Arc<Mutex<Vec<u8>>>);

    impl Shown {
        pub(crate) fn screen(&self, is_live: bool) -> Screen {
            Screen::new(Box::new(self.clone()), false, false, is_live)
        }

        pub(crate) fn text(&self) -> String {
            String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
        }
    }

    impl Write for Shown {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
}
