//! Shares on a real file system.

use std::fs;
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixListener;
use std::time::Duration;

use rustix::fs::{FileType, mknodat};
use tempfile::TempDir;

use super::*;
use crate::content::ContentHasher;

fn entry(path: &Path, name: &str) -> ShareEntry {
    let (_, stamp) = open_regular(path).unwrap();
    let mut hasher = ContentHasher::new();
    hasher.update(&fs::read(path).unwrap());
    let (name, verified) = (FileName::parse(name).unwrap(), hasher.finish());
    let url = ShareEntry::url_of("http://10.0.0.1:8468", &name, &verified);
    ShareEntry { name, path: path.to_owned(), verified, stamp, url, copy: false }
}

/// A folder whose own path holds no link.
fn folder() -> (TempDir, PathBuf) {
    let dir = TempDir::new().unwrap();
    let path = dir.path().canonicalize().unwrap();
    (dir, path)
}

#[test]
fn a_name_leads_to_what_was_shared_last() {
    let (_dir, dir) = folder();
    let (a, b) = (dir.join("a"), dir.join("b"));
    fs::write(&a, "a").unwrap();
    fs::write(&b, "b").unwrap();
    let (first, second) = (entry(&a, "x"), entry(&b, "x"));
    let mut shares = Shares::new();
    assert_eq!(shares.insert(first.clone()), Ok(None));
    let replaced = Listed { entry: first.clone(), loss: None, sha256: None };
    assert_eq!(shares.insert(second.clone()), Ok(Some(replaced)));
    assert_eq!((shares.find("x"), shares.len()), (Some(&second), 1));
    assert!(!shares.withdraw(&first, Loss::Gone), "an outdated report takes nothing away");
    assert!(shares.withdraw(&second, Loss::Changed));
    assert!(shares.is_empty());
    assert!(!shares.withdraw(&second, Loss::Changed));
}

#[test]
fn what_was_withdrawn_stays_on_the_list_until_its_name_is_shared_again_or_given_up() {
    let (_dir, dir) = folder();
    let path = dir.join("a");
    fs::write(&path, "a").unwrap();
    let mut shares = Shares::new();
    let names = |shares: &Shares| {
        let word = |loss: Option<Loss>| loss.map_or("shared", Loss::word);
        let all = shares.page(None, 9);
        all.iter().map(|it| format!("{} {}", it.entry.name, word(it.loss))).collect::<Vec<_>>()
    };
    for name in ["b", "a", "c"] {
        shares.insert(entry(&path, name)).unwrap();
    }
    shares.withdraw(&entry(&path, "b"), Loss::Gone);
    assert_eq!(names(&shares), ["a shared", "b gone", "c shared"]);
    assert_eq!((shares.find("b"), shares.len()), (None, 2));
    let page = shares.page(Some(&FileName::parse("a").unwrap()), 1);
    assert_eq!(page[0].entry.name.as_str(), "b");
    shares.insert(entry(&path, "b")).unwrap();
    assert_eq!(names(&shares), ["a shared", "b shared", "c shared"]);
    shares.withdraw(&entry(&path, "c"), Loss::Changed);
    assert!(shares.remove("c").is_some());
    assert!(shares.remove("c").is_none());
    assert_eq!(names(&shares), ["a shared", "b shared"]);
}

#[test]
fn the_number_of_shares_is_bounded() {
    let (_dir, dir) = folder();
    let path = dir.join("a");
    fs::write(&path, "a").unwrap();
    let template = entry(&path, "0");
    let named = |number: usize| ShareEntry {
        name: FileName::parse(&number.to_string()).unwrap(),
        ..template.clone()
    };
    let mut shares = Shares::new();
    for number in 0..MAX_SHARES {
        assert_eq!(shares.insert(named(number)), Ok(None));
    }
    assert_eq!(shares.insert(named(MAX_SHARES)), Err(SharesFull));
    assert_eq!(
        shares.insert(named(0)),
        Ok(Some(Listed { entry: named(0), loss: None, sha256: None })),
        "a replacement needs no room"
    );
}

