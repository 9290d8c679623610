//! Events of a running command, for whoever watches.
//!
//! Always holds: a bar is drawn on a terminal only, and is gone before the result is printed.
//! Never: writes to stdout, but for the event lines of `--events` where no content goes there.

use indicatif::{ProgressBar, ProgressStyle};

use super::output::{self, Console, Failure, printable};
use super::render;
use crate::command::{Event, SourceReport};

/// Sources that have a line of their own below the bar: more would leave no room for anything else.
const MAX_LINES: usize = 10;

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
            Event::Progress { name, bytes, size, bytes_per_s, sources }
                if self.console.watched() =>
            {
                let bar = self.bar.get_or_insert_with(|| new_bar(&name));
                if let Some(size) = size {
                    bar.set_length(size);
                }
                let mut text = pace(bytes, size, bytes_per_s);
                text.push_str(&render::active_sources(&sources));
                if self.console.verbose() {
                    text.push_str(&source_lines(&sources));
                }
                bar.set_prefix(text);
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

/// How fast it comes, and how long that will take: as the node says, since what a download goes on
/// from has not come just now.
fn pace(bytes: u64, size: Option<u64>, bytes_per_s: u64) -> String {
    let rate = render::rate(bytes_per_s, 1.0);
    match size.and_then(|size| size.saturating_sub(bytes).checked_div(bytes_per_s)) {
        Some(left) => format!("{rate} {}", render::seconds(left)),
        None => rate,
    }
}

/// A line for each source that gives, or was given up.
fn source_lines(sources: &[SourceReport]) -> String {
    let told = sources.iter().filter(|source| source.state != "waiting").take(MAX_LINES);
    let line = |source: &SourceReport| {
        let (given, rate) = (render::size(source.bytes), render::rate(source.bytes_per_s, 1.0));
        let pace = if source.state == "active" { format!(" {rate}") } else { String::new() };
        format!("\n  {} {given}{pace} {}", printable(&source.url), source.state)
    };
    told.map(line).collect()
}

fn new_bar(name: &str) -> ProgressBar {
    let template = "{msg} [{bar:30}] {bytes}/{total_bytes} {prefix}";
    // Draws on stderr, and nowhere if that is no terminal.
    let bar = ProgressBar::new(0).with_message(printable(name).into_owned());
    match ProgressStyle::with_template(template) {
        Ok(style) => bar.with_style(style.progress_chars("=> ")),
        Err(_) => bar,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_there_before_does_not_count_as_speed() {
        assert_eq!(pace(40_000_000, Some(100_000_000), 2_000_000), "2.0 MB/s 30s");
        assert_eq!(pace(900, Some(1_000), 0), "0.0 MB/s");
        assert_eq!(pace(900, None, 2_000_000), "2.0 MB/s");
    }

    #[test]
    fn each_source_has_a_line_that_is_safe_to_show() {
        let source = |url: &str, state: &str, bytes_per_s| SourceReport {
            url: url.to_owned(),
            state: state.to_owned(),
            bytes: 2_000_000,
            bytes_per_s,
        };
        let sources = [
            source("http://a/x", "active", 3_000_000),
            source("http://b/\u{1b}[2J", "wrong_content", 0),
            source("http://c/x", "waiting", 0),
        ];
        let text = source_lines(&sources);
        let lines: Vec<&str> = text.lines().skip(1).collect();
        assert_eq!(lines.len(), 2, "{text}");
        assert!(lines[0].ends_with("MB/s active") && lines[0].starts_with("  http://a/x "));
        assert!(lines[1].ends_with(" wrong_content") && !lines[1].contains('\u{1b}'), "{text}");
    }
}
