//! A disk that is soon full.

use std::path::{Path, PathBuf};
use std::process::Command;

/// A file system of one MiB, unmounted when dropped.
pub(crate) struct Tiny(PathBuf);

impl Tiny {
    /// Mounts one for a test, or has that run again where it can be mounted: then there is none, and
    /// all is done.
    pub(crate) fn mount_for(test: &str, folder: &Path) -> Option<Self> {
        match Self::mount(folder) {
            Ok(tiny) => Some(tiny),
            Err(reason) => {
                assert!(std::env::var_os(IN_NAMESPACE).is_none(), "{reason}");
                if let Err(also) = again_in_a_namespace(test) {
                    assert!(std::env::var_os("CI").is_none(), "{reason}; {also}");
                    println!("skipped: no small file system: {reason}; {also}");
                }
                None
            }
        }
    }

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
