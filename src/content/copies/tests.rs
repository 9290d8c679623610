//! Copies on a real file system.

use std::os::unix::fs::PermissionsExt;

use tempfile::TempDir;

use super::*;
use crate::content::FileName;

const QUOTA: u64 = 100;

fn start() -> (TempDir, Copies) {
    let dir = TempDir::new().unwrap();
    let folder = dir.path().join("copies");
    (dir, Copies::new(folder, Some(QUOTA)))
}

fn names(copies: &Copies) -> Vec<String> {
    let Ok(entries) = fs::read_dir(copies.0.folder.path()) else { return Vec::new() };
    let mut names: Vec<_> =
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

fn share(verified: Verified, (path, stamp): (PathBuf, FileStamp)) -> ShareEntry {
    let name = FileName::parse("x").unwrap();
    ShareEntry { name, path, verified, stamp, url: String::new(), copy: true }
}

fn keep(copies: &Copies, content: &[u8], kept: Option<&ShareEntry>) -> ShareEntry {
    let mut new = copies.begin().unwrap();
    new.append(content).unwrap();
    let verified = new.verified();
    share(verified, new.place(kept).unwrap())
}

#[test]
fn equal_content_is_kept_once_under_its_hash() {
    let (_dir, copies) = start();
    let first = keep(&copies, b"content", None);
    assert_eq!(names(&copies), [blake3::hash(b"content").to_hex().to_string()]);
    assert_eq!(fs::metadata(&first.path).unwrap().permissions().mode() & 0o777, 0o600);
    let folder = fs::metadata(copies.0.folder.path()).unwrap();
    assert_eq!(folder.permissions().mode() & 0o777, 0o700);
    let second = keep(&copies, b"content", Some(&first));
    assert_eq!((second.stamp, names(&copies).len(), copies.used()), (first.stamp, 1, 7));
    assert!(first.open().is_ok());
    // Somebody wrote into it: the new one takes its place.
    fs::write(&first.path, "tampered with").unwrap();
    let third = keep(&copies, b"content", Some(&first));
    assert!(third.open().is_ok());
    copies.remove(third.verified.hash()).unwrap();
    assert_eq!(names(&copies), [""; 0]);
}

#[test]
fn what_does_not_fit_or_is_given_up_leaves_nothing() {
    let (dir, copies) = start();
    let mut new = copies.begin().unwrap();
    new.append(&[1; 60]).unwrap();
    assert!(matches!(new.append(&[1; 41]), Err(CopyError::OverQuota { quota: QUOTA })));
    assert_eq!(copies.used(), 60);
    // Another one at the same time has what is left.
    let path = dir.path().canonicalize().unwrap().join("file");
    fs::write(&path, [2; 41]).unwrap();
    let go_on = |_, _| ControlFlow::Continue(());
    let over = copies.begin().unwrap().fill_from(&path, go_on);
    assert!(matches!(over, Err(CopyError::OverQuota { .. })), "{over:?}");
    drop(new);
    assert_eq!((copies.used(), names(&copies).len()), (0, 0));
    let mut given_up = copies.begin().unwrap();
    assert!(!given_up.fill_from(&path, |_, _| ControlFlow::Break(())).unwrap());
    drop(given_up);
    let mut whole = copies.begin().unwrap();
    assert!(whole.fill_from(&path, go_on).unwrap());
    assert_eq!(whole.verified().size(), 41);
    drop(whole);
    assert_eq!((copies.used(), names(&copies).len()), (0, 0));
}

#[test]
fn a_start_removes_what_nobody_needs_and_counts_the_rest() {
    let (dir, copies) = start();
    let needed = keep(&copies, b"needed", None);
    keep(&copies, b"forgotten", None);
    std::mem::forget(copies.begin().unwrap());
    assert_eq!(names(&copies).len(), 3);
    let again = Copies::new(dir.path().join("copies"), Some(QUOTA));
    again.clean(&BTreeSet::from([needed.verified.hash()])).unwrap();
    assert_eq!(names(&again), [needed.verified.hash().to_string()]);
    assert_eq!(again.used(), 6);
    assert!(needed.open().is_ok());
}

#[test]
fn a_downloaded_file_becomes_a_copy_without_being_written_again() {
    let (dir, copies) = start();
    let path = dir.path().canonicalize().unwrap().join("downloaded");
    fs::write(&path, "content").unwrap();
    let inode = |path: &Path| std::os::unix::fs::MetadataExt::ino(&fs::metadata(path).unwrap());
    let before = inode(&path);
    let verified = hash_file(&File::open(&path).unwrap(), |_| ControlFlow::Continue(()));
    let (verified, tree) = verified.unwrap().unwrap();
    let adopted = copies.adopt(path.clone(), verified, Some(tree.clone())).unwrap();
    assert_eq!(adopted.tree(), Some(tree));
    let placed = adopted.place(None).unwrap();
    assert_eq!((inode(&placed.0), path.exists(), copies.used()), (before, false, 7));
}
