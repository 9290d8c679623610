//! Who owes an answer until when, and how long answers usually take.
//!
//! Always holds: every request has one entry and one next timer; an answer counts only from the
//! address that was asked. Never: waits on a fixed timeout: each peer's own round trips say when
//! its answer is more likely lost than late, and 5 s is the ceiling.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddrV4;
use std::time::Duration;

use super::contact::{RoundTrip, Sample};
use super::operation::OpId;
use super::wire::{Pass, RpcId};
use super::{NodeId, Timestamp};

/// Requests under way at once: a few hundred lookups' worth.
pub(super) const MAX_INFLIGHT: usize = 4_096;
/// Of those, pings that ask strangers who they are: a flood from forged addresses leaves the rest.
pub(super) const MAX_VERIFYING: usize = 1_024;
/// An answer is not missed sooner than this: a Python peer's event loop may be busy.
const MIN_TIMEOUT: Duration = Duration::from_millis(50);
/// A first retry never waits longer than this.
const MAX_TIMEOUT: Duration = Duration::from_secs(1);
/// While no round trip is known at all.
const FIRST_TIMEOUT: Duration = Duration::from_millis(500);
/// A store is the last step of a put: waiting a little for its acknowledgement costs nobody.
const MIN_STORE_STALL: Duration = Duration::from_millis(400);
/// A peer is called silent no sooner and no later than this. Python peers wait 5 s, too.
const MIN_DEADLINE: Duration = Duration::from_secs(2);
const MAX_DEADLINE: Duration = Duration::from_secs(5);
/// Whoever is asked to connect to this node tries for a second, and round trips come on top; a
/// person waits for it.
const REACH_WITHIN: Duration = Duration::from_secs(2);

/// What was asked, which is what an answer's meaning depends on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Asked {
    Ping,
    Stun,
    Store,
    FindNode,
    FindValue,
    Reach,
    /// That many values, by `kad.store`.
    Keep {
        count: u16,
    },
    /// A page of values that begins behind so many, by `kad.find`.
    Find {
        skip: u64,
    },
    Withdraw,
}

/// On whose behalf.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Owner {
    /// Somebody claimed this id at that address: is it true?
    Verify { claimed: NodeId },
    /// Is the contact still alive?
    Check,
    /// A step of an operation, towards the peer with this id.
    Operation { op: OpId, peer: NodeId },
    /// Does this peer, which an operation heard of, have that id?
    Proof { op: OpId, claimed: NodeId },
    /// A bootstrap address, whose id is not known yet.
    Bootstrap { op: OpId },
    /// Values pushed to a peer; nobody waits for it.
    Push,
    /// A further page for an operation, from the holder with this id.
    Page { op: OpId, peer: NodeId },
}

/// A request without an answer so far.
#[derive(Debug, Clone)]
pub(super) struct Pending {
    pub(super) to: SocketAddrV4,
    pub(super) asked: Asked,
    pub(super) owner: Owner,
    pub(super) sent: Timestamp,
    stage: Stage,
    timeout: Duration,
    timer: Timestamp,
    datagram: Vec<u8>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Sent,
    Resent,
    Stalled,
}

/// What the passing of time means for a request.
#[derive(Debug)]
pub(super) enum Due {
    /// More likely lost than late: send it again, and let somebody else be asked beside it.
    Slow { to: SocketAddrV4, asked: Asked, owner: Owner, datagram: Vec<u8> },
    /// Nobody should wait for it any more, though an answer still counts.
    Stalled { to: SocketAddrV4, owner: Owner },
    /// The peer left it unanswered: it was [`Self::Stalled`] before, if anybody waited.
    Expired(Pending),
}

/// All requests under way.
#[derive(Debug, Default)]
pub(super) struct Inflight {
    pending: BTreeMap<RpcId, Pending>,
    timers: BTreeSet<(Timestamp, RpcId)>,
    verifying: usize,
    network: Option<RoundTrip>,
}

impl Inflight {
    pub(super) fn len(&self) -> usize {
        self.pending.len()
    }

    pub(super) fn is_full(&self) -> bool {
        self.pending.len() >= MAX_INFLIGHT
    }

    /// Whether no more strangers can be asked who they are.
    pub(super) const fn is_full_of_strangers(&self) -> bool {
        self.verifying >= MAX_VERIFYING
    }

    /// When something will be due.
    pub(super) fn next_timer(&self) -> Option<Timestamp> {
        self.timers.first().map(|(at, _)| *at)
    }

    /// Notes a request that is being sent now.
    pub(super) fn sent(
        &mut self,
        now: Timestamp,
        id: RpcId,
        (to, asked, owner): (SocketAddrV4, Asked, Owner),
        peer: Option<RoundTrip>,
        datagram: Vec<u8>,
    ) {
        // A stranger may have to ask who we are before it answers: a second round trip.
        let stranger = self.network.map_or(FIRST_TIMEOUT, |rtt| rtt.expected_within() * 2);
        let expected = peer.map_or(stranger, |rtt| rtt.expected_within());
        // The answer takes what connecting takes, whatever the peer's round trip, and a second copy
        // would ask for a second connection.
        let (stage, timeout) = if asked == Asked::Reach {
            (Stage::Resent, REACH_WITHIN)
        } else {
            (Stage::Sent, expected.clamp(MIN_TIMEOUT, MAX_TIMEOUT))
        };
        let timer = now + timeout;
        let pending = Pending { to, asked, owner, sent: now, stage, timeout, timer, datagram };
        self.timers.insert((timer, id));
        self.verifying += usize::from(pending.is_verification());
        self.pending.insert(id, pending);
    }

