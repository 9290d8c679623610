//! A disk that is soon full.
//!
//! Always holds: it is unmounted when the test ends. Never: outlives the test.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use super::{run, skip};

/// A small file system; unmounted when dropped.
#[derive(Debug)]
pub struct Disk {
    /// Where it is mounted.
    pub path: PathBuf,
    _folder: tempfile::TempDir,
}

impl Disk {
    /// Mounts one of this size; none where that may not be done.
    pub fn mount(bytes: u64) -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().canonicalize().unwrap();
        let mounted = run(Command::new("mount")
            .args(["-t", "tmpfs", "-o", &format!("size={bytes}"), "kad-actor-test"])
            .arg(&path));
        if mounted.code == Some(0) {
            return Some(Self { path, _folder: folder });
        }
        skip(&format!("no small file system can be mounted: {}", mounted.stderr.trim()));
        None
    }

    /// Takes all the room that is left, in files whose names begin with `ballast`.
    pub fn fill(&self) {
        let mut size = 1 << 20;
        for number in 0.. {
            match fs::write(self.path.join(format!("ballast {number}")), vec![0; size]) {
                Ok(()) => {}
                Err(_) if size > 512 => size /= 2,
                Err(_) => return,
            }
        }
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = run(Command::new("umount").args(["-l"]).arg(&self.path));
    }
}
