//! Shares that a worker was just told of: who asks for the same again need not ask the actor.
//!
//! Always holds: what is remembered is what the actor would say, since any change makes all of it be
//! forgotten; after [`FRESH`] it is asked anyhow, so that it knows what is in demand. Never: keeps a
//! file open, or takes one for unchanged.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;
use std::time::Duration;

use tokio::time::Instant;

use crate::actors::messages::ServedShare;
use crate::content::Changes;

/// How long an answer of the actor is remembered.
const FRESH: Duration = Duration::from_secs(1);

/// Shares that a worker remembers, half a KiB each: when there are more, it starts afresh.
const MAX_KNOWN: usize = 1024;

/// What one worker remembers, by request path.
#[derive(Debug)]
pub(super) struct Known {
    changes: Changes,
    shares: RefCell<HashMap<String, (Rc<ServedShare>, Moment)>>,
}

/// When something was so.
#[derive(Debug, Clone, Copy)]
pub(super) struct Moment {
    changes: u64,
    at: Instant,
}

impl Known {
    /// Nothing yet.
    pub(super) fn new(changes: Changes) -> Self {
        Self { changes, shares: RefCell::default() }
    }

    /// Now: to be taken before the actor is asked.
    pub(super) fn moment(&self) -> Moment {
        Moment { changes: self.changes.count(), at: Instant::now() }
    }

    /// What a path leads to, if that is known.
    pub(super) fn find(&self, path: &str, now: Moment) -> Option<Rc<ServedShare>> {
        let shares = self.shares.borrow();
        let (share, then) = shares.get(path)?;
        let is_so = then.changes == now.changes && now.at.duration_since(then.at) < FRESH;
        is_so.then(|| Rc::clone(share))
    }

    /// What the actor said.
    pub(super) fn remember(&self, path: &str, share: &Rc<ServedShare>, then: Moment) {
        let mut shares = self.shares.borrow_mut();
        if shares.len() >= MAX_KNOWN {
            shares.clear();
        }
        shares.insert(path.to_owned(), (Rc::clone(share), then));
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::ops::ControlFlow;
    use std::sync::Arc;

    use super::*;
    use crate::content::{FileName, ShareEntry, hash_in_place};

    fn share() -> Rc<ServedShare> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().canonicalize().unwrap().join("file");
        fs::write(&path, "content").unwrap();
        let hashed = hash_in_place(&path, |_, _| ControlFlow::Continue(())).unwrap().unwrap();
        let name = FileName::parse("file").unwrap();
        let url = ShareEntry::url_of("http://10.0.0.1:1", &name, &hashed.verified);
        let (verified, stamp) = (hashed.verified, hashed.stamp);
        let entry = ShareEntry { name, path, verified, stamp, url, copy: false };
        Rc::new(ServedShare { entry, sha256: None, mirrors: Arc::default() })
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_remembered_is_forgotten_at_any_change() {
        let changes = Changes::default();
        let known = Known::new(changes.clone());
        let share = share();
        let asked = known.moment();
        known.remember("/files/a", &share, asked);
        assert!(known.find("/files/a", known.moment()).is_some());
        assert!(known.find("/files/b", known.moment()).is_none());
        changes.note();
        assert!(known.find("/files/a", known.moment()).is_none());
        // What the actor said may be from before a change that came while it was asked.
        known.remember("/files/a", &share, asked);
        assert!(known.find("/files/a", known.moment()).is_none());
        known.remember("/files/a", &share, known.moment());
        assert!(known.find("/files/a", known.moment()).is_some());
        tokio::time::advance(FRESH).await;
        assert!(known.find("/files/a", known.moment()).is_none());
        for number in 0..2 * MAX_KNOWN {
            known.remember(&number.to_string(), &share, known.moment());
        }
        assert!(known.shares.borrow().len() <= MAX_KNOWN);
    }
}