    fn remove(&mut self, id: RpcId) -> Option<Pending> {
        let pending = self.pending.remove(&id)?;
        self.verifying -= usize::from(pending.is_verification());
        Some(pending)
    }

    /// Whether a request is under way to this address whose id has this receipt.
    pub(super) fn is_receipt(&self, receipt: Pass, from: SocketAddrV4) -> bool {
        let next = self.pending.range(RpcId::first_with(receipt)..).next();
        next.is_some_and(|(id, pending)| id.receipt() == receipt && pending.to == from)
    }

    /// Whether a response with this id from this address answers a request.
    pub(super) fn is_owed(&self, id: RpcId, from: SocketAddrV4) -> bool {
        self.pending.get(&id).is_some_and(|pending| pending.to == from)
    }

    /// Takes the request that a response from this address answers, with its round trip. Nobody
    /// knows which copy of a request that was sent twice was answered (Karn's rule), so that only
    /// says how long it took at least and at most.
    pub(super) fn answered(
        &mut self,
        now: Timestamp,
        id: RpcId,
        from: SocketAddrV4,
    ) -> Option<(Pending, Sample)> {
        if self.pending.get(&id)?.to != from {
            return None;
        }
        let pending = self.remove(id)?;
        self.timers.remove(&(pending.timer, id));
        let at_most = now.since(pending.sent);
        let sample = if pending.stage == Stage::Sent {
            Sample { at_least: at_most, at_most }
        } else {
            Sample { at_least: at_most.saturating_sub(pending.timeout), at_most }
        };
        if pending.stage == Stage::Sent {
            RoundTrip::take_in(&mut self.network, sample);
        }
        Some((pending, sample))
    }

    /// The next thing that time has brought, if any.
    pub(super) fn due(&mut self, now: Timestamp) -> Option<Due> {
        let (at, id) = self.timers.first().copied()?;
        if at > now {
            return None;
        }
        self.timers.pop_first();
        let pending = self.pending.get_mut(&id)?;
        let owner = pending.owner;
        let (stage, timer, due) = match pending.stage {
            Stage::Sent => {
                let datagram = pending.datagram.clone();
                let slow = Due::Slow { to: pending.to, asked: pending.asked, owner, datagram };
                if pending.is_awaited() {
                    (Stage::Resent, pending.sent + pending.stall(), slow)
                } else {
                    (Stage::Stalled, pending.deadline(), slow)
                }
            }
            Stage::Resent => {
                let stalled = Due::Stalled { to: pending.to, owner };
                (Stage::Stalled, pending.deadline(), stalled)
            }
            Stage::Stalled => return self.remove(id).map(Due::Expired),
        };
        pending.stage = stage;
        pending.timer = timer;
        self.timers.insert((timer, id));
        Some(due)
    }
}

impl Pending {
    const fn is_verification(&self) -> bool {
        matches!(self.owner, Owner::Verify { .. })
    }

    /// Whether somebody goes on once it is answered, or late.
    const fn is_awaited(&self) -> bool {
        !matches!(self.owner, Owner::Verify { .. } | Owner::Check | Owner::Push)
    }

    /// When the peer is called silent.
    fn deadline(&self) -> Timestamp {
        self.sent + (self.timeout * 8).clamp(MIN_DEADLINE, MAX_DEADLINE)
    }

    fn stall(&self) -> Duration {
        // As long again for the second copy as for the first.
        let patience = self.timeout * 2;
        if matches!(self.asked, Asked::Store | Asked::Keep { .. }) {
            patience.max(MIN_STORE_STALL)
        } else {
            patience
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::wire::RpcId;
    use super::*;

    /// Until when a request is under way to a peer that answers so.
    fn expiry(round_trip: Option<Duration>) -> Duration {
        let start = Timestamp::from_micros(1_000_000);
        let mut inflight = Inflight::default();
        let sample = |span| super::super::contact::Sample { at_least: span, at_most: span };
        let mut peer = None;
        if let Some(span) = round_trip {
            RoundTrip::take_in(&mut peer, sample(span));
        }
        let to = SocketAddrV4::new([10, 0, 0, 1].into(), 1);
        let what = (to, Asked::FindNode, Owner::Check);
        inflight.sent(start, RpcId::new([1; 20]), what, peer, Vec::new());
        loop {
            let at = inflight.next_timer().unwrap();
            if let Some(Due::Expired(_)) = inflight.due(at) {
                assert!(inflight.next_timer().is_none());
                return at.since(start);
            }
        }
    }

    #[test]
    fn nobody_is_waited_for_longer_than_five_seconds_and_the_fast_for_less() {
        assert_eq!(expiry(Some(Duration::from_millis(1))), MIN_DEADLINE);
        for round_trip in [None, Some(Duration::from_millis(300)), Some(Duration::from_secs(9))] {
            let waited = expiry(round_trip);
            assert!(waited > MIN_DEADLINE && waited <= Duration::from_secs(5), "{waited:?}");
        }
    }
}
