//! Where a download goes, and how it gets its final name.
//!
//! Always holds: the final name appears in one step and whole; what the user did not allow to be
//! replaced is not replaced, even when it appeared a moment ago. Never: writes content.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, RenameFlags, renameat_with};
use rustix::io::Errno;

use crate::command::{CommandError, ErrorCode, OnConflict};
use crate::content::FileName;

/// Longest ending of a name that stays behind the number, in bytes: `.torrent` does, what follows
/// the full stop of a sentence does not.
const MAX_ENDING_BYTES: usize = 16;
/// Highest number tried in `a (n).txt`.
const MAX_RENAMES: u32 = 9_999;
/// Longest file name on the file systems in use, in bytes.
pub(super) const MAX_NAME_BYTES: usize = 255;

/// The final place of a download.
#[derive(Debug, Clone)]
pub(super) struct Destination {
    folder: PathBuf,
    name: OsString,
    on_conflict: OnConflict,
}

impl Destination {
    /// Finds the place, and fails at once when its name is taken. Blocks.
    pub(super) fn resolve(
        name: &FileName,
        output: Option<&Path>,
        downloads: &Path,
        on_conflict: OnConflict,
    ) -> Result<Self, CommandError> {
        let (folder, name) = match output {
            None => {
                fs::create_dir_all(downloads).map_err(|error| io_error(downloads, &error))?;
                (downloads.to_owned(), OsString::from(name.as_str()))
            }
            Some(path) if is_dir(path)? => (path.to_owned(), OsString::from(name.as_str())),
            Some(path) => split(path)?,
        };
        let place = Self { folder, name, on_conflict };
        let path = place.folder.join(&place.name);
        match (path.symlink_metadata(), on_conflict) {
            (Ok(_), OnConflict::Error) => Err(exists(&path)),
            // A link is replaced itself. Replacing a device or a pipe would break what uses it.
            (Ok(it), OnConflict::Overwrite) if !it.is_file() && !it.is_symlink() => {
                Err(irreplaceable(&path))
            }
            // A name that is too long, or a folder that may not be entered: known before the
            // content comes, not after.
            (Err(error), _) if error.kind() != io::ErrorKind::NotFound => {
                Err(io_error(&path, &error))
            }
            _ => Ok(place),
        }
    }

    /// The folder that holds it.
    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Its name there, if nothing is in the way.
    pub(super) fn name(&self) -> &OsStr {
        &self.name
    }

    /// Gives a whole and verified file its final name, and says which. Blocks.
    pub(super) fn place(&self, partial: &Path) -> Result<PathBuf, CommandError> {
        let path = self.folder.join(&self.name);
        match self.on_conflict {
            OnConflict::Overwrite => {
                fs::rename(partial, &path).map_err(|error| io_error(&path, &error))?;
                Ok(path)
            }
            OnConflict::Error => match rename_new(partial, &path) {
                Ok(()) => Ok(path),
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Err(exists(&path)),
                Err(error) => Err(io_error(&path, &error)),
            },
            OnConflict::Rename => {
                for number in 0..=MAX_RENAMES {
                    let path = self.folder.join(numbered(&self.name, number));
                    match rename_new(partial, &path) {
                        Ok(()) => return Ok(path),
                        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                        Err(error) => return Err(io_error(&path, &error)),
                    }
                }
                Err(exists(&path))
            }
        }
    }
}

fn split(path: &Path) -> Result<(PathBuf, OsString), CommandError> {
    let usage = |what: &str| {
        let message = format!("{} is no place for a file: {what}", path.display());
        CommandError::new(ErrorCode::Usage, message)
    };
    if !path.is_absolute() {
        return Err(usage("the path is not absolute"));
    }
    if path.as_os_str().as_encoded_bytes().ends_with(b"/") {
        return Err(usage("there is no such folder"));
    }
    let name = path.file_name().ok_or_else(|| usage("it has no name"))?;
    let folder = path.parent().ok_or_else(|| usage("it has no folder"))?;
    if !is_dir(folder)? {
        return Err(usage("its folder does not exist"));
    }
    Ok((folder.to_owned(), name.to_owned()))
}

