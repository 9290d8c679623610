//! Partial files, final names and full disks.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use futures_util::future::join_all;
use kad_actor::actors::messages::{EventSink, Target};
use kad_actor::command::{ErrorCode, Event, OnConflict};
use kad_actor::transfer::Limits;
use tokio::sync::mpsc;

use crate::bench::{Bench, CONTENT_BYTES, assert_whole, content, honest, names, states};
use crate::hostile::{Kind, Server, hash_of};

#[actix_rt::test]
async fn an_interrupted_download_goes_on_where_it_stopped() {
    let content = content();
    let bench = Bench::with_limits(Limits::default());
    let slow = Server::start(Kind::HalfThenSilent, &content);
    let (sender, mut events) = mpsc::channel(64);
    let mut fetch = Bench::fetch(&[slow.url_of(&content)]);
    fetch.events = EventSink::new(sender);
    let cancel = fetch.cancel.clone();
    let fetcher = bench.fetcher.clone();
    let running = actix_rt::spawn(async move { fetcher.send(fetch).await.unwrap() });
    let half = (CONTENT_BYTES / 2) as u64;
    loop {
        let event = events.recv().await.expect("progress is reported");
        if matches!(event, Event::Progress { bytes, .. } if bytes == half) {
            break;
        }
    }
    cancel.cancel();
    assert_eq!(running.await.unwrap().unwrap_err().code, ErrorCode::Interrupted);
    let [partial] = &bench.names()[..] else { panic!("{:?}", bench.names()) };
    let hex = hash_of(&content).to_string();
    assert_eq!(*partial, format!(".song.mp3.{}.partial", &hex[..16]));
    let kept = fs::metadata(bench.folder.path().join(partial)).unwrap().len();
    assert_eq!(kept, half, "all that came is kept");

    let right = honest(&content);
    let (sender, mut events) = mpsc::channel(64);
    let mut fetch = Bench::fetch(&[right.url_of(&content)]);
    fetch.events = EventSink::new(sender);
    let fetched = bench.run(fetch).await.unwrap();
    assert_whole(&bench, &fetched, &content, "resumed");
    let Some(Event::Progress { bytes, size, sources, .. }) = events.recv().await else {
        panic!("no progress while what is there is read again");
    };
    assert!(bytes > 0 && size == Some(half) && sources.is_empty(), "{bytes} of {size:?}");
    assert!(right.requests()[0].to_lowercase().contains(&format!("bytes={half}-")));
    assert_eq!(fetched.sources[0].bytes, content.len() as u64 - half);
}

#[actix_rt::test]
async fn reading_a_long_partial_file_again_can_be_interrupted() {
    let content = content();
    let bench = Bench::new();
    let partial = format!(".song.mp3.{}.partial", &hash_of(&content).to_string()[..16]);
    // Takes no room, and a minute or so to read.
    let file = fs::File::create(bench.folder.path().join(&partial)).unwrap();
    file.set_len(1 << 37).unwrap();
    let right = honest(&content);
    let (sender, mut events) = mpsc::channel(64);
    let mut fetch = Bench::fetch(&[right.url_of(&content)]);
    fetch.events = EventSink::new(sender);
    let cancel = fetch.cancel.clone();
    let (result, ()) = tokio::join!(bench.run(fetch), async {
        events.recv().await.expect("progress is reported");
        cancel.cancel();
    });
    assert_eq!(result.unwrap_err().code, ErrorCode::Interrupted);
    assert_eq!(bench.names(), [partial], "what was there stays");
}

