//! The command line: what may be typed, and how a run ends.
//!
//! Always holds: the result alone goes to stdout, everything else to stderr; a failure is one line
//! there, JSON where `--json` asked for it, and the exit code of its kind. Never: panics on a
//! closed pipe, or does the node's work itself: all but `node` and `demo` ask a running node.

mod client;
mod demo;
mod frames;
mod output;
mod pipes;
mod progress;
mod render;
mod verbs;

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anstream::ColorChoice;
use clap::error::{ContextKind, ErrorKind};
use clap::{ArgAction, Args, Parser, Subcommand, ValueEnum};

use self::output::{Console, Failure};
use crate::command::{CommandError, ErrorCode, OnConflict};
use crate::config::{Config, LocationFlags, NodeFlags};

/// Hands files around a cluster by name, with no server in the middle.
#[derive(Debug, Parser)]
#[command(
    name = "kad-actor",
    version,
    arg_required_else_help = true,
    after_help = "\
Example, on two machines:
  a$ kad-actor node &                              b$ kad-actor node --bootstrap a:8468 &
  a$ kad-actor upload data.tar                     b$ kad-actor download data.tar"
)]
pub struct Cli {
    /// What goes before or after the verb.
    #[command(flatten)]
    pub globals: Globals,
    /// What to do.
    #[command(subcommand)]
    pub verb: Verb,
}

/// Flags that every verb takes.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Options of every verb")]
pub struct Globals {
    /// Which node.
    #[command(flatten)]
    pub locations: LocationFlags,
    /// Print one JSON document, and failures as JSON
    #[arg(long, global = true)]
    pub json: bool,
    /// Print events as JSON lines before the document; implies --json
    #[arg(long, global = true)]
    pub events: bool,
    /// Say nothing but results and failures
    #[arg(short, long, global = true)]
    pub quiet: bool,
    /// Log more; twice for still more (`RUST_LOG` goes before)
    #[arg(short, long, global = true, action = ArgAction::Count)]
    pub verbose: u8,
    /// When to use colours
    #[arg(
        long,
        global = true,
        value_enum,
        default_value_t,
        value_name = "auto|always|never",
        hide_possible_values = true
    )]
    pub color: Color,
    /// Give up after this long, such as 30s or 2m
    #[arg(long, global = true, value_name = "TIME", value_parser = humantime::parse_duration)]
    pub timeout: Option<Duration>,
}

/// When to use colours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum Color {
    /// On a terminal, unless `NO_COLOR` is set.
    #[default]
    Auto,
    /// Into files and pipes too.
    Always,
    /// Not at all.
    Never,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Verb {
    /// Run a node in the foreground
    #[command(after_help = "Example:\n  kad-actor node --bootstrap node1.example:8468")]
    Node(NodeFlags),
    /// Share files where they lie, and publish their names
    #[command(after_help = "\
Examples:
  kad-actor upload results.csv --name results-2024.csv
  kad-actor upload - --name notes.txt")]
    Upload {
        /// Files to share; `-` reads stdin, and needs --name
        #[arg(required = true, value_name = "PATH")]
        paths: Vec<PathBuf>,
        /// Publish under this name instead of the file's own (one file only)
        #[arg(long)]
        name: Option<String>,
        /// Keep a copy in the data folder and share that, so that the file may go or change
        #[arg(long)]
        copy: bool,
    },
    /// Download a file by its name, and share it
    #[command(after_help = "\
Examples:
  kad-actor download results.csv -o /data/
  kad-actor download notes.txt -o -")]
    Download(DownloadFlags),
    /// Print the values of a key, newest first
    #[command(after_help = "Example:\n  kad-actor get results.csv")]
    Get {
        /// The key's name
        key: String,
    },
    /// Add a value to a key; the node keeps it fresh
    #[command(after_help = "Example:\n  kad-actor set greeting 'good morning'")]
    Set {
        /// The key's name
        key: String,
        /// The value
        #[arg(allow_hyphen_values = true)]
        value: String,
    },
    /// List the contacts of the routing table
    #[command(after_help = "Example:\n  kad-actor peers")]
    Peers,
    /// Show the k-buckets of the routing table
    #[command(after_help = "Example:\n  kad-actor buckets --json")]
    Buckets,
    /// List the values this node holds
    #[command(after_help = "Example:\n  kad-actor values greeting")]
    Values {
        /// Of this key only: its name, or its 40 hexadecimal digits
        key: Option<String>,
    },
    /// Show a node's identity, addresses and counts
    #[command(after_help = "Example:\n  kad-actor status --wait --timeout 30s")]
    Status {
        /// Return once the node has peers
        #[arg(long)]
        wait: bool,
    },
    /// Stop the node in order
    #[command(after_help = "Example:\n  kad-actor stop")]
    Stop,
    /// Show it all: a small swarm of real nodes on this machine
    #[command(after_help = "Example:\n  kad-actor demo --nodes 10 --stay")]
    Demo(DemoFlags),
}