/// Whether a folder is there, by links too; an error when that can't be seen.
fn is_dir(path: &Path) -> Result<bool, CommandError> {
    match path.metadata() {
        Ok(found) => Ok(found.is_dir()),
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            Err(io_error(path, &error))
        }
        Err(_) => Ok(false),
    }
}

/// `a.txt`, `a (1).txt`, `a (2).txt` and so on, cut to what a file system takes: the ending stays,
/// since it tells what opens the file.
fn numbered(name: &OsStr, number: u32) -> OsString {
    if number == 0 {
        return name.to_owned();
    }
    let path = Path::new(name);
    let mut suffix = OsString::from(format!(" ({number})"));
    let stem = match (path.file_stem(), path.extension()) {
        (Some(stem), Some(ending)) if ending.len() <= MAX_ENDING_BYTES => {
            suffix.push(".");
            suffix.push(ending);
            stem
        }
        _ => name,
    };
    let mut numbered = cut(stem, MAX_NAME_BYTES - suffix.len());
    numbered.push(suffix);
    numbered
}

/// The name's first characters that fit into so many bytes.
pub(super) fn cut(name: &OsStr, bytes: usize) -> OsString {
    if name.len() <= bytes {
        return name.to_owned();
    }
    let text = name.to_string_lossy();
    let mut end = bytes.min(text.len());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    OsString::from(&text[..end])
}

/// Renames, unless the new name is taken, in one step. A file system that can't (NFS) takes a
/// second name instead and drops the first; one that can do neither (FAT over FUSE) is asked
/// before.
fn rename_new(from: &Path, to: &Path) -> io::Result<()> {
    match renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE) {
        Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => {}
        result => return Ok(result?),
    }
    link_new(from, to)
}

fn link_new(from: &Path, to: &Path) -> io::Result<()> {
    match fs::hard_link(from, to) {
        Ok(()) => fs::remove_file(from),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Err(error),
        Err(_) if to.symlink_metadata().is_ok() => Err(io::ErrorKind::AlreadyExists.into()),
        Err(_) => fs::rename(from, to),
    }
}

fn exists(path: &Path) -> CommandError {
    let message = format!(
        "{} exists: save elsewhere with -o, or choose --on-conflict overwrite or rename",
        path.display()
    );
    CommandError::new(ErrorCode::Exists, message)
}

fn irreplaceable(path: &Path) -> CommandError {
    let message = format!(
        "{} is no file that could be replaced: save elsewhere with -o, or choose \
         --on-conflict rename",
        path.display()
    );
    CommandError::new(ErrorCode::Exists, message)
}

