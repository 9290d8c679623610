//! Large pages of memory for a run of many nodes.
//!
//! Always holds: a run without them does the same, only slower. Never: touches another process.

use std::env;
use std::os::unix::process::CommandExt;
use std::process::Command;

/// What glibc reads when a process begins, and what in there asks for large pages.
const TUNABLES: &str = "GLIBC_TUNABLES";
const LARGE_PAGES: &str = "glibc.malloc.hugetlb=1";

/// Begins this process anew with its memory in large pages, unless glibc has been told something
/// already: by this, or by whoever knows better. A simulation touches its nodes in no order: with
/// pages of 4 KiB up to a third of its time goes into finding out where they are.
pub(super) fn with_large_pages() {
    if env::var_os(TUNABLES).is_some() {
        return;
    }
    if let Ok(program) = env::current_exe() {
        let mut anew = Command::new(program);
        anew.args(env::args_os().skip(1)).env(TUNABLES, LARGE_PAGES);
        // Only where that can't be done is there anything to return from.
        let _ = anew.exec();
    }
}
