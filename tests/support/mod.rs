//! What the tests with real processes share: nodes, Python swarms, clients, servers, figures.
//!
//! Always holds: everything lives in temporary folders and on loopback, and what a test started
//! ends with it. Never: touches a process it did not start.

#![expect(
    dead_code,
    unreachable_pub,
    reason = "shared by test binaries, each of which uses its own part"
)]
#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::thread;
use std::time::Duration;

use kad_actor::clock::Clock;

pub mod disk;
pub mod http;
pub mod netns;
pub mod network;
pub mod node;
pub mod swarm;

/// Long enough for anything healthy on a busy machine; only a hang takes longer.
pub const PATIENCE: Duration = Duration::from_mins(1);

/// Says that a test can't run here, and why. In CI that is a failure: there, everything runs.
///
/// The reason also goes to `target/skipped.txt`, from where `./test` repeats it at the end.
pub fn skip(reason: &str) {
    assert!(
        std::env::var("CI").as_deref() != Ok("true"),
        "would be skipped, which CI does not allow: {reason}"
    );
    eprintln!("skipped: {reason}");
    let log = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/skipped.txt");
    let file = std::fs::OpenOptions::new().create(true).append(true).open(log);
    if let Ok(mut file) = file {
        let _ = writeln!(file, "{reason}");
    }
}

/// Whether a program can be started; if not, the test is skipped.
pub fn have(program: &str) -> bool {
    let found = Command::new(program)
        .arg("--version")
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok();
    if !found {
        skip(&format!("no {program} on this machine"));
    }
    found
}

/// Tries until the condition holds; panics with what was awaited when [`PATIENCE`] ends.
pub fn wait_until(what: &str, mut condition: impl FnMut() -> bool) {
    let clock = Clock::start();
    while !condition() {
        assert!(
            clock.now().since(clock.started()) < PATIENCE,
            "waited {PATIENCE:?} in vain: {what}"
        );
        thread::sleep(Duration::from_millis(20));
    }
}

/// How a process that was run to its end came out.
#[derive(Debug)]
pub struct Finished {
    /// Exit code; none when a signal ended it.
    pub code: Option<i32>,
    /// Its standard output.
    pub stdout: Vec<u8>,
    /// Its standard error.
    pub stderr: String,
}

impl Finished {
    /// The one JSON document of a command that worked.
    pub fn json(&self) -> serde_json::Value {
        assert_eq!(self.code, Some(0), "{}", self.stderr);
        serde_json::from_slice(&self.stdout).unwrap_or_else(|error| {
            panic!("{error}: {:?}, {}", String::from_utf8_lossy(&self.stdout), self.stderr)
        })
    }

    /// The `code` of the failure that the last line of standard error tells.
    pub fn error_code(&self) -> String {
        let last = self.stderr.lines().last().unwrap_or_default();
        let line: serde_json::Value = serde_json::from_str(last)
            .unwrap_or_else(|error| panic!("{error}: last line of {:?}", self.stderr));
        let message = line["error"]["message"].as_str().unwrap_or_default();
        assert!(!message.is_empty(), "a failure says what happened: {line}");
        line["error"]["code"].as_str().unwrap().to_owned()
    }
}

/// Runs to the end; what takes longer than [`PATIENCE`] is killed and fails the test.
pub fn run(command: &mut Command) -> Finished {
    let child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("{command:?}: {error}"));
    finish(child, &format!("{command:?}"))
}

/// Waits for a process whose outputs are piped.
pub fn finish(mut child: std::process::Child, what: &str) -> Finished {
    let mut out = child.stdout.take().expect("stdout is piped");
    let mut err = child.stderr.take().expect("stderr is piped");
    let read_all = |from: &mut dyn std::io::Read| {
        let mut bytes = Vec::new();
        from.read_to_end(&mut bytes).map(|_| bytes).unwrap_or_default()
    };
    thread::scope(|scope| {
        let stdout = scope.spawn(move || read_all(&mut out));
        let stderr = scope.spawn(move || read_all(&mut err));
        let status = wait_or_kill(&mut child);
        let stdout = stdout.join().unwrap();
        let stderr = String::from_utf8_lossy(&stderr.join().unwrap()).into_owned();
        let status = status.unwrap_or_else(|| panic!("hangs: {what}: {stderr}"));
        Finished { code: status.code(), stdout, stderr }
    })
}

/// The exit status, or nothing when the process had to be killed after [`PATIENCE`].
pub fn wait_or_kill(child: &mut std::process::Child) -> Option<ExitStatus> {
    let clock = Clock::start();
    while clock.now().since(clock.started()) < PATIENCE {
        if let Some(status) = child.try_wait().unwrap() {
            return Some(status);
        }
        thread::sleep(Duration::from_millis(5));
    }
    let _ = child.kill();
    let _ = child.wait();
    None
}

/// Sends a signal to a process that the test started.
pub fn signal(child: &std::process::Child, signal: rustix::process::Signal) {
    rustix::process::kill_process(rustix::process::Pid::from_child(child), signal).unwrap();
}

/// Writes a file of bytes that don't repeat, and returns its path and content.
pub fn make_file(dir: &Path, name: &str, size: usize) -> (PathBuf, Vec<u8>) {
    let mut content = vec![0; size];
    let mut stream = blake3::Hasher::new().update(name.as_bytes()).finalize_xof();
    stream.fill(&mut content);
    let path = dir.join(name);
    std::fs::write(&path, &content).unwrap();
    (path, content)
}

/// Memory of a running process that is in RAM, in bytes.
pub fn resident_bytes(process: &std::process::Child) -> u64 {
    memory_bytes(process, "VmRSS:")
}

/// The most of it that there ever was.
pub fn peak_bytes(process: &std::process::Child) -> u64 {
    memory_bytes(process, "VmHWM:")
}

fn memory_bytes(process: &std::process::Child, field: &str) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", process.id())).unwrap();
    let line = status.lines().find(|line| line.starts_with(field)).unwrap();
    let kib: u64 = line.split_whitespace().nth(1).unwrap().parse().unwrap();
    kib * 1024
}

/// How much a test of a limit does: a short run in every check, the full one when asked for by
/// `LIMITS=full` (`scripts/release-limits`).
pub fn load<T>(short: T, full: T) -> T {
    if std::env::var("LIMITS").as_deref() == Ok("full") { full } else { short }
}

/// The value below which the given share of the durations lies.
pub fn percentile(durations: &[Duration], share: f64) -> Duration {
    assert!(!durations.is_empty(), "no figures");
    let mut sorted = durations.to_vec();
    sorted.sort_unstable();
    let rank = (share * sorted.len() as f64).ceil() as usize;
    sorted[rank.clamp(1, sorted.len()) - 1]
}
