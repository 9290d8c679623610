//! The hidden file beside a download's final name: how it is called, and whose it is.
//!
//! Always holds: one download writes it at a time (it is locked while it is open). Never: follows a
//! link that somebody put in its place.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::{FlockOperation, OFlags, flock};
use tokio::task::spawn_blocking;

use super::destination::{MAX_NAME_BYTES, cut};
use crate::content::ContentHasher;

/// Other names tried when the first is in use by another download, or is not ours.
const MAX_NAMES: u64 = 8;
/// What the name of a partial file ends with.
const ENDING: &str = ".partial";
/// Likewise, with the number of all but the first.
const NUMBER_AND_ENDING: usize = 16 + ENDING.len();
/// Entries of a folder that are looked at for what killed runs left: it takes some 10 ms.
const MAX_LISTED: usize = 10_000;

/// How a partial file is named, and whether what an earlier run left in it is of use.
#[derive(Debug, Clone)]
pub(super) struct PartialName {
    /// Where the final name will be.
    pub(super) folder: PathBuf,
    /// The final name.
    pub(super) name: OsString,
    /// Tells contents of one name apart.
    pub(super) tag: String,
    /// Whether to go on from what is there.
    pub(super) resumes: bool,
    /// For names beside the first.
    pub(super) seed: u64,
}

impl PartialName {
    /// `.NAME.TAG.partial`, with a number for all but the first.
    fn path(&self, number: u64) -> PathBuf {
        let suffix = match number {
            0 => format!(".{}{ENDING}", self.tag),
            _ => format!(".{}.{:016x}{ENDING}", self.tag, self.seed ^ number),
        };
        let mut name = OsString::from(".");
        name.push(cut(&self.name, MAX_NAME_BYTES - 1 - suffix.len()));
        name.push(suffix);
        self.folder.join(name)
    }
}

/// A partial file that is open and locked.
#[derive(Debug)]
pub(super) struct Claimed {
    pub(super) path: PathBuf,
    /// Whether another run would find it: by its first name, and if that run may go on from it.
    pub(super) found_again: bool,
    pub(super) file: Arc<File>,
}

impl Claimed {
    /// Opens and locks the first name that is free or ours, else one that is new. Blocks.
    pub(super) fn claim(name: &PartialName) -> io::Result<Self> {
        let (path, file) = create(name)?;
        let first = path == name.path(0);
        if first {
            sweep(name);
        }
        let claimed = Self { path, found_again: name.resumes && first, file: Arc::new(file) };
        if !name.resumes {
            empty(&claimed.file)?;
            claimed.forget_record();
        }
        Ok(claimed)
    }

    /// Removes the record of an earlier run, which says nothing of this file. Blocks.
    pub(super) fn forget_record(&self) {
        remove_ours(&record_path(&self.path));
    }

    /// Leaves it to whoever is next, though somebody still has it open.
    pub(super) fn unlock(&self) {
        let _ = flock(&self.file, FlockOperation::Unlock);
    }

    /// Bytes for which the disk still has room, as far as its file system says.
    pub(super) async fn room(&self) -> Option<u64> {
        room_at(self.path.clone()).await
    }

    /// Removes it.
    pub(super) async fn remove(self) {
        let _ = spawn_blocking(move || fs::remove_file(self.path)).await;
    }
}

/// Bytes for which the disk of a file still has room, as far as its file system says.
pub(super) async fn room_at(path: PathBuf) -> Option<u64> {
    let asked = spawn_blocking(move || rustix::fs::statvfs(&path)).await.ok()?.ok()?;
    // Some file systems over the network or in user space say nothing.
    (asked.f_blocks > 0).then(|| asked.f_bavail.saturating_mul(asked.f_frsize))
}

/// The record of a file that grows by pieces, beside it.
pub(super) fn record_path(partial: &Path) -> PathBuf {
    partial.with_extension("pieces")
}

