//! Help, the manual and completions: all made from the same description of the command line.
//!
//! Always holds: every verb stands under one heading, every exit code in the manual. Never: writes a
//! file, unless a folder for the pages of the manual was named.

use std::fmt::Write as _;
use std::io;
use std::path::Path;

use clap::builder::StyledStr;
use clap::{Command, CommandFactory};
use clap_complete::Shell;

use super::args::Cli;
use super::output::{self, Failure};
use crate::command::CommandError;

pub(super) const EXAMPLE: &str = "\
Example, on two machines:
  a$ kad-actor node &
  a$ kad-actor upload data.tar
  b$ kad-actor node --bootstrap a:8468 &
  b$ kad-actor download data.tar";

/// What the columns of a lookup are.
pub(super) const HOPS: &str = "\
Peers stand in the order in which they were asked:
  HOP     steps from this node: 1 is its own contact, 2 whom such a one named
  BITS    leading bits that its id has in common with the key
  ANSWER  values that it holds, or nodes that it named; 'silent' if it did
          not answer, 'waiting' if the lookup ended without it

Example:
  kad-actor lookup results.csv";

/// What the columns of an audit are.
pub(super) const HOLDERS: &str = "\
The nearest nodes of those that are not gone:
  BITS        leading bits that its id has in common with the key
  HOLDS       how many of the values that are listed below, and which
  EXPIRES IN  until it drops the first of them

Example:
  kad-actor audit results.csv --repair";

/// What `--help` and the manual add.
pub(super) const LONG: &str = "\
Example, on two machines:
  a$ kad-actor node &
  a$ kad-actor upload data.tar
  b$ kad-actor node --bootstrap a:8468 &
  b$ kad-actor download data.tar

Exit codes; with --json the last line on stderr has the word in 'error.code':
    0  done
    1  failed         for a reason without a code of its own
    2  usage          the command or a setting is wrong
    3  not_found      there is no such name or key
    4  no_peers       the node knows nobody it could ask
    5  ambiguous      several variants, and --strict was given
    6  sources_failed no source gave the file
    7  interrupted    by Ctrl-C or another signal
    9  no_space       the disk is full, or a quota is
   13  exists         the file to save to is there already
   24  denied         the node or its user may not
   32  mismatch       the content is not what its hash says
   69  no_daemon      no node answers: start one with 'kad-actor node'
  124  timeout        not done within --timeout

Each setting of a node may also stand in the environment (KAD_ACTOR_LISTEN) or
in the settings file; 'kad-actor node --print-config' shows what is in force.";

pub(super) const NODE: &str = "\
Examples:
  kad-actor node --bootstrap node1.example:8468
  kad-actor node --print-config

A flag goes before its variable (KAD_ACTOR_LISTEN for --listen), that before
the settings file (listen = \"10.0.0.1:8468\"), that before the default. What
--print-config prints can be saved as a settings file.";

/// The verbs under their headings.
const GROUPS: [(&str, &[&str]); 5] = [
    ("Files", &["upload", "download", "find", "ls", "unshare", "transfers"]),
    ("Values", &["get", "set", "unset"]),
    ("Node", &["node", "status", "actors", "stop"]),
    ("Network", &["peers", "buckets", "values", "lookup", "audit"]),
    ("More", &["demo", "simulate", "completions", "man"]),
];

/// The command line with the verbs of its help in groups, which clap has for options only.
pub(super) fn command() -> Command {
    let command = Cli::command();
    let template = template(&command);
    // Clap's own list of verbs would come on top.
    command.mut_subcommands(|verb| verb.hide(true)).help_template(template)
}

fn template(command: &Command) -> StyledStr {
    let header = command.get_styles().get_header();
    let name = command.get_styles().get_literal();
    let mut text = "{about-with-newline}\n{usage-heading} {usage}\n".to_owned();
    for (heading, verbs) in GROUPS {
        // A string takes everything that is written to it.
        let _ = writeln!(text, "\n{header}{heading}:{header:#}");
        for verb in verbs {
            let found = command.find_subcommand(verb).and_then(Command::get_about);
            let about = found.map(ToString::to_string).unwrap_or_default();
            let _ = writeln!(text, "  {name}{verb:<11}{name:#} {about}");
        }
    }
    text.push_str("\n{all-args}{after-help}\n");
    text.into()
}

/// What a shell reads to complete this program's command lines.
pub(super) fn completions(shell: Shell) -> Result<(), Failure> {
    // Into memory first: a closed pipe would be a panic in there.
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "kad-actor", &mut script);
    let mut script = String::from_utf8_lossy(&script).into_owned();
    if shell == Shell::Bash {
        // clap_complete 4.6 takes the hyphen of our name for the place where a verb begins, in one
        // of the two places that must agree: no verb would be completed.
        script = script.replace("kad__subcmd__actor", "kad__actor");
    }
    output::result(&script.trim_end())
}

/// The manual to stdout, page after page, or as files of a folder.
pub(super) fn manual(folder: Option<&Path>) -> Result<(), Failure> {
    // No page of its own for `help`: what that prints is in the others.
    let mut command = Cli::command().disable_help_subcommand(true);
    command.build();
    if let Some(folder) = folder {
        let failed = |error: io::Error| {
            let folder = folder.display();
            CommandError::failed(format!("the manual cannot be written into {folder}: {error}"))
        };
        std::fs::create_dir_all(folder).map_err(failed)?;
        clap_mangen::generate_to(command, folder).map_err(failed)?;
        return Ok(());
    }
    let mut pages = Vec::new();
    let failed =
        |error: io::Error| CommandError::failed(format!("the manual cannot be made: {error}"));
    clap_mangen::Man::new(command.clone()).render(&mut pages).map_err(failed)?;
    for verb in command.get_subcommands() {
        let name = format!("kad-actor-{}", verb.get_name());
        let verb = verb.clone().name(name);
        clap_mangen::Man::new(verb).render(&mut pages).map_err(failed)?;
    }
    output::result(&String::from_utf8_lossy(&pages).trim_end())
}
