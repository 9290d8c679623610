//! The actor on real files.

use std::fs::{self, File};
use std::io::ErrorKind;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::time::Duration;

use actix::Addr;
use tempfile::TempDir;
use tokio::sync::mpsc;

use super::*;
use crate::database::Database;

/// Its file has no name any more, and goes with the test.
fn database() -> Database {
    let folder = tempfile::tempdir().unwrap();
    Database::open(&folder.path().join("state.redb")).unwrap()
}
use crate::actors::messages::{CONTENT_QUEUE, Content, EVENT_QUEUE, EventSink, Keeping};
use crate::command::{ErrorCode, Event};
use crate::content::{FileName, Loss, OpenError};

fn start() -> Addr<FilesActor> {
    // Where nothing can be written: what these tests share lies elsewhere.
    let trees = Trees::new("/proc/none".into());
    FilesActor::new(database(), Copies::new("/proc/none".into(), None), trees).start()
}

fn share(path: impl Into<PathBuf>) -> Share {
    Share {
        path: path.into(),
        name: None,
        base: "http://10.0.0.1:8468".to_owned(),
        verified: None,
        tree: None,
        keeping: Keeping::InPlace,
        events: EventSink::none(),
        cancel: CancellationToken::new(),
    }
}

fn named(path: impl Into<PathBuf>, name: &str) -> Share {
    Share { name: Some(FileName::parse(name).unwrap()), ..share(path) }
}

async fn find(files: &Addr<FilesActor>, name: &str) -> Option<ShareEntry> {
    let name = name.to_owned();
    files.send(FindShare { name }).await.unwrap()
}

async fn fails(files: &Addr<FilesActor>, share: Share) -> CommandError {
    let error = files.send(share).await.unwrap().unwrap_err();
    assert_eq!(error.message.lines().count(), 1, "{error}");
    error
}

#[actix::test]
async fn a_shared_file_is_found_by_its_name() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("año nuevo.txt");
    fs::write(&path, "content").unwrap();
    let files = start();
    let shared = files.send(share(&path)).await.unwrap().unwrap();
    let hash = blake3::hash(b"content").to_hex();
    let url = format!("http://10.0.0.1:8468/files/a%C3%B1o%20nuevo.txt#blake3={hash}");
    assert_eq!(shared.url, url);
    assert_eq!((shared.verified.size(), shared.replaced_url), (7, None));
    let entry = find(&files, "año nuevo.txt").await.unwrap();
    assert_eq!(entry.path, path.canonicalize().unwrap());
    assert_eq!(find(&files, "other").await, None);
    assert_eq!(files.send(CountShares).await.unwrap(), 1);
    assert!(files.send(Withdraw { entry: entry.clone(), loss: Loss::Gone }).await.unwrap());
    assert!(!files.send(Withdraw { entry, loss: Loss::Gone }).await.unwrap());
    assert_eq!(files.send(CountShares).await.unwrap(), 0);
}

#[actix::test]
async fn sharing_a_name_again_says_what_it_replaced() {
    let dir = TempDir::new().unwrap();
    let (a, b) = (dir.path().join("a"), dir.path().join("b"));
    fs::write(&a, "one").unwrap();
    fs::write(&b, "two").unwrap();
    let files = start();
    let first = files.send(named(&a, "x")).await.unwrap().unwrap();
    let again = files.send(named(&a, "x")).await.unwrap().unwrap();
    assert_eq!((again.replaced_url, &again.url), (None, &first.url));
    let second = files.send(named(&b, "x")).await.unwrap().unwrap();
    assert_eq!(second.replaced_url, Some(first.url));
    let elsewhere = Share { base: "http://10.0.0.2:8468".to_owned(), ..named(&b, "x") };
    let moved = files.send(elsewhere).await.unwrap().unwrap();
    assert_eq!(moved.replaced_url, Some(second.url), "the node has another address now");
    assert_eq!(files.send(CountShares).await.unwrap(), 1);
}

#[actix::test]
async fn a_link_is_resolved_once_and_lends_its_name() {
    let dir = TempDir::new().unwrap();
    fs::write(dir.path().join("v3.iso"), "three").unwrap();
    symlink("v3.iso", dir.path().join("latest.iso")).unwrap();
    let files = start();
    files.send(share(dir.path().join("latest.iso"))).await.unwrap().unwrap();
    let entry = find(&files, "latest.iso").await.unwrap();
    assert!(entry.path.ends_with("v3.iso"));
}