/// Removes what killed runs left of the same content under other names than the first: nobody would
/// look for it. Blocks.
fn sweep(name: &PartialName) {
    let one = name.path(1);
    let Some(like) = one.file_name().map(std::ffi::OsStr::as_encoded_bytes) else { return };
    let Ok(entries) = fs::read_dir(&name.folder) else { return };
    let (from, to) = (like.len() - NUMBER_AND_ENDING, like.len() - ENDING.len());
    for entry in entries.take(MAX_LISTED).flatten() {
        let found = entry.file_name();
        let found = found.as_encoded_bytes();
        let alike = found.len() == like.len()
            && found[..from] == like[..from]
            && found[from..to].iter().all(u8::is_ascii_hexdigit)
            && found[to..] == like[to..];
        if alike {
            remove_ours(&entry.path());
        }
    }
}

/// Removes a file of our own that no download holds. Blocks.
fn remove_ours(path: &Path) {
    if let Some(_locked) = open_found(path) {
        let _ = fs::remove_file(path);
    }
}

/// Throws away what a file holds. One that holds nothing is left alone: once truncated, ext4 writes
/// all of a file to the disk when it is closed, and whoever closes it waits for that.
pub(super) fn empty(file: &File) -> io::Result<()> {
    if file.metadata()?.len() > 0 { file.set_len(0) } else { Ok(()) }
}

/// Opens and locks it.
fn create(name: &PartialName) -> io::Result<(PathBuf, File)> {
    let first = name.path(0);
    if let Some(file) = open_existing(&first)? {
        return Ok((first, file));
    }
    for number in 1..=MAX_NAMES {
        let path = name.path(number);
        let mut options = OpenOptions::new();
        match options.read(true).write(true).create_new(true).open(&path) {
            // Another download may just sweep it away.
            Ok(file) => {
                let locked = flock(&file, FlockOperation::NonBlockingLockExclusive).is_ok();
                if locked && is_at(&file.metadata()?, &path) {
                    return Ok((path, file));
                }
            }
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error),
        }
    }
    Err(io::Error::other("all names for a partial file are taken"))
}

/// Opens the file, or makes it. None if it is locked by another download, or not a plain file of
/// our own: folders may be shared, and somebody may have put a trap there.
pub(super) fn open_existing(path: &Path) -> io::Result<Option<File>> {
    open_ours(path, true)
}

/// The same; none if there is no file, either.
pub(super) fn open_found(path: &Path) -> Option<File> {
    open_ours(path, false).ok().flatten()
}

fn open_ours(path: &Path, make: bool) -> io::Result<Option<File>> {
    let no_follow = OFlags::NOFOLLOW | OFlags::NONBLOCK;
    let opened = OpenOptions::new()
        .read(true)
        .write(true)
        .create(make)
        .truncate(false)
        .custom_flags(no_follow.bits().cast_signed())
        .open(path);
    let file = match opened {
        Ok(file) => file,
        Err(_) if path.symlink_metadata().is_ok() => return Ok(None),
        Err(error) => return Err(error),
    };
    let found = file.metadata()?;
    let ours =
        found.is_file() && found.nlink() == 1 && found.uid() == rustix::process::geteuid().as_raw();
    if !ours || flock(&file, FlockOperation::NonBlockingLockExclusive).is_err() {
        return Ok(None);
    }
    // Whoever held the lock before may have renamed it into place: then it is no longer ours.
    Ok(is_at(&found, path).then_some(file))
}

/// Whether a path leads to this file still.
fn is_at(file: &fs::Metadata, path: &Path) -> bool {
    let now = path.symlink_metadata();
    now.is_ok_and(|now| (now.dev(), now.ino()) == (file.dev(), file.ino()))
}

/// The tag of a content without a hash: of the URL it comes from.
pub(super) fn url_tag(url: &str) -> String {
    let mut hasher = ContentHasher::new();
    hasher.update(url.as_bytes());
    tag(&hasher.finish().hash().to_string())
}

/// The first digits of a hash, enough to tell the contents of one name apart.
pub(super) fn tag(hex: &str) -> String {
    hex.chars().take(16).collect()
}

