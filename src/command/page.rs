//! How much of a long list one answer holds.
//!
//! Always holds: a page has between one and [`MAX_PAGE`] entries. Never: makes a wrong number fit.

use super::{CommandError, ErrorCode};

/// Entries of one page of a long list when the asker names no number.
pub const DEFAULT_PAGE: usize = 100;
/// Most entries of one page: values of the largest size then take 8 MiB.
pub const MAX_PAGE: usize = 1_000;

/// How many entries a page has for whoever asked for so many; no number outside of 1 to
/// [`MAX_PAGE`] is one.
pub fn page_size(limit: Option<usize>) -> Result<usize, CommandError> {
    match limit.unwrap_or(DEFAULT_PAGE) {
        limit @ 1..=MAX_PAGE => Ok(limit),
        limit => Err(CommandError::new(
            ErrorCode::Usage,
            format!("a page of {limit} is not possible: ask for 1 to {MAX_PAGE} entries"),
        )),
    }
}
