//! What may be typed.
//!
//! Always holds: each verb has an example that works. Never: does anything.

use std::path::PathBuf;
use std::time::Duration;

use clap::{ArgAction, Args, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;

use super::help;
use super::simulate::SimulateFlags;
use crate::command::OnConflict;
use crate::config::{LocationFlags, NodeFlags};

/// Hands files around a cluster by name, with no server in the middle.
#[derive(Debug, Parser)]
#[command(
    name = "kad-actor",
    version,
    arg_required_else_help = true,
    after_help = help::EXAMPLE,
    after_long_help = help::LONG
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

/// What to do. In the order of the help; `help::GROUPS` has the headings.
#[derive(Debug, Subcommand)]
pub enum Verb {
    /// Share files where they lie, and publish their names
    #[command(after_help = "\
Examples:
  kad-actor upload results.csv --name results-2024.csv
  tar c results | kad-actor upload - --name results.tar

Prints the URL of each file. A file must stay where it is and as it is, unless
--copy keeps a copy.")]
    Upload(UploadFlags),
    /// Download a file by its name, and share it
    #[command(after_help = "\
Examples:
  kad-actor download results.csv -o /data/
  kad-actor download results.tar -o - | tar x
  kad-actor download results.csv --strict --timeout 10m

Prints the saved path. Interrupted, the same command goes on with what came so
far.")]
    Download(DownloadFlags),
    /// Show the variants of a name, and which sources answer
    #[command(after_help = "\
Example:
  kad-actor find results.csv

What 'download' would choose comes first; 'download --hash HEX' takes another.
Hashes are shown whole; '--json' has all there is to know.")]
    Find {
        /// The published name
        name: String,
    },
    /// List the files this node shares
    #[command(after_help = "\
Example:
  kad-actor ls

A file that was changed or removed is no longer served: STATE says so.")]
    Ls,
    /// Stop sharing a name; the file itself stays
    #[command(after_help = "\
Example:
  kad-actor unshare results.csv

Peers drop its URL at once; Python nodes within a week, and find nobody there
until then.")]
    Unshare {
        /// The published name
        name: String,
    },
    /// Show downloads: under way, waiting, and lately ended
    #[command(after_help = "\
Examples:
  kad-actor transfers
  kad-actor transfers 7
  kad-actor transfers --cancel 7")]
    Transfers {
        /// This one only, with its sources
        id: Option<u64>,
        /// Give this one up; what came so far is kept
        #[arg(long, value_name = "ID", conflicts_with = "id")]
        cancel: Option<u64>,
    },
    /// Print the values of a key, newest first
    #[command(after_help = "Example:\n  kad-actor get results.csv")]
    Get {
        /// The key's name
        key: String,
    },
    /// Add a value to a key; the node keeps it fresh
    #[command(after_help = "\
Example:
  kad-actor set greeting 'good morning'

A value or a key that looks like an option goes behind a '--':
  kad-actor set greeting -- -v")]
    Set {
        /// The key's name
        key: String,
        /// The value
        #[arg(allow_hyphen_values = true)]
        value: String,
    },
    /// No longer keep a value fresh that was set here
    #[command(after_help = "\
Example:
  kad-actor unset greeting 'good morning'

Peers drop it at once; Python nodes within a week.")]
    Unset {
        /// The key's name
        key: String,
        /// The value
        #[arg(allow_hyphen_values = true)]
        value: String,
    },
    /// Run a node in the foreground
    #[command(after_help = help::NODE)]
    Node(NodeFlags),
    /// Show a node's identity, addresses and counts
    #[command(after_help = "Example:\n  kad-actor status --wait --timeout 30s")]
    Status {
        /// Return once the node has peers
        #[arg(long)]
        wait: bool,
    },
    /// Show the node's actors: state, restarts, last failure, queue
    #[command(after_help = "Example:\n  kad-actor actors")]
    Actors,
    /// Stop the node in order
    #[command(after_help = "Example:\n  kad-actor stop")]
    Stop,
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
    /// Look a key up, and show whom that asked
    #[command(after_help = help::HOPS)]
    Lookup {
        /// The key's name, or its 40 hexadecimal digits
        key: String,
    },
    /// Show which of the nodes nearest to a name hold what of it
    #[command(after_help = help::HOLDERS)]
    Audit {
        /// The name, or the key's 40 hexadecimal digits
        name: String,
        /// Store again what one of them lacks and another has
        #[arg(long)]
        repair: bool,
    },
    /// Show it all: a small swarm of real nodes on this machine
    #[command(after_help = "Example:\n  kad-actor demo --nodes 10 --stay")]
    Demo(DemoFlags),
    /// Simulate thousands of nodes, and see what lookups bring
    #[command(after_help = "\
Examples:
  kad-actor simulate --nodes 1000 --hours 6 --session-median 60m
  kad-actor simulate --nodes 200 --loss 0.05 --duplicate 0.01 --reorder --json
  kad-actor simulate --session-median 15m --svg churn.svg --require 0.98

The nodes are what ships, in virtual time; the same flags give the same figures
on every machine.")]
    Simulate(Box<SimulateFlags>),
    /// Print what makes a shell complete this command
    #[command(after_help = "\
Examples:
  kad-actor completions bash > /etc/bash_completion.d/kad-actor
  kad-actor completions fish > ~/.config/fish/completions/kad-actor.fish")]
    Completions {
        /// Which shell
        #[arg(
            value_enum,
            value_name = "bash|elvish|fish|powershell|zsh",
            hide_possible_values = true
        )]
        shell: Shell,
    },
    /// Print the manual, or write its pages into a folder
    #[command(after_help = "\
Examples:
  kad-actor man | man -l -
  kad-actor man ~/.local/share/man/man1")]
    Man {
        /// Write a page for each verb into this folder
        #[arg(value_name = "DIR")]
        folder: Option<PathBuf>,
    },
}

/// What `upload` takes.
#[derive(Debug, Clone, Args)]
pub struct UploadFlags {
    /// Files to share; `-` is standard input, and needs --name
    #[arg(required = true, value_name = "PATH")]
    pub paths: Vec<PathBuf>,
    /// Publish under this name instead of the file's own (one file only)
    #[arg(long)]
    pub name: Option<String>,
    /// Share a copy in the node's data dir: the file itself may then change or go
    #[arg(long)]
    pub copy: bool,
}

/// What `download` takes.
#[derive(Debug, Clone, Args)]
#[expect(clippy::struct_excessive_bools, reason = "flags are")]
pub struct DownloadFlags {
    /// The published name
    pub name: String,
    /// Save as this file, or into this folder; `-` is standard output [default: the working folder]
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
    /// Share neither the file nor, meanwhile, its pieces
    #[arg(long)]
    pub no_share: bool,
    /// Leave it to the node, print the number of the transfer, and end
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
