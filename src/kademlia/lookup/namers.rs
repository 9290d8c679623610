//! What came of those whom a peer named.
//!
//! Always holds: a peer of whose words most proved false is discredited, so that its other words
//! cost the lookup no time. Never: counts a few dead ones against a peer that also named living
//! ones: everybody's table has some.

use std::collections::BTreeMap;

use crate::kademlia::NodeId;

/// Words that proved false before a peer is discredited: the first three may be bad luck.
const MIN_BAD: u32 = 4;
/// And they are so many times those that proved true.
const BAD_FOR_GOOD: u32 = 2;

#[derive(Debug, Clone, Copy, Default)]
struct Credit {
    good: u32,
    bad: u32,
    /// Whether one was late, which may still prove true.
    late: bool,
}

/// Everybody who named somebody that was asked.
#[derive(Debug, Clone, Default)]
pub(super) struct Namers {
    credit: BTreeMap<NodeId, Credit>,
    /// The most false words of any of them: most lookups meet no liar, and need look nobody up.
    worst: u32,
    /// Whether any of them has named somebody who was late or worse.
    are_doubted: bool,
}

impl Namers {
    /// Whom these named answered.
    pub(super) fn praise(&mut self, namers: &[NodeId]) {
        for namer in namers {
            self.credit.entry(*namer).or_default().good += 1;
        }
    }

    /// Whom these named was silent, or somebody else.
    pub(super) fn blame(&mut self, namers: &[NodeId]) {
        for namer in namers {
            let credit = self.credit.entry(*namer).or_default();
            credit.bad += 1;
            self.worst = self.worst.max(credit.bad);
        }
        self.are_doubted |= !namers.is_empty();
    }

    /// Whom these named is late.
    pub(super) fn doubt(&mut self, namers: &[NodeId]) {
        for namer in namers {
            self.credit.entry(*namer).or_default().late = true;
        }
        self.are_doubted |= !namers.is_empty();
    }

    pub(super) fn is_discredited(&self, namer: &NodeId) -> bool {
        let is_bad =
            |credit: &Credit| credit.bad >= MIN_BAD && credit.bad > BAD_FOR_GOOD * credit.good;
        self.worst >= MIN_BAD && self.credit.get(namer).is_some_and(is_bad)
    }

    /// Whether any of them has failed in anything.
    pub(super) const fn are_doubted(&self) -> bool {
        self.are_doubted
    }

    /// Whether none of its words has proved true, and some are late or false.
    pub(super) fn has_only_failed(&self, namer: &NodeId) -> bool {
        let failed = |credit: &Credit| credit.good == 0 && (credit.late || credit.bad > 0);
        self.credit.get(namer).is_some_and(failed)
    }
}