#[actix::test]
async fn what_cannot_be_shared_is_named_with_the_reason() {
    let dir = TempDir::new().unwrap();
    let files = start();
    for (path, code, reason) in [
        (dir.path().join("none"), ErrorCode::Failed, "no such file"),
        (dir.path().join("line\nbreak"), ErrorCode::Usage, "refused"),
        (dir.path().to_owned(), ErrorCode::Failed, "folder"),
        ("/dev/null".into(), ErrorCode::Failed, "not a regular file"),
        ("relative".into(), ErrorCode::Usage, "absolute"),
        ("/".into(), ErrorCode::Usage, "--name"),
    ] {
        let error = fails(&files, share(&path)).await;
        assert_eq!(error.code, code, "{error}");
        assert!(error.message.contains(reason), "{error}");
    }
    let error = fails(&files, named(dir.path().join("line\nbreak"), "x")).await;
    assert!(error.message.contains("line\\nbreak"), "{error}");
    assert_eq!(files.send(CountShares).await.unwrap(), 0);
}

#[actix::test]
async fn a_file_that_may_not_be_read_is_denied() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("secret");
    fs::write(&path, "x").unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o000)).unwrap();
    let error = if rustix::process::geteuid().is_root() {
        // Root may read it all the same: only the translation is left to be seen.
        let job = Job {
            path,
            name: FileName::parse("secret").unwrap(),
            base: String::new(),
            verified: None,
            tree: None,
            keeping: Keeping::InPlace,
            copies: Copies::new(PathBuf::new(), None),
            events: EventSink::none(),
            cancel: CancellationToken::new(),
            stopping: CancellationToken::new(),
            health: Vitals::default().health().clone(),
        };
        job.unopened(OpenError::Io(ErrorKind::PermissionDenied.into()))
    } else {
        fails(&start(), share(&path)).await
    };
    assert_eq!(error.code, ErrorCode::Denied);
    assert!(error.message.contains("secret"), "{error}");
}

#[actix::test]
async fn verified_content_is_not_hashed_again() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("a");
    fs::write(&path, "content").unwrap();
    let files = start();
    let verified = files.send(share(&path)).await.unwrap().unwrap().verified;
    let trusted = |name| Share { verified: Some(verified), ..named(&path, name) };
    // Another content of equal length shows that nobody looked.
    fs::write(&path, "CONTENT").unwrap();
    let shared = files.send(trusted("b")).await.unwrap().unwrap();
    assert_eq!(shared.verified, verified);
    fs::write(&path, "longer content").unwrap();
    let error = fails(&files, trusted("c")).await;
    assert!(error.message.contains("changed"), "{error}");
}

/// A file of this many bytes takes a while to hash, and none on the disk.
fn sparse(path: &Path, bytes: u64) {
    File::create(path).unwrap().set_len(bytes).unwrap();
}

#[actix::test]
async fn hashing_reports_progress_and_can_be_cancelled() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("big");
    let size = 1 << 40;
    sparse(&path, size);
    let files = start();
    let (sender, mut events) = mpsc::channel(EVENT_QUEUE);
    let cancel = CancellationToken::new();
    let request = files.send(Share {
        events: EventSink::new(sender),
        cancel: cancel.clone(),
        ..share(&path)
    });
    let watch = async {
        events.recv().await.expect("a first one, which says that it began");
        let event = events.recv().await;
        cancel.cancel();
        event
    };
    let (reply, event) = tokio::join!(request, watch);
    let Some(Event::Progress { name, bytes, size: total, bytes_per_s, .. }) = event else {
        panic!("{event:?}")
    };
    assert_eq!((name.as_str(), total), ("big", Some(size)));
    assert!(bytes > 0 && bytes_per_s > 0);
    assert_eq!(reply.unwrap().unwrap_err().code, ErrorCode::Interrupted);
    assert_eq!(files.send(CountShares).await.unwrap(), 0);
}