/// What `download` takes.
#[derive(Debug, Clone, Args)]
#[allow(clippy::struct_excessive_bools, reason = "each is a flag of its own on the command line")]
pub struct DownloadFlags {
    /// The published name
    pub name: String,
    /// Save as this file, or into this folder; `-` writes to stdout, and then everything else goes
    /// to stderr [default: the working folder]
    #[arg(short, long, value_name = "PATH")]
    pub output: Option<PathBuf>,
    /// Take the variant with this BLAKE3 hash, and no other
    #[arg(long, value_name = "HEX")]
    pub hash: Option<String>,
    /// Take the variant that was published last
    #[arg(long)]
    pub newest: bool,
    /// Fail when there are several variants
    #[arg(long)]
    pub strict: bool,
    /// What to do when the file exists
    #[arg(
        long,
        value_enum,
        default_value = "error",
        value_name = "error|overwrite|rename",
        hide_possible_values = true
    )]
    pub on_conflict: ConflictFlag,
    /// Do not share the file afterwards
    #[arg(long)]
    pub no_share: bool,
    /// Print the number of the transfer and leave it to the node
    #[arg(long)]
    pub detach: bool,
}

/// [`OnConflict`] as it is typed.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub enum ConflictFlag {
    /// Fail, and leave it as it is
    Error,
    /// Replace it
    Overwrite,
    /// Save beside it under a new name
    Rename,
}

impl From<ConflictFlag> for OnConflict {
    fn from(flag: ConflictFlag) -> Self {
        match flag {
            ConflictFlag::Error => Self::Error,
            ConflictFlag::Overwrite => Self::Overwrite,
            ConflictFlag::Rename => Self::Rename,
        }
    }
}

/// What `demo` takes.
#[derive(Debug, Clone, Args)]
pub struct DemoFlags {
    /// How many nodes
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u8).range(3..=50))]
    pub nodes: u8,
    /// Keep them running until Ctrl-C
    #[arg(long)]
    pub stay: bool,
}

/// The whole program but the node itself, which `start` runs until it is stopped; its error is one
/// line for a person.
pub fn main(
    args: impl IntoIterator<Item = OsString>,
    start: impl FnOnce(Config) -> Result<(), String>,
) -> ExitCode {
    let args: Vec<OsString> = args.into_iter().collect();
    let early = EarlyFlags::find(&args);
    early.color.apply();
    let cli = match Cli::try_parse_from(&args) {
        Ok(cli) => cli,
        Err(error) => return usage(&error, early.json),
    };
    init_logging(&cli.globals);
    let console = Console::new(&cli.globals);
    let result = match &cli.verb {
        Verb::Node(flags) => run_node(&cli.globals, flags, start),
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
    let config = Config::new(&globals.locations, flags, globals.json || globals.events)
        .map_err(|error| CommandError::new(ErrorCode::Usage, error.to_string()))?;
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
fn usage(error: &clap::Error, json: bool) -> ExitCode {
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
    let message =
        if bare { "no verb was given; see 'kad-actor --help'".to_owned() } else { one_line(error) };
    let failure = CommandError::new(ErrorCode::Usage, message);
    Console::bare(json).failure(&failure);
    ExitCode::from(failure.code.exit_code())
}

/// Clap explains itself in paragraphs; the first says what is wrong, a tip what was meant.
fn one_line(error: &clap::Error) -> String {
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
