//! `simulate`: thousands of nodes in virtual time, and what their lookups bring.
//!
//! Always holds: the same flags print the same figures, but for those of this machine's time and
//! memory; a run that failed prints the command that repeats it. Never: opens a socket, or asks a
//! running node.

mod flags;
mod pages;

use std::fs::File;
use std::io::Write as _;
use std::path::Path;

use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;
use tokio::time::Instant;

pub use self::flags::{LinkFlag, ProfileFlag, SimulateFlags};
use super::output::{self, Console, Failure};
use crate::command::{CommandError, ErrorCode};
use crate::sim::{Lookups, Phase, Report, Simulation, Trace, csv, svg};

/// What `--json` prints.
#[derive(Debug, Serialize)]
struct Document<'a> {
    #[serde(flatten)]
    report: &'a Report,
    nodes: usize,
    hours: f64,
    seed: u64,
    /// What repeats the run.
    command: &'a str,
    /// Of this machine's time.
    seconds: f64,
    events_per_s: f64,
    /// Of this machine's memory; null where the system does not tell.
    bytes_per_node: Option<f64>,
}

/// Runs it to its end; the waiting between its steps lets a signal or `--timeout` end it.
pub(super) async fn run(flags: &SimulateFlags, console: Console) -> Result<(), Failure> {
    let scenario = flags.scenario()?;
    pages::with_large_pages();
    let mut simulation = Simulation::on_threads(scenario, flags.threads())
        .map_err(|error| CommandError::new(ErrorCode::Usage, error.to_string()))?;
    // A file that can't be written is known before the work, not after it.
    let table = flags.csv.as_deref().map(create).transpose()?;
    let picture = flags.svg.as_deref().map(create).transpose()?;
    let (began, memory) = (Instant::now(), peak_memory());
    let bar = Bar::new(console);
    while simulation.step() {
        bar.show(&simulation);
        tokio::task::yield_now().await;
    }
    drop(bar);
    let (report, command) = (simulation.report(), flags.command());
    write(table, &csv(simulation.samples()))?;
    write(picture, &svg(simulation.samples(), &command))?;
    let seconds = began.elapsed().as_secs_f64();
    let bytes = peak_memory().zip(memory).map(|(now, before)| now.saturating_sub(before));
    let document = Document {
        report: &report,
        nodes: flags.nodes,
        hours: flags.hours,
        seed: flags.seed,
        command: &command,
        seconds,
        events_per_s: report.events as f64 / seconds,
        bytes_per_node: bytes.map(|bytes| bytes as f64 / flags.nodes as f64),
    };
    if console.json() {
        output::document(&document)?;
    } else {
        output::result(&told(&document))?;
    }
    verdict(flags, &report, &command).map_or(Ok(()), |error| Err(error.into()))
}

/// What was not as it must be.
fn verdict(flags: &SimulateFlags, report: &Report, command: &str) -> Option<CommandError> {
    let proven = report.all.success_lower95;
    let broken = report.violations.first().map(|first| {
        let count = report.violation_count;
        format!("{count} times something was not as it must be, first: {first}")
    });
    let missed = flags.require.filter(|share| proven < *share).map(|share| {
        format!("only {} of the lookups are proven to succeed, not {share}", percent(proven))
    });
    let key = report.failed_key.as_deref();
    let trace = key.map(|key| format!(" --trace '{key}'")).unwrap_or_default();
    let message = broken.or(missed)?;
    Some(CommandError::failed(format!("{message}; repeat it with: {command}{trace}")))
}

fn create(path: &Path) -> Result<(File, &Path), CommandError> {
    let failed = |error| cannot_write(path, &error);
    File::create(path).map(|file| (file, path)).map_err(failed)
}

fn write(file: Option<(File, &Path)>, text: &str) -> Result<(), CommandError> {
    let Some((mut file, path)) = file else {
        return Ok(());
    };
    file.write_all(text.as_bytes()).map_err(|error| cannot_write(path, &error))
}

fn cannot_write(path: &Path, error: &std::io::Error) -> CommandError {
    CommandError::failed(format!("{} cannot be written: {error}", path.display()))
}

/// The most memory this process ever had, in bytes.
fn peak_memory() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.trim().strip_suffix(" kB")?.parse::<u64>().ok().map(|kilobytes| kilobytes * 1024)
}

fn percent(share: f64) -> String {
    // Rounded down, so that nothing is promised that was not seen.
    format!("{} %", (share * 1e5).floor() / 1e3)
}