#[actix::test]
async fn one_that_waits_for_its_turn_can_be_cancelled_too() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("big");
    sparse(&path, 1 << 40);
    let files = start();
    let cancel = CancellationToken::new();
    let busy =
        (0..MAX_HASHING).map(|_| files.send(Share { cancel: cancel.clone(), ..share(&path) }));
    let busy: Vec<_> = busy.map(tokio::spawn).collect();
    let impatient = CancellationToken::new();
    // A failure must not wait for a terabyte to be hashed.
    let _ends = [cancel.clone().drop_guard(), impatient.clone().drop_guard()];
    let (sender, mut events) = mpsc::channel(EVENT_QUEUE);
    let (events_too, cancel_too) = (EventSink::new(sender), impatient.clone());
    let late = Share { events: events_too, cancel: cancel_too, ..share(&path) };
    let waiting = tokio::spawn(files.send(late));
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert!(!waiting.is_finished());
    assert!(events.try_recv().is_err(), "it is not being hashed");
    impatient.cancel();
    assert_eq!(waiting.await.unwrap().unwrap().unwrap_err().code, ErrorCode::Interrupted);
    assert!(busy.iter().all(|task| !task.is_finished()), "the others go on");
    cancel.cancel();
    for task in busy {
        assert_eq!(task.await.unwrap().unwrap().unwrap_err().code, ErrorCode::Interrupted);
    }
}

/// An actor with copies of up to so many bytes, and their folder.
fn with_copies(quota: u64) -> (TempDir, Copies, Addr<FilesActor>) {
    let dir = TempDir::new().unwrap();
    let copies = Copies::new(dir.path().join("copies"), Some(quota));
    let files =
        FilesActor::new(database(), copies.clone(), Trees::new("/proc/none".into())).start();
    (dir, copies, files)
}

fn kept(dir: &TempDir) -> usize {
    fs::read_dir(dir.path().join("copies")).map_or(0, Iterator::count)
}

async fn unshare(files: &Addr<FilesActor>, name: &str) -> bool {
    let name = FileName::parse(name).unwrap();
    files.send(Unshare { name }).await.unwrap().unwrap().is_some()
}

#[actix::test]
async fn a_copy_outlives_its_original_and_goes_with_its_last_share() {
    let (dir, copies, files) = with_copies(1 << 20);
    let path = dir.path().join("original");
    fs::write(&path, "content").unwrap();
    for name in ["a", "b"] {
        let copied = Share { keeping: Keeping::Copy, ..named(&path, name) };
        files.send(copied).await.unwrap().unwrap();
    }
    fs::remove_file(&path).unwrap();
    let entry = find(&files, "a").await.unwrap();
    assert!(entry.open().is_ok());
    assert_eq!((kept(&dir), copies.used()), (1, 7), "equal content is kept once");
    assert!(unshare(&files, "a").await);
    assert!(!unshare(&files, "a").await);
    assert_eq!(kept(&dir), 1, "the other needs it");
    // Another content under the name of the last one.
    fs::write(&path, "other").unwrap();
    files.send(Share { keeping: Keeping::Copy, ..named(&path, "b") }).await.unwrap().unwrap();
    assert_eq!((kept(&dir), copies.used()), (1, 5));
    files.send(named(&path, "b")).await.unwrap().unwrap();
    assert_eq!((kept(&dir), copies.used()), (0, 0), "now it is shared where it lies");
}

#[actix::test]
async fn what_comes_through_a_channel_is_shared_once_it_is_whole() {
    let (dir, _, files) = with_copies(10);
    let send = async |contents: Vec<Content>| {
        let (sender, input) = mpsc::channel(CONTENT_QUEUE);
        let name = FileName::parse("x").unwrap();
        let base = "http://10.0.0.1:8468".to_owned();
        let share = ShareStream { name, base, input, events: EventSink::none() };
        let reply = files.send(share);
        let feed = async {
            for content in contents {
                let _ = sender.send(content).await;
            }
            drop(sender);
        };
        tokio::join!(reply, feed).0.unwrap()
    };
    let part = Content::Bytes("12345".into());
    let cut_off = send(vec![part.clone()]).await.unwrap_err();
    assert_eq!(cut_off.code, ErrorCode::Interrupted, "{cut_off}");
    let too_much = send(vec![part.clone(), part.clone(), part.clone(), Content::End]).await;
    assert_eq!(too_much.unwrap_err().code, ErrorCode::NoSpace);
    assert_eq!((kept(&dir), find(&files, "x").await), (0, None));
    let shared = send(vec![part.clone(), part, Content::End]).await.unwrap();
    assert_eq!(shared.verified.hash().to_string(), blake3::hash(b"1234512345").to_string());
    assert_eq!((kept(&dir), find(&files, "x").await.unwrap().copy), (1, true));
}
