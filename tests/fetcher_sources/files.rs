//! Partial files, final names and full disks.

use std::fs;
use std::time::Duration;

use futures_util::future::join_all;
use kad_actor::actors::messages::{EventSink, Target};
use kad_actor::command::{ErrorCode, Event, OnConflict};
use kad_actor::content::{ContentHasher, ShareEntry, open_regular};
use kad_actor::transfer::Limits;
use tokio::sync::mpsc;

use crate::bench::{Bench, CONTENT_BYTES, assert_whole, content, honest, names, states};
use crate::hostile::{Kind, Server, hash_of};
use crate::tiny::Tiny;

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
    assert_eq!(beside.path, bench.folder.path().join("song (1).mp3"));
    let mut fetch = Bench::fetch(&[right.url_of(&content)]);
    fetch.on_conflict = OnConflict::Overwrite;
    bench.run(fetch).await.unwrap();
    assert!(fs::read(&taken).unwrap() == content);
    assert_eq!(bench.names(), ["song (1).mp3", "song.mp3"]);
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
    let expected = ["other name", "song (1).mp3", "song (2).mp3", "song.mp3"];
    assert_eq!(bench.names(), expected);
}

/// A share whose file no longer is what it was, though all that can be seen of it is the same.
#[actix_rt::test]
async fn a_copy_of_an_own_share_is_checked() {
    let content = content();
    let bench = Bench::new();
    let right = honest(&content);
    let path = bench.folder.path().canonicalize().unwrap().join("shared");
    let hasher = |content: &[u8]| {
        let mut hasher = ContentHasher::new();
        hasher.update(content);
        hasher.finish()
    };
    for (held, requests) in [(content.clone(), 0), (vec![7; content.len()], 1)] {
        fs::write(&path, &held).unwrap();
        let mut fetch = Bench::fetch(&[right.url_of(&content)]);
        fetch.own = Some(ShareEntry {
            name: fetch.name.clone(),
            path: path.clone(),
            verified: hasher(&content),
            stamp: open_regular(&path).unwrap().1,
            url: "http://own/files/song.mp3".to_owned(),
            copy: false,
        });
        let fetched = bench.run(fetch).await.unwrap();
        assert!(fs::read(&fetched.path).unwrap() == content);
        assert_eq!(fetched.copied, requests == 0);
        fs::remove_file(fetched.path).unwrap();
        assert_eq!(bench.names(), ["shared"], "no partial is left");
    }
}

#[actix_rt::test]
async fn a_full_disk_leaves_nothing_behind() {
    let content = content();
    let bench = Bench::new();
    let folder = bench.folder.path().join("tiny");
    fs::create_dir(&folder).unwrap();
    let test = "files::a_full_disk_leaves_nothing_behind";
    let Some(_tiny) = Tiny::mount_for(test, &folder) else { return };
    let right = honest(&content);
    for url in [right.url_of(&content), right.url()] {
        let mut fetch = Bench::fetch(&[url]);
        fetch.target = Target::Path(folder.clone());
        let error = bench.run(fetch).await.unwrap_err();
        assert_eq!(error.code, ErrorCode::NoSpace, "{error}");
        assert!(error.message.contains("more than the disk has room for"), "{error}");
        assert!(names(&folder).is_empty(), "{:?}", names(&folder));
    }
    // Who waited for such a transfer sees to it himself.
    let mut fetch = Bench::fetch(&[right.url_of(&content)]);
    fetch.target = Target::Path(folder.clone());
    let other = Bench::fetch(&[right.url_of(&content)]);
    let (full, other) = tokio::join!(bench.run(fetch), bench.run(other));
    assert_eq!(full.unwrap_err().code, ErrorCode::NoSpace);
    assert!(fs::read(other.unwrap().path).unwrap() == content);
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
