//! `upload` and `download`: files by their paths, contents by stdin and stdout.
//!
//! Always holds: what is written to stdout with `-o -` is the content alone, once the node has
//! verified all of it. Never: opens a file itself: the node does, with its own rights.

use std::path::Path;

use super::{Session, absolute, output, typed};
use crate::cli::client::Carried;
use crate::cli::output::{Failure, printable};
use crate::cli::pipes::{self, Stdout};
use crate::cli::progress::Progress;
use crate::cli::{DownloadFlags, UploadFlags, Verb, render};
use crate::command::{
    Command, CommandError, Detached, Downloaded, ErrorCode, MAX_PAGE, ShareList, Uploaded,
};

/// What stands for stdin or stdout; a file of that name is `./-`.
const PIPE: &str = "-";

/// Paths that lead each process to files of its own: the node would take another than was meant,
/// its database perhaps.
const PRIVATE: [&str; 6] =
    ["/dev/fd", "/dev/stdin", "/dev/stdout", "/dev/stderr", "/proc/self", "/proc/thread-self"];

fn is_pipe(path: &Path) -> bool {
    path.as_os_str() == PIPE
}

fn is_private(path: &Path) -> bool {
    let leads = |path: &Path| PRIVATE.iter().any(|private| path.starts_with(private));
    std::path::absolute(path).is_ok_and(|path| leads(&path))
}

/// Refuses what makes no sense before a node is asked.
pub(super) fn check(verb: &Verb) -> Result<(), CommandError> {
    let usage = |message: String| Err(CommandError::new(ErrorCode::Usage, message));
    match verb {
        Verb::Upload(UploadFlags { paths, name: Some(_), .. }) if paths.len() > 1 => {
            usage(format!("--name goes with one file, not with {}", paths.len()))
        }
        Verb::Upload(UploadFlags { paths, name: None, .. })
            if paths.iter().any(|path| is_pipe(path)) =>
        {
            usage("stdin has no name: give it one with --name ('./-' is a file called so)".into())
        }
        Verb::Upload(UploadFlags { paths, .. }) => match paths.iter().find(|it| is_private(it)) {
            Some(path) => usage(format!(
                "{} is open for this command and not for the node: send it through stdin, with \
                 'upload - --name NAME'",
                path.display()
            )),
            None => Ok(()),
        },
        Verb::Download(DownloadFlags { output: Some(path), .. }) if is_private(path) => {
            usage(format!(
                "{} is open for this command and not for the node: take it by stdout, with '-o -'",
                path.display()
            ))
        }
        Verb::Download(flags) if flags.detach && flags.output.as_deref().is_some_and(is_pipe) => {
            usage("--detach does not wait for the content, so it can't go to stdout".into())
        }
        _ => Ok(()),
    }
}

impl Session {
    /// Each file by itself: one that fails does not keep the others from being shared. The last
    /// failure decides how the run ends.
    pub(super) async fn upload(&mut self, flags: &UploadFlags) -> Result<(), Failure> {
        let mut failed = None;
        for path in &flags.paths {
            match self.upload_one(path, flags).await {
                Ok(()) => {}
                Err(Failure::Command(error)) if flags.paths.len() > 1 => {
                    if let Some(error) = failed.replace(error) {
                        self.console.failure(&error);
                    }
                }
                Err(other) => return Err(other),
            }
        }
        failed.map_or(Ok(()), |error| Err(error.into()))
    }

    async fn upload_one(&mut self, path: &Path, flags: &UploadFlags) -> Result<(), Failure> {
        let UploadFlags { name, copy, .. } = flags.clone();
        let (command, input) = match name {
            Some(name) if is_pipe(path) => (Command::UploadStream { name }, Some(pipes::stdin())),
            name => (Command::Upload { path: absolute(path)?, name, copy }, None),
        };
        let mut progress = Progress::new(self.console);
        let carried = Carried { input, output: None };
        let on_event = |event, line: &str| progress.event(event, line);
        let answer = self.client.execute_with(&command, carried, on_event).await?;
        drop(progress);
        self.show(&answer, |done: &Uploaded, _| printable(&done.url).into_owned())?;
        if !self.console.json() {
            let done: Uploaded = typed(&answer)?;
            self.console.note(&format!("{}: stored {}/{}", done.name, done.stored, done.of));
            if done.reachable == Some(false) {
                self.console.note(&render::unreachable(&done.url));
            }
        }
        Ok(())
    }

    /// All pages of the shares, as one.
    pub(super) async fn ls(&mut self) -> Result<(), Failure> {
        let page = |after| Command::Ls { limit: Some(MAX_PAGE), after };
        let mut all: ShareList = typed(&self.ask(&page(None)).await?)?;
        while let Some(after) = all.next.take() {
            let more: ShareList = typed(&self.ask(&page(Some(after))).await?)?;
            all.shares.extend(more.shares);
            (all.truncated, all.next) = (more.truncated, more.next);
        }
        let whole = serde_json::to_value(&all).map_err(|error| {
            CommandError::failed(format!("the list cannot be written as JSON: {error}"))
        })?;
        self.show(&whole, render::shares)
    }

    pub(super) async fn download(&mut self, flags: &DownloadFlags) -> Result<(), Failure> {
        let output = flags.output.as_deref().unwrap_or_else(|| Path::new("."));
        let stream = is_pipe(output);
        let command = Command::Download {
            name: flags.name.clone(),
            output: if stream { None } else { Some(absolute(output)?) },
            hash: flags.hash.clone(),
            newest: flags.newest,
            strict: flags.strict,
            on_conflict: flags.on_conflict.into(),
            no_share: flags.no_share,
            detach: flags.detach,
            stream,
        };
        if stream {
            return self.download_to_stdout(&command).await;
        }
        let answer = self.ask(&command).await?;
        if flags.detach {
            self.show(&answer, |begun: &Detached, _| begun.id.to_string())?;
            let Detached { id, name } = typed(&answer)?;
            let goes_on = format!("{name}: the node goes on; see 'kad-actor transfers {id}'");
            self.console.note(&goes_on);
            return Ok(());
        }
        self.show(&answer, |done: &Downloaded, _| {
            printable(&done.path.to_string_lossy()).into_owned()
        })?;
        if !self.console.json() {
            self.summary(&typed(&answer)?);
        }
        Ok(())
    }

    async fn download_to_stdout(&mut self, command: &Command) -> Result<(), Failure> {
        let stdout = Stdout::open();
        let mut progress = Progress::aside(self.console);
        let carried = Carried { input: None, output: Some(stdout.parts.clone()) };
        let on_event = |event, line: &str| progress.event(event, line);
        let answer = self.client.execute_with(command, carried, on_event).await;
        drop(progress);
        let answer = match answer {
            Ok(answer) => {
                stdout.finish().await?;
                answer
            }
            // Why it can't be written is for the writer to say.
            Err(Failure::ClosedPipe) => return stdout.finish().await,
            Err(failure) => return Err(failure),
        };
        if self.console.json() {
            output::aside(&answer);
        } else {
            self.summary(&typed(&answer)?);
        }
        Ok(())
    }

    fn summary(&self, done: &Downloaded) {
        self.console.note(&render::downloaded(done));
        for line in render::shares_of_sources(done) {
            self.console.note(&line);
        }
        if let Some(warning) = &done.warning {
            self.console.note(&format!("the content is whole, but {warning}"));
        }
    }
}
