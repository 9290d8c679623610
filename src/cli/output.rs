//! Where lines go: results to stdout, everything for people to stderr.
//!
//! Always holds: a reader that closed the pipe ends the run quietly; what peers wrote reaches a
//! terminal without its control characters. Never: mixes JSON with prose on stdout.

use std::borrow::Cow;
use std::fmt::{self, Display, Write as _};
use std::io::{self, ErrorKind, IsTerminal, Write};

use clap::builder::styling::{AnsiColor, Style};
use serde::Serialize;

use super::Globals;
use super::render::Width;
use crate::command::CommandError;

/// Why a run ends without a result.
#[derive(Debug)]
pub(super) enum Failure {
    /// With a message and an exit code.
    Command(CommandError),
    /// Whoever read the output has had enough.
    ClosedPipe,
}

impl From<CommandError> for Failure {
    fn from(error: CommandError) -> Self {
        Self::Command(error)
    }
}

/// The three ways out of the program.
#[derive(Debug, Clone, Copy)]
pub(super) struct Console {
    json: bool,
    events: bool,
    told: Told,
}

/// How much a person wants to be told besides the result.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Told {
    Nothing,
    Usual,
    More,
}

impl Console {
    pub(super) fn new(globals: &Globals) -> Self {
        let told = match globals.verbose {
            _ if globals.quiet => Told::Nothing,
            0 => Told::Usual,
            _ => Told::More,
        };
        Self { json: globals.json || globals.events, events: globals.events, told }
    }

    /// Before the flags are known.
    pub(super) const fn bare(json: bool) -> Self {
        Self { json, events: false, told: Told::Usual }
    }

    /// Whether results are JSON.
    pub(super) const fn json(self) -> bool {
        self.json
    }

    /// Whether events are results too.
    pub(super) const fn events(self) -> bool {
        self.events
    }

    /// Whether a person wants to know more than the result.
    pub(super) fn verbose(self) -> bool {
        self.told == Told::More
    }

    /// Whether a person watches stderr.
    pub(super) fn watched(self) -> bool {
        self.told != Told::Nothing && !self.json && io::stderr().is_terminal()
    }

    /// Something a person may want to know.
    pub(super) fn note(self, text: &str) {
        if self.told != Told::Nothing && !self.json {
            say(Style::new().bold(), text);
        }
    }

    /// The one line that says what went wrong.
    pub(super) fn failure(self, error: &CommandError) {
        if self.json {
            let document = serde_json::json!({ "error": error });
            // Stderr may be closed as well: the exit code still tells.
            let _ = writeln!(io::stderr().lock(), "{document}");
        } else {
            say(AnsiColor::Red.on_default().bold(), &error.message);
        }
    }
}

/// Columns of the terminal that results go to; none where they go elsewhere, and nothing is cut.
pub(super) fn width() -> Width {
    let stdout = io::stdout();
    let columns = || rustix::termios::tcgetwinsize(&stdout).ok().map(|size| size.ws_col);
    stdout.is_terminal().then(columns).flatten().filter(|columns| *columns > 0)
}

/// One line (or table) of results.
pub(super) fn result(text: &dyn Display) -> Result<(), Failure> {
    let mut stdout = io::stdout().lock();
    writeln!(stdout, "{text}").and_then(|()| stdout.flush()).map_err(|error| {
        if error.kind() == ErrorKind::BrokenPipe {
            Failure::ClosedPipe
        } else {
            CommandError::failed(format!("cannot write to stdout: {error}")).into()
        }
    })
}

/// One JSON document, on one line.
pub(super) fn document(document: &impl Serialize) -> Result<(), Failure> {
    let line = serde_json::to_string(document)
        .map_err(|error| CommandError::failed(format!("cannot be written as JSON: {error}")))?;
    result(&line)
}

/// One JSON document on stderr, where stdout is for a content.
pub(super) fn aside(document: &impl Display) {
    // Stderr may be closed: the exit code still tells.
    let _ = writeln!(io::stderr().lock(), "{document}");
}

fn say(style: Style, text: &str) {
    let text = printable(text);
    let _ = writeln!(anstream::stderr().lock(), "{style}kad-actor:{style:#} {text}");
}

/// Text as it may go to a terminal: control characters and what reorders lines are escaped, since
/// names, values and messages come from peers.
pub(super) fn printable(text: &str) -> Cow<'_, str> {
    let harmful = |c: char| {
        (c.is_control() && c != '\t')
            || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    if !text.contains(harmful) {
        return Cow::Borrowed(text);
    }
    let mut safe = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        let written: fmt::Result =
            if harmful(c) { write!(safe, "{}", c.escape_default()) } else { safe.write_char(c) };
        debug_assert!(written.is_ok(), "a string takes everything");
    }
    Cow::Owned(safe)
}