/// The figures for people.
fn told(document: &Document<'_>) -> String {
    let Document { report, .. } = document;
    let mut lines = looked("lookups", &report.all);
    lines.push(format!(
        "not counted  {} of values nobody held any more, {} whose asker left",
        report.unanswerable, report.abandoned
    ));
    if report.skipped > 0 {
        let skipped = report.skipped;
        lines.push(format!("not made     {skipped}: nobody could ask, or nothing was left"));
    }
    if let Some(python) = &report.python {
        lines.extend(looked("by Python", python));
    }
    lines.push(format!("contacts     {} dead", percent(report.dead_contacts)));
    lines.push(format!("values       {} alive", percent(report.values_alive)));
    if report.taken_back > 0 {
        lines.push(format!(
            "taken back   {} values, of which one of the nearest nodes still holds {}",
            report.taken_back, report.taken_back_in_vain
        ));
    }
    let idle = report.background_bytes_per_s.map(|bytes| format!("{bytes:.0} bytes/s idle, "));
    lines.push(format!(
        "traffic      {}{:.0} bytes/s with lookups, sent by each node",
        idle.unwrap_or_default(),
        report.bytes_per_s
    ));
    let memory = document.bytes_per_node.map(|bytes| format!("; {:.0} KB a node", bytes / 1e3));
    lines.push(format!(
        "machine      {} events in {:.1} s, {:.0}/s{}",
        report.events,
        document.seconds,
        document.events_per_s,
        memory.unwrap_or_default()
    ));
    lines.push(format!("state hash   {}", report.state_hash));
    if let Some(key) = &report.failed_key {
        lines.push(format!("a failure    {} --trace '{key}'", document.command));
    }
    lines.extend(report.violations.iter().map(|wrong| format!("wrong        {wrong}")));
    lines.extend(report.trace.iter().flat_map(traced));
    lines.join("\n")
}

fn looked(title: &str, lookups: &Lookups) -> Vec<String> {
    vec![
        format!(
            "{title:<12} {}, {} failed: at least {} succeed (95 % confidence)",
            lookups.lookups,
            lookups.failures,
            percent(lookups.success_lower95)
        ),
        format!(
            "hops         {} at most for half, {} for 95 %",
            lookups.hops_p50, lookups.hops_p95
        ),
        format!(
            "latency      {:.0} ms at most for half, {:.0} ms for 95 %",
            lookups.latency_ms_p50, lookups.latency_ms_p95
        ),
        format!("questions    {:.1} a lookup", lookups.rpcs_per_lookup),
    ]
}

fn traced(trace: &Trace) -> Vec<String> {
    let which = match trace.which {
        "failed" => "The first lookup of it that failed",
        "last" => "None of it failed; the last lookup",
        _ => "Nobody asked for it; a lookup when all was over",
    };
    let mut lines = vec![
        String::new(),
        format!(
            "{which}, at {:.0} s, by {}, took {:.0} ms:",
            trace.at_s, trace.asker, trace.took_ms
        ),
        "HOP  BITS    ASKED ANSWERED  ANSWER        STATE  ADDRESS".to_owned(),
    ];
    lines.extend(trace.hops.iter().map(|hop| {
        let answered = hop.answered_ms.map(|ms| format!("{ms:.0}")).unwrap_or_default();
        let state = match (hop.alive, hop.holds) {
            (false, _) => "dead",
            (true, true) => "holds",
            (true, false) => "",
        };
        format!(
            "{:>3}  {:>4}  {:>7.0} {answered:>8}  {:<8} {:>3}  {state:>5}  {}",
            hop.hop, hop.shared_bits, hop.asked_ms, hop.answer, hop.count, hop.address
        )
    }));
    lines
}

/// Progress, for a person at a terminal.
struct Bar(Option<ProgressBar>);

impl Bar {
    fn new(console: Console) -> Self {
        let bar = console.watched().then(|| {
            let bar = ProgressBar::new(1_000);
            match ProgressStyle::with_template("{prefix:10} [{bar:30}] {msg}") {
                Ok(style) => bar.with_style(style.progress_chars("=> ")),
                Err(_) => bar,
            }
        });
        Self(bar)
    }

    fn show(&self, simulation: &Simulation) {
        let Some(bar) = &self.0 else {
            return;
        };
        let progress = simulation.progress();
        bar.set_prefix(match progress.phase {
            Phase::Joining => "joining",
            Phase::Publishing => "publishing",
            Phase::WarmUp => "warm-up",
            Phase::Looking | Phase::Done => "lookups",
        });
        bar.set_position((progress.done * 1e3) as u64);
        bar.set_message(format!(
            "{} nodes, {} of {} lookups failed",
            progress.living, progress.failures, progress.lookups
        ));
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        if let Some(bar) = &self.0 {
            bar.finish_and_clear();
        }
    }
}