#[test]
fn only_the_unchanged_file_opens() {
    let (_dir, dir) = folder();
    let path = dir.join("a");
    let share_anew = || {
        let _ = fs::remove_file(&path);
        fs::write(&path, "content").unwrap();
        let share = entry(&path, "a");
        // Older kernels stamp files with the time of their last tick, 4 to 10 ms ago.
        std::thread::sleep(Duration::from_millis(25));
        share
    };
    assert!(share_anew().open().is_ok());

    let share = share_anew();
    fs::write(&path, "CONTENT").unwrap();
    assert!(matches!(share.open(), Err(OpenError::Changed)), "rewritten");

    let share = share_anew();
    fs::write(&path, "content and more").unwrap();
    assert!(matches!(share.open(), Err(OpenError::Changed)), "grown");

    let share = share_anew();
    fs::write(dir.join("b"), "content").unwrap();
    fs::rename(dir.join("b"), &path).unwrap();
    assert!(matches!(share.open(), Err(OpenError::Changed)), "another file of equal content");

    let share = share_anew();
    fs::remove_file(&path).unwrap();
    assert!(matches!(share.open(), Err(OpenError::Gone)), "deleted");
    fs::create_dir(&path).unwrap();
    assert!(matches!(share.open(), Err(OpenError::NotAFile)), "now a folder");
}

#[test]
fn no_link_is_followed_not_even_to_the_same_file() {
    let (_dir, dir) = folder();
    fs::create_dir(dir.join("d")).unwrap();
    let path = dir.join("d/a");
    fs::write(&path, "content").unwrap();
    let share = entry(&path, "a");
    assert!(share.open().is_ok());
    // In the middle of the path: renaming a folder leaves the stamp of the file as it was.
    fs::rename(dir.join("d"), dir.join("e")).unwrap();
    symlink(dir.join("e"), dir.join("d")).unwrap();
    assert!(matches!(share.open(), Err(OpenError::Gone)));
    fs::remove_file(dir.join("d")).unwrap();
    fs::rename(dir.join("e"), dir.join("d")).unwrap();
    assert!(share.open().is_ok());
    // At its end.
    fs::rename(&path, dir.join("d/b")).unwrap();
    symlink(dir.join("d/b"), &path).unwrap();
    assert!(matches!(share.open(), Err(OpenError::Gone)));
}

#[test]
fn what_is_no_regular_file_is_refused_at_once() {
    let (_dir, dir) = folder();
    let (pipe, socket) = (dir.join("pipe"), dir.join("socket"));
    mknodat(CWD, &pipe, FileType::Fifo, Mode::RUSR, 0).unwrap();
    let _listener = UnixListener::bind(&socket).unwrap();
    for path in [&pipe, &socket, &dir, Path::new("/dev/null")] {
        let error = open_regular(path).unwrap_err();
        assert!(matches!(error, OpenError::NotAFile), "{}: {error:?}", path.display());
        assert!(error.loss().is_some());
    }
    assert!(matches!(open_regular(&dir.join("none")), Err(OpenError::Gone)));
}

#[test]
fn a_file_that_changes_once_while_it_is_hashed_is_hashed_again() {
    let (_dir, dir) = folder();
    let path = dir.join("a");
    for change in [
        |path: &Path| fs::write(path, "CONTENT").unwrap(),
        |path: &Path| fs::write(path, "more content").unwrap(),
        |path: &Path| fs::write(path, "less").unwrap(),
        |path: &Path| {
            fs::write(path.with_file_name("b"), "another").unwrap();
            fs::rename(path.with_file_name("b"), path).unwrap();
        },
    ] {
        fs::write(&path, "content").unwrap();
        std::thread::sleep(Duration::from_millis(25));
        let mut reads = 0;
        let hashed = hash_in_place(&path, |_, _| {
            reads += 1;
            if reads == 1 {
                change(&path);
            }
            ControlFlow::Continue(())
        });
        let Hashed { verified, stamp, tree } = hashed.unwrap().unwrap();
        assert_eq!(tree.root(), verified.hash());
        let content = fs::read(&path).unwrap();
        assert_eq!(verified.hash().as_bytes(), blake3::hash(&content).as_bytes());
        assert_eq!((stamp, verified.size()), (entry(&path, "a").stamp, content.len() as u64));
    }
}

#[test]
fn a_file_that_keeps_changing_is_given_up() {
    let (_dir, dir) = folder();
    let path = dir.join("log");
    fs::write(&path, "line\n").unwrap();
    let mut reads = 0;
    let hashed = hash_in_place(&path, |_, _| {
        reads += 1;
        assert!(reads <= HASH_ATTEMPTS, "it would be read for ever");
        let mut log = fs::read(&path).unwrap();
        log.extend(b"line\n");
        fs::write(&path, log).unwrap();
        ControlFlow::Continue(())
    });
    assert!(matches!(hashed, Err(OpenError::Changed)));
    assert_eq!(reads, HASH_ATTEMPTS);
    assert!(matches!(hash_in_place(&path, |_, _| ControlFlow::Break(())), Ok(None)));
}
