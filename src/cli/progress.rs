//! Events of a running command, for whoever watches.
//!
//! Always holds: a bar is drawn on a terminal only, and is gone before the result is printed.
//! Never: writes to stdout, but for the event lines of `--events` where no content goes there.

use indicatif::{ProgressBar, ProgressStyle};

use super::output::{self, Console, Failure, printable};
use crate::command::Event;

/// Shows events as the flags ask.
#[derive(Debug)]
pub(super) struct Progress {
    console: Console,
    /// Whether stdout is for a content.
    aside: bool,
    bar: Option<ProgressBar>,
}

impl Progress {
    pub(super) const fn new(console: Console) -> Self {
        Self { console, aside: false, bar: None }
    }

    /// With event lines on stderr, too.
    pub(super) const fn aside(console: Console) -> Self {
        Self { console, aside: true, bar: None }
    }

    /// Shows one event, which came as `line`.
    pub(super) fn event(&mut self, event: Event, line: &str) -> Result<(), Failure> {
        if self.console.events() && self.aside {
            output::aside(&line);
            return Ok(());
        }
        if self.console.events() {
            return output::result(&line);
        }
        match event {
            Event::Notice { message } => match &self.bar {
                Some(bar) => bar.suspend(|| self.console.note(&message)),
                None => self.console.note(&message),
            },
            Event::Progress { name, bytes, size, .. } if self.console.watched() => {
                let bar = self.bar.get_or_insert_with(|| new_bar(&name));
                if let Some(size) = size {
                    bar.set_length(size);
                }
                bar.set_position(bytes);
            }
            Event::Progress { .. } => {}
        }
        Ok(())
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

fn new_bar(name: &str) -> ProgressBar {
    let template = "{msg} [{bar:30}] {bytes}/{total_bytes} {bytes_per_sec} {eta}";
    // Draws on stderr, and nowhere if that is no terminal.
    let bar = ProgressBar::new(0).with_message(printable(name).into_owned());
    match ProgressStyle::with_template(template) {
        Ok(style) => bar.with_style(style.progress_chars("=> ")),
        Err(_) => bar,
    }
}
