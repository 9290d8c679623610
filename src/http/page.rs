//! Long lists, a page at a time.
//!
//! Always holds: whoever goes from `next` to `next` sees each entry that is there all the while
//! exactly once. Never: sends more than [`MAX_PAGE`](crate::command::MAX_PAGE) entries.

use std::fmt::Display;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::failure::Failure;
use crate::command::{ErrorCode, page_size};

/// What a request says of the page it wants.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct PageQuery {
    /// At most so many entries.
    pub(super) limit: Option<usize>,
    /// The `next` of the page before.
    pub(super) after: Option<String>,
}

/// A page, and the way to the following one.
#[derive(Debug, Serialize)]
pub(super) struct Paged<T> {
    #[serde(flatten)]
    list: T,
    /// Null on the last page.
    next: Option<String>,
}

impl<T> Paged<T> {
    /// A list that was cut, with what is left to ask for.
    pub(super) fn new(list: T, next: Option<String>) -> Self {
        Self { list, next }
    }
}

/// Puts entries in the order of their keys, leaves those of the page that was asked for, and says
/// behind which key there are more.
pub(super) fn cut<T, K>(
    entries: &mut Vec<T>,
    query: &PageQuery,
    key: impl Fn(&T) -> K,
) -> Result<Option<String>, Failure>
where
    K: Ord + FromStr + Display,
{
    let limit = page_size(query.limit)?;
    let after = match &query.after {
        None => None,
        Some(text) => Some(text.parse::<K>().map_err(|_| {
            let message = format!("after={text:?} is not the `next` of a page of these");
            Failure::new(ErrorCode::Usage, message)
        })?),
    };
    entries.retain(|entry| after.as_ref().is_none_or(|after| key(entry) > *after));
    entries.sort_by_key(&key);
    let more = entries.len() > limit;
    entries.truncate(limit);
    Ok(entries.last().filter(|_| more).map(|last| key(last).to_string()))
}

/// A number whose larger ones come first: the newest on the first page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct NewestFirst(pub(super) u64);

impl Ord for NewestFirst {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        other.0.cmp(&self.0)
    }
}

impl PartialOrd for NewestFirst {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl FromStr for NewestFirst {
    type Err = std::num::ParseIntError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.parse().map(Self)
    }
}

impl Display for NewestFirst {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all<K: Ord + FromStr + Display + Copy>(keys: &[K], limit: usize) -> Vec<Vec<K>> {
        let (mut pages, mut after) = (Vec::new(), None);
        loop {
            let mut page = keys.to_vec();
            let query = PageQuery { limit: Some(limit), after };
            after = cut(&mut page, &query, |key| *key).unwrap();
            pages.push(page);
            if after.is_none() {
                return pages;
            }
        }
    }

    #[test]
    fn pages_follow_one_another_and_end() {
        assert_eq!(all(&[3, 1, 2], 2), [vec![1, 2], vec![3]]);
        assert_eq!(all(&[2, 1], 2), [vec![1, 2]]);
        assert_eq!(all::<u64>(&[], 2), [Vec::<u64>::new()]);
        let newest = |numbers: &[u64]| numbers.iter().copied().map(NewestFirst).collect::<Vec<_>>();
        assert_eq!(all(&newest(&[9, 10, 1]), 2), [newest(&[10, 9]), newest(&[1])]);
    }

    #[test]
    fn impossible_pages_are_refused() {
        for (limit, after) in [(Some(0), None), (Some(1_001), None), (None, Some("x".to_owned()))] {
            assert!(cut(&mut vec![1_u64], &PageQuery { limit, after }, |key| *key).is_err());
        }
    }
}
