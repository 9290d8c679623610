//! Downloads that were interrupted: what is there is known without being read again, unless the
//! machine was started anew.

use std::fs;
use std::path::PathBuf;

use kad_actor::actors::messages::EventSink;
use kad_actor::command::{ErrorCode, Event};
use tokio::sync::mpsc;

use crate::bench::Bench;
use crate::servers::{Node, TreeKind, Way};
use crate::swarm::{assert_whole, bench, content};

/// Downloads about half of it, and cancels. The partial file.
async fn interrupted(bench: &Bench, content: &std::sync::Arc<[u8]>) -> PathBuf {
    let slow = Node::start(Way::Paced(4_000_000), TreeKind::Right, content);
    let (sender, mut events) = mpsc::channel(64);
    let mut fetch = Bench::fetch(&[slow.url()]);
    fetch.events = EventSink::new(sender);
    let cancel = fetch.cancel.clone();
    let (result, ()) = tokio::join!(bench.run(fetch), async {
        while let Some(event) = events.recv().await {
            if matches!(event, Event::Progress { bytes, .. } if bytes > 3_000_000) {
                break;
            }
        }
        cancel.cancel();
    });
    assert_eq!(result.unwrap_err().code, ErrorCode::Interrupted);
    let names = bench.names();
    assert_eq!(names.len(), 2, "the partial file and its record: {names:?}");
    bench.folder.path().join(names.into_iter().find(|name| name.ends_with(".partial")).unwrap())
}

/// Bytes that the content took from its source after all.
async fn resumed(bench: &Bench, content: &std::sync::Arc<[u8]>) -> (u64, bool) {
    let node = Node::honest(content);
    let (sender, mut events) = mpsc::channel(256);
    let mut fetch = Bench::fetch(&[node.url()]);
    fetch.events = EventSink::new(sender);
    let fetched = bench.run(fetch).await.unwrap();
    assert_whole(bench, &fetched, content);
    let mut read_again = false;
    while let Ok(event) = events.try_recv() {
        if let Event::Progress { sources, .. } = event {
            read_again |= sources.is_empty();
        }
    }
    (fetched.sources[0].bytes, read_again)
}

#[actix_rt::test]
async fn what_is_there_is_neither_asked_for_nor_read_again() {
    let content = content(8_000_000);
    let bench = bench();
    interrupted(&bench, &content).await;
    let (bytes, read_again) = resumed(&bench, &content).await;
    assert!(bytes <= 5_500_000, "{bytes} of 8,000,000");
    assert!(!read_again, "the record says what is there");
}

#[actix_rt::test]
async fn after_a_new_start_of_the_machine_the_pieces_are_checked() {
    let content = content(8_000_000);
    let bench = bench();
    let partial = interrupted(&bench, &content).await;
    let record = partial.with_extension("pieces");
    let mut bytes = fs::read(&record).unwrap();
    bytes[8] ^= 1; // another boot
    fs::write(&record, bytes).unwrap();
    // What the disk had not yet written when the power went.
    let mut file = fs::read(&partial).unwrap();
    let mut lost = 0;
    for group in (0..8_000_000 / 16_384).step_by(7) {
        let range = group * 16_384..(group + 1) * 16_384;
        lost += usize::from(file[range.clone()] == content[range.clone()]);
        file[range].fill(0);
    }
    fs::write(&partial, file).unwrap();
    assert!(lost > 10, "{lost} groups were there");
    let (bytes, _) = resumed(&bench, &content).await;
    assert!(bytes <= 6_000_000, "the rest is kept: {bytes}");
}

#[actix_rt::test]
async fn a_record_of_another_file_or_of_no_sense_does_no_harm() {
    let content = content(8_000_000);
    for harm in ["partial removed", "partial replaced", "record cut", "record is rubbish"] {
        let bench = bench();
        let partial = interrupted(&bench, &content).await;
        let record = partial.with_extension("pieces");
        match harm {
            "partial removed" => fs::remove_file(&partial).unwrap(),
            "partial replaced" => {
                fs::remove_file(&partial).unwrap();
                fs::write(&partial, vec![7; 8_000_000]).unwrap();
            }
            "record cut" => {
                let bytes = fs::read(&record).unwrap();
                fs::write(&record, &bytes[..bytes.len() / 2]).unwrap();
            }
            _ => fs::write(&record, vec![7; 10_000]).unwrap(),
        }
        resumed(&bench, &content).await;
    }
}

#[actix_rt::test]
async fn a_record_that_somebody_else_may_have_put_there_is_not_believed() {
    let content = content(8_000_000);
    for trap in ["link", "second name", "pipe"] {
        let bench = bench();
        let partial = interrupted(&bench, &content).await;
        let record = partial.with_extension("pieces");
        let elsewhere = tempfile::tempdir_in(bench.folder.path()).unwrap();
        let planted = elsewhere.path().join("planted");
        // It says that everything is there.
        let mut bytes = fs::read(&record).unwrap();
        let groups = bytes.len() - 8_000_000_usize.div_ceil(16_384).div_ceil(8);
        bytes[groups..].fill(0xff);
        let beyond = (8 - 8_000_000_usize.div_ceil(16_384) % 8) % 8;
        *bytes.last_mut().unwrap() >>= beyond;
        fs::write(&planted, bytes).unwrap();
        fs::remove_file(&record).unwrap();
        match trap {
            "link" => std::os::unix::fs::symlink(&planted, &record).unwrap(),
            "second name" => fs::hard_link(&planted, &record).unwrap(),
            _ => {
                let mode = rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR;
                let kind = rustix::fs::FileType::Fifo;
                rustix::fs::mknodat(rustix::fs::CWD, &record, kind, mode, 0).unwrap();
            }
        }
        let node = Node::honest(&content);
        let download = bench.run(Bench::fetch(&[node.url()]));
        let fetched = tokio::time::timeout(std::time::Duration::from_mins(1), download).await;
        let fetched = fetched.unwrap_or_else(|_| panic!("{trap}: it hangs")).unwrap();
        assert!(fetched.sources[0].bytes > 0, "{trap}: the record was believed");
        assert_eq!(fs::read(&fetched.path).unwrap()[..], content[..], "{trap}");
    }
}
