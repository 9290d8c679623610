//! The command line: what may be typed, and how a run ends.
//!
//! Always holds: the result alone goes to stdout, everything else to stderr; a failure is one line
//! there, JSON where `--json` asked for it, and the exit code of its kind. Never: panics on a
//! closed pipe, or does the node's work itself: all but `node`, `demo` and `simulate` ask a running
//! node.

mod args;
mod client;
mod demo;
mod frames;
mod help;
mod output;
mod pipes;
mod progress;
mod render;
mod simulate;
mod verbs;

use std::ffi::OsString;
use std::process::ExitCode;

use anstream::ColorChoice;
use clap::error::{ContextKind, ErrorKind};
use clap::{FromArgMatches, ValueEnum};

pub use self::args::{
    Cli, Color, ConflictFlag, DemoFlags, DownloadFlags, Globals, UploadFlags, Verb,
};
use self::output::{Console, Failure};
pub use self::simulate::{LinkFlag, ProfileFlag, SimulateFlags};
use crate::command::{CommandError, ErrorCode};
use crate::config::{Config, NodeFlags};

/// The whole program but the node itself, which `start` runs until it is stopped; its error is one
/// line for a person.
pub fn main(
    args: impl IntoIterator<Item = OsString>,
    start: impl FnOnce(Config) -> Result<(), String>,
) -> ExitCode {
    let args: Vec<OsString> = args.into_iter().collect();
    let early = EarlyFlags::find(&args);
    early.color.apply();
    let parsed = help::command()
        .try_get_matches_from(&args)
        .and_then(|matches| Cli::from_arg_matches(&matches));
    let cli = match parsed {
        Ok(cli) => cli,
        Err(error) => return usage(&error, &args, early.json),
    };
    init_logging(&cli.globals);
    let console = Console::new(&cli.globals);
    let result = match &cli.verb {
        Verb::Node(flags) => run_node(&cli.globals, flags, start),
        Verb::Completions { shell } => help::completions(*shell),
        Verb::Man { folder } => help::manual(folder.as_deref()),
        _ => verbs::run(&cli, console),
    };
    match result {
        Ok(()) | Err(Failure::ClosedPipe) => ExitCode::SUCCESS,
        Err(Failure::Command(error)) => {
            console.failure(&error);
            ExitCode::from(error.code.exit_code())
        }
    }
}

fn run_node(
    globals: &Globals,
    flags: &NodeFlags,
    start: impl FnOnce(Config) -> Result<(), String>,
) -> Result<(), Failure> {
    let (config, in_force) =
        Config::read(&globals.locations, flags, globals.json || globals.events)
            .map_err(|error| CommandError::new(ErrorCode::Usage, error.to_string()))?;
    if flags.print_config {
        return if config.json {
            output::document(&in_force.to_json())
        } else {
            output::result(&in_force.to_toml().trim_end())
        };
    }
    start(config).map_err(|message| CommandError::failed(message).into())
}

/// What decides how an error of parsing looks, and so is needed before parsing.
struct EarlyFlags {
    json: bool,
    color: Color,
}

impl EarlyFlags {
    fn find(args: &[OsString]) -> Self {
        let flags: Vec<&OsString> = args.iter().take_while(|arg| *arg != "--").collect();
        let mut colors = flags.iter().enumerate().filter_map(|(index, flag)| {
            let value = match flag.to_str()?.strip_prefix("--color")? {
                "" => flags.get(index + 1)?.to_str()?,
                rest => rest.strip_prefix('=')?,
            };
            Color::from_str(value, false).ok()
        });
        Self {
            json: flags.iter().any(|arg| *arg == "--json" || *arg == "--events"),
            color: colors.next_back().unwrap_or_default(),
        }
    }
}

impl Color {
    fn apply(self) {
        match self {
            Self::Auto => ColorChoice::Auto,
            Self::Always => ColorChoice::Always,
            Self::Never => ColorChoice::Never,
        }
        .write_global();
    }
}

/// Help and version are results; everything else is one line of what is wrong.
fn usage(error: &clap::Error, args: &[OsString], json: bool) -> ExitCode {
    let shown = matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion);
    let bare = matches!(
        error.kind(),
        ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand | ErrorKind::MissingSubcommand
    );
    let help = error.kind() == ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand && !json;
    if shown || help {
        // Nobody is left to be told that the pipe is closed.
        let _ = error.print();
        return if shown {
            ExitCode::SUCCESS
        } else {
            ExitCode::from(ErrorCode::Usage.exit_code())
        };
    }
    let message = if bare {
        "no verb was given; see 'kad-actor --help'".to_owned()
    } else {
        one_line(error, args)
    };
    let failure = CommandError::new(ErrorCode::Usage, message);
    Console::bare(json).failure(&failure);
    ExitCode::from(failure.code.exit_code())
}

/// Clap explains itself in paragraphs; the first says what is wrong, a tip what was meant.
fn one_line(error: &clap::Error, args: &[OsString]) -> String {
    let text = error.render().to_string();
    let paragraphs: Vec<String> = text
        .split("\n\n")
        .map(|paragraph| paragraph.split_whitespace().collect::<Vec<_>>().join(" "))
        .filter(|line| !line.starts_with("Usage:") && !line.starts_with("For more information"))
        .collect();
    let message = paragraphs.join("; ");
    let message = message.strip_prefix("error: ").unwrap_or(&message);
    let usage = error.get(ContextKind::Usage).map(ToString::to_string).unwrap_or_default();
    // "Usage: kad-actor VERB …", or an option where no verb was recognised.
    let verb = usage
        .split_whitespace()
        .nth(2)
        .filter(|word| word.starts_with(|c: char| c.is_ascii_lowercase()));
    // A value that is wrong comes without a usage: the first word that is a verb tells.
    let verb = verb.map(ToOwned::to_owned).or_else(|| {
        let command = help::command();
        let typed = args.iter().skip(1).find_map(|arg| command.find_subcommand(arg));
        typed.filter(|_| usage.is_empty()).map(|verb| verb.get_name().to_owned())
    });
    match verb {
        Some(verb) => format!("{message}; see 'kad-actor {verb} --help'"),
        None => format!("{message}; see 'kad-actor --help'"),
    }
}

fn init_logging(globals: &Globals) {
    let level = match globals.verbose {
        _ if globals.quiet => "error",
        0 => "warn",
        1 => "warn,kad_actor=info",
        2 => "info,kad_actor=debug",
        _ => "trace",
    };
    env_logger::Builder::from_env(env_logger::Env::default().default_filter_or(level)).init();
}

#[cfg(test)]
mod tests;