#[actix_rt::test]
async fn an_interrupted_download_of_unknown_content_leaves_nothing() {
    let content = content();
    let bench = Bench::with_limits(Limits::default());
    let slow = Server::start(Kind::HalfThenSilent, &content);
    let fetch = Bench::fetch(&[slow.url()]);
    let cancel = fetch.cancel.clone();
    let fetcher = bench.fetcher.clone();
    let running = actix_rt::spawn(async move { fetcher.send(fetch).await.unwrap() });
    while bench.names().is_empty() {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    cancel.cancel();
    assert_eq!(running.await.unwrap().unwrap_err().code, ErrorCode::Interrupted);
    assert!(bench.names().is_empty(), "{:?}", bench.names());
}

#[actix_rt::test]
async fn only_the_partial_file_that_is_found_again_is_kept() {
    let content = content();
    let bench = Bench::with_limits(Limits::default());
    let slow = Server::start(Kind::HalfThenSilent, &content);
    let start = || {
        let fetch = Bench::fetch(&[slow.url_of(&content)]);
        let (cancel, fetcher) = (fetch.cancel.clone(), bench.fetcher.clone());
        (cancel, actix_rt::spawn(async move { fetcher.send(fetch).await.unwrap() }))
    };
    // Somebody else, another node perhaps, grows the same content here.
    let first = format!(".song.mp3.{}.partial", &hash_of(&content).to_string()[..16]);
    let theirs = fs::File::create(bench.folder.path().join(&first)).unwrap();
    theirs.lock().unwrap();
    let (cancel, download) = start();
    let held = |name: &String| fs::metadata(bench.folder.path().join(name)).unwrap().len() > 0;
    while !bench.names().iter().any(held) {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    cancel.cancel();
    assert_eq!(download.await.unwrap().unwrap_err().code, ErrorCode::Interrupted);
    assert_eq!(bench.names(), [first], "no later run looks for the other");
}

#[actix_rt::test]
async fn a_rotten_partial_file_does_not_spoil_the_download() {
    let content = content();
    let hex = hash_of(&content).to_string();
    for rot in [1_000_000, CONTENT_BYTES, 2 * CONTENT_BYTES] {
        let bench = Bench::new();
        let partial = format!(".song.mp3.{}.partial", &hex[..16]);
        fs::write(bench.folder.path().join(partial), vec![b'r'; rot]).unwrap();
        let right = honest(&content);
        let fetched = bench.run(Bench::fetch(&[right.url_of(&content)])).await.unwrap();
        assert_whole(&bench, &fetched, &content, "rotten");
    }
}

#[actix_rt::test]
async fn a_taken_name_is_an_error_unless_the_user_says_otherwise() {
    let content = content();
    let bench = Bench::new();
    let right = honest(&content);
    let taken = bench.folder.path().join("song.mp3");
    fs::write(&taken, "mine").unwrap();
    let error = bench.run(Bench::fetch(&[right.url_of(&content)])).await.unwrap_err();
    assert_eq!(error.code, ErrorCode::Exists);
    assert!(right.requests().is_empty(), "it is known before anybody is asked");
    assert_eq!(fs::read(&taken).unwrap(), b"mine");

    let mut fetch = Bench::fetch(&[right.url_of(&content)]);
    fetch.on_conflict = OnConflict::Rename;
    let beside = bench.run(fetch).await.unwrap();
    assert_eq!(beside.path, bench.folder.path().join("song.mp3 (1)"));
    let mut fetch = Bench::fetch(&[right.url_of(&content)]);
    fetch.on_conflict = OnConflict::Overwrite;
    bench.run(fetch).await.unwrap();
    assert!(fs::read(&taken).unwrap() == content);
    assert_eq!(bench.names(), ["song.mp3", "song.mp3 (1)"]);
}

#[actix_rt::test]
async fn downloads_of_one_content_side_by_side_each_get_their_file() {
    let content = content();
    let bench = Bench::new();
    let right = honest(&content);
    let fetch = |output: &str| {
        let mut fetch = Bench::fetch(&[right.url_of(&content)]);
        fetch.target = Target::Path(bench.folder.path().join(output));
        fetch.on_conflict = OnConflict::Rename;
        fetch
    };
    let all = ["", "song.mp3", "other name", ""].map(fetch);
    let results = join_all(all.map(|it| bench.run(it))).await;
    for result in results {
        assert!(fs::read(result.unwrap().path).unwrap() == content);
    }
    let expected = ["other name", "song.mp3", "song.mp3 (1)", "song.mp3 (2)"];
    assert_eq!(bench.names(), expected);
}

/// A file system of one MiB, unmounted when dropped.
struct Tiny(PathBuf);

impl Tiny {
    fn mount(folder: &Path) -> Result<Self, String> {
        let mut command = Command::new("mount");
        command.args(["-t", "tmpfs", "-o", "size=1m", "tmpfs"]).arg(folder);
        let output = command.output().map_err(|error| error.to_string())?;
        if output.status.success() {
            Ok(Self(folder.to_owned()))
        } else {
            Err(String::from_utf8_lossy(&output.stderr).into_owned())
        }
    }
}

impl Drop for Tiny {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(&self.0).status();
    }
}

/// Set for the run of this test in a namespace of its own.
const IN_NAMESPACE: &str = "KAD_ACTOR_TEST_IN_NAMESPACE";

/// Who is not root may still mount in a user namespace of his own: runs the test again there.
fn again_in_a_namespace(test: &str) -> Result<(), String> {
    let unshare = || {
        let mut command = Command::new("unshare");
        command.args(["--map-root-user", "--mount"]);
        command
    };
    let possible = unshare().arg("true").output();
    if !possible.is_ok_and(|it| it.status.success()) {
        return Err("no user namespaces".to_owned());
    }
    let exe = std::env::current_exe().unwrap();
    let mut again = unshare();
    again.arg(exe).args(["--exact", test]).env(IN_NAMESPACE, "1");
    assert!(again.status().unwrap().success(), "the test in a namespace");
    Ok(())
}

#[actix_rt::test]
async fn a_full_disk_leaves_nothing_behind() {
    let content = content();
    let bench = Bench::new();
    let folder = bench.folder.path().join("tiny");
    fs::create_dir(&folder).unwrap();
    let _tiny = match Tiny::mount(&folder) {
        Ok(tiny) => tiny,
        Err(reason) => {
            assert!(std::env::var_os(IN_NAMESPACE).is_none(), "{reason}");
            if let Err(also) = again_in_a_namespace("files::a_full_disk_leaves_nothing_behind") {
                assert!(std::env::var_os("CI").is_none(), "{reason}; {also}");
                println!("skipped: no small file system: {reason}; {also}");
            }
            return;
        }
    };
    let right = honest(&content);
    for url in [right.url_of(&content), right.url()] {
        let mut fetch = Bench::fetch(&[url]);
        fetch.target = Target::Path(folder.clone());
        let error = bench.run(fetch).await.unwrap_err();
        assert_eq!(error.code, ErrorCode::NoSpace, "{error}");
        assert!(error.message.contains("more than the disk has room for"), "{error}");
        assert!(names(&folder).is_empty(), "{:?}", names(&folder));
    }
    // What one source says or sends is no reason not to ask the next.
    let bench = Bench::new();
    let small = vec![9; 300_000];
    let (endless, rightly) = (Server::start(Kind::Endless, &[]), honest(&small));
    let urls = [endless.url_of(&small), right.url_of(&small), rightly.url_of(&small)];
    let mut fetch = Bench::fetch(&urls);
    fetch.target = Target::Path(folder.clone());
    let fetched = bench.run(fetch).await.unwrap();
    assert_eq!(states(&fetched), ["no_room", "no_room", "done"]);
    assert_eq!(fetched.sources[1].bytes, 0, "it is known by the length");
    assert_eq!(names(&folder), ["song.mp3"]);
    fs::remove_file(&fetched.path).unwrap();
    let mut fetch = Bench::fetch(&urls[..1]);
    fetch.target = Target::Path(folder.clone());
    assert_eq!(bench.run(fetch).await.unwrap_err().code, ErrorCode::NoSpace);
    assert!(names(&folder).is_empty(), "{:?}", names(&folder));
}