#[cfg(test)]
mod tests {
    use std::ffi::OsStr;
    use std::os::unix::fs::symlink;

    use super::*;

    fn named(folder: &Path, name: &str) -> PartialName {
        PartialName {
            folder: folder.to_owned(),
            name: OsStr::new(name).to_owned(),
            tag: tag(&"ab".repeat(32)),
            resumes: true,
            seed: 5,
        }
    }

    #[test]
    fn a_file_is_truncated_only_if_it_holds_something() {
        let file = tempfile::tempfile().unwrap();
        let old = std::time::SystemTime::UNIX_EPOCH;
        file.set_modified(old).unwrap();
        empty(&file).unwrap();
        assert_eq!(file.metadata().unwrap().modified().unwrap(), old, "left alone");
        file.set_len(7).unwrap();
        empty(&file).unwrap();
        assert_eq!(file.metadata().unwrap().len(), 0);
    }

    #[test]
    fn names_stay_hidden_and_short() {
        let path = named(Path::new("/d"), "song.mp3").path(0);
        assert_eq!(path, Path::new("/d/.song.mp3.abababababababab.partial"));
        for number in 0..2 {
            let long = named(Path::new("/d"), &"ü".repeat(127)).path(number);
            assert!(long.file_name().unwrap().len() <= MAX_NAME_BYTES);
        }
    }

    #[test]
    fn two_downloads_never_share_a_file() {
        let folder = tempfile::tempdir().unwrap();
        let name = named(folder.path(), "x");
        let (one, first) = create(&name).unwrap();
        let (two, _second) = create(&name).unwrap();
        assert_ne!(one, two);
        drop(first);
        assert_eq!(create(&name).unwrap().0, one, "the lock ends with its holder");
    }

    #[test]
    fn what_killed_runs_left_of_the_same_content_is_swept_away() {
        let folder = tempfile::tempdir().unwrap();
        let name = named(folder.path(), "x");
        let (held, other) = (Claimed::claim(&name).unwrap(), Claimed::claim(&name).unwrap());
        let left = PartialName { seed: 77, ..name.clone() }.path(1);
        let others = ["0123456789abcdef.partial", "0123456789abcdeg.partial", "1.partial"]
            .map(|end| folder.path().join(format!(".y.{}.{end}", name.tag)));
        let alike = folder.path().join(format!(".x.{}.0123456789abcdeg.partial", name.tag));
        for path in others.iter().chain([&left, &alike]) {
            fs::write(path, "left").unwrap();
        }
        fs::write(record_path(&held.path), "of nothing").unwrap();
        drop(held);
        let copied = Claimed::claim(&PartialName { resumes: false, ..name.clone() }).unwrap();
        assert_eq!(copied.path, name.path(0));
        assert!(!left.exists() && !record_path(&copied.path).exists());
        assert!(other.path.exists(), "another download holds it");
        assert!(others.iter().chain([&alike]).all(|path| path.exists()), "nobody's business");
    }

    #[test]
    fn traps_are_not_stepped_into() {
        let folder = tempfile::tempdir().unwrap();
        let name = named(folder.path(), "x");
        let victim = folder.path().join("victim");
        fs::write(&victim, "precious").unwrap();
        for trap in ["symlink", "dangling", "hard link", "folder"] {
            let path = name.path(0);
            match trap {
                "symlink" => symlink(&victim, &path).unwrap(),
                "dangling" => symlink(folder.path().join("gone"), &path).unwrap(),
                "hard link" => fs::hard_link(&victim, &path).unwrap(),
                _ => fs::create_dir(&path).unwrap(),
            }
            let (made, _) = create(&name).unwrap();
            assert_ne!(made, path, "{trap}");
            assert_eq!(fs::read_to_string(&victim).unwrap(), "precious");
            assert!(!folder.path().join("gone").exists(), "made where a link led");
            fs::remove_file(made).unwrap();
            let _ = fs::remove_file(&path);
        }
    }
}
