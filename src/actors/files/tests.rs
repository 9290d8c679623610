//! The actor on real files.

use std::fs::File;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::time::Duration;

use actix::Addr;
use tempfile::TempDir;
use tokio::sync::mpsc;

use super::*;
use crate::actors::messages::EVENT_QUEUE;

fn start() -> Addr<FilesActor> {
    FilesActor::new().start()
}

fn share(path: impl Into<PathBuf>) -> Share {
    Share {
        path: path.into(),
        name: None,
        base: "http://10.0.0.1:8468".to_owned(),
        verified: None,
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
    assert!(files.send(Withdraw { entry: entry.clone() }).await.unwrap());
    assert!(!files.send(Withdraw { entry }).await.unwrap());
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