/// What a failure of the file system means to the user.
pub(super) fn io_error(path: &Path, error: &io::Error) -> CommandError {
    use io::ErrorKind as Kind;
    let (code, advice) = match error.kind() {
        Kind::StorageFull | Kind::QuotaExceeded | Kind::FileTooLarge => {
            (ErrorCode::NoSpace, "make room, or save elsewhere with -o")
        }
        Kind::PermissionDenied | Kind::ReadOnlyFilesystem => (
            ErrorCode::Denied,
            "the node may not write there: save elsewhere, or take it with -o -",
        ),
        _ => (ErrorCode::Failed, "save elsewhere with -o"),
    };
    CommandError::new(code, format!("{}: {error}; {advice}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbered_names_fit_a_file_system() {
        assert_eq!(numbered(OsStr::new("a.txt"), 0), "a.txt");
        assert_eq!(numbered(OsStr::new("a.txt"), 2), "a (2).txt");
        assert_eq!(numbered(OsStr::new(".profile"), 2), ".profile (2)");
        assert_eq!(numbered(OsStr::new("a"), 2), "a (2)");
        let sentence = format!("v1.{}", "x".repeat(40));
        assert_eq!(numbered(OsStr::new(&sentence), 2), *format!("{sentence} (2)"), "no ending");
        let long = format!("{}.txt", "ä".repeat(125));
        let name = numbered(OsStr::new(&long), 12);
        assert!(name.len() <= MAX_NAME_BYTES && name.to_str().unwrap().ends_with("ä (12).txt"));
        let long = "ä".repeat(127);
        let name = numbered(OsStr::new(&long), 12);
        assert!(name.len() <= MAX_NAME_BYTES, "{}", name.len());
        assert!(name.to_str().unwrap().ends_with("ä (12)"));
    }

    #[test]
    fn a_taken_name_is_never_replaced_unless_allowed() {
        let folder = tempfile::tempdir().unwrap();
        let name = FileName::parse("x").unwrap();
        let (taken, partial) = (folder.path().join("x"), folder.path().join(".x.partial"));
        let place = |on_conflict| {
            Destination::resolve(&name, Some(folder.path()), folder.path(), on_conflict)
        };
        // It appears after the first look.
        let error = place(OnConflict::Error).unwrap();
        fs::write(&taken, "old").unwrap();
        fs::write(&partial, "new").unwrap();
        assert_eq!(error.place(&partial).unwrap_err().code, ErrorCode::Exists);
        assert_eq!(fs::read_to_string(&taken).unwrap(), "old");
        assert_eq!(place(OnConflict::Error).unwrap_err().code, ErrorCode::Exists);
        assert!(link_new(&partial, &taken).is_err(), "nor where renames replace");
        assert_eq!(fs::read_to_string(&taken).unwrap(), "old");

        let beside = place(OnConflict::Rename).unwrap().place(&partial).unwrap();
        assert_eq!(beside, folder.path().join("x (1)"));
        fs::write(&partial, "new").unwrap();
        place(OnConflict::Overwrite).unwrap().place(&partial).unwrap();
        assert_eq!(fs::read_to_string(&taken).unwrap(), "new");
    }

    #[test]
    fn only_files_and_links_are_overwritten() {
        let folder = tempfile::tempdir().unwrap();
        let name = FileName::parse("x").unwrap();
        let target = folder.path().join("x");
        let resolve = || {
            Destination::resolve(&name, Some(folder.path()), folder.path(), OnConflict::Overwrite)
        };
        std::os::unix::fs::symlink("/dev/null", &target).unwrap();
        assert!(resolve().is_ok(), "the link is replaced, not what it leads to");
        fs::remove_file(&target).unwrap();
        let socket = std::os::unix::net::UnixListener::bind(&target).unwrap();
        let refused = resolve().unwrap_err();
        assert_eq!(refused.code, ErrorCode::Exists);
        assert!(!refused.message.contains("overwrite"), "it was tried: {refused}");
        drop(socket);
        fs::remove_file(&target).unwrap();
        fs::create_dir(&target).unwrap();
        assert_eq!(resolve().unwrap_err().code, ErrorCode::Exists);
    }

    #[test]
    fn what_cannot_be_placed_is_known_at_once() {
        let folder = tempfile::tempdir().unwrap();
        let name = FileName::parse("x").unwrap();
        let resolve = |output: &Path| {
            Destination::resolve(&name, Some(output), folder.path(), OnConflict::Overwrite)
        };
        let too_long = folder.path().join("y".repeat(MAX_NAME_BYTES + 1));
        assert_eq!(resolve(&too_long).unwrap_err().code, ErrorCode::Failed);
        if rustix::process::geteuid().is_root() {
            return; // may enter every folder
        }
        let closed = folder.path().join("closed");
        fs::create_dir(&closed).unwrap();
        fs::set_permissions(&closed, std::os::unix::fs::PermissionsExt::from_mode(0o000)).unwrap();
        for output in [closed.join("x"), closed.join("folder").join("x")] {
            let refused = resolve(&output).unwrap_err();
            assert_eq!(refused.code, ErrorCode::Denied, "{refused}");
        }
    }

    #[test]
    fn places_that_are_none_are_named() {
        let folder = tempfile::tempdir().unwrap();
        let name = FileName::parse("x").unwrap();
        for bad in ["relative", "/nowhere/at/all", "/tmp/..", "/tmp/no-such-folder-here/"] {
            let path = Some(Path::new(bad));
            let result = Destination::resolve(&name, path, folder.path(), OnConflict::Error);
            match bad {
                "/tmp/.." => assert!(result.is_ok(), "a folder like any other"),
                _ => assert_eq!(result.unwrap_err().code, ErrorCode::Usage, "{bad}"),
            }
        }
    }
}
