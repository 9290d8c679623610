//! Which of the sources that were found have a place in a swarm.
//!
//! Always holds: whoever is found later gets the place of one that is out, or gives nothing; each
//! is taken in once, and no more than [`MAX_TRIED`] in all. Never: puts out one that gave anything.

use super::{Peer, Ranges, Swarm};
use crate::transfer::{Failure, MAX_SOURCES, ProviderUrl, SourceState};

/// Sources of one download in all, those included that made room for others: whoever publishes
/// liars without end is not followed for ever, and each has a line in what people are told.
pub const MAX_TRIED: usize = 4 * MAX_SOURCES;
/// A source that does not say which pieces it has is asked so often in a row.
const MAX_UNHEARD: u32 = 5;
/// One that said so often in a row that it has nothing of use makes room for others.
const MAX_VAIN: u32 = 20;

impl Swarm {
    /// One more source, at any time. Its index; none if it is known already, or there are too many.
    pub fn add(&mut self, provider: ProviderUrl) -> Option<usize> {
        let known = |peer: &Peer| peer.source.provider.request_url() == provider.request_url();
        if self.peers.len() >= MAX_TRIED || self.peers.iter().any(known) || !self.makes_room() {
            return None;
        }
        self.peers.push(Peer::new(provider));
        Some(self.peers.len() - 1)
    }

    /// Whether there is a place, which somebody may have to leave.
    fn makes_room(&mut self) -> bool {
        if self.peers.iter().filter(|peer| !peer.out).count() < MAX_SOURCES {
            return true;
        }
        let idle = self.peers.iter_mut().find(|peer| peer.is_idle());
        idle.map(|peer| peer.out = true).is_some()
    }

    /// Sources that may be asked and do not have all.
    pub fn partial(&self) -> Vec<usize> {
        let has_part = |(_, peer): &(usize, &Peer)| !peer.out && peer.has.is_some();
        self.peers.iter().enumerate().filter(has_part).map(|(index, _)| index).collect()
    }

    /// A source says which pieces it has; none for all.
    pub fn has(&mut self, source: usize, pieces: Option<Ranges>) {
        let Some(peer) = self.peers.get(source) else { return };
        let vain = pieces.as_ref().is_some_and(|has| !self.lacks_any_of(has)) && peer.has.is_some();
        let peer = &mut self.peers[source];
        peer.downloads |= pieces.is_some();
        peer.unheard = 0;
        peer.vain = if vain { peer.vain + 1 } else { 0 };
        peer.has = pieces;
    }

    /// A source does not say which pieces it has. For the moment it has none; it may just have
    /// begun, and is given up only when it goes on like that.
    pub fn unheard(&mut self, source: usize, failure: Failure) {
        let Some(peer) = self.peers.get_mut(source) else { return };
        peer.has = Some(Ranges::new());
        peer.unheard += 1;
        if peer.unheard >= MAX_UNHEARD {
            peer.out = true;
            peer.source.state = SourceState::Failed(failure);
        }
    }

    /// Whether it has anything that is not there.
    pub(super) fn is_useful(&self, peer: &Peer) -> bool {
        peer.has.as_ref().is_none_or(|has| self.lacks_any_of(has))
    }

    fn lacks_any_of(&self, has: &Ranges) -> bool {
        has.iter().any(|range| !self.done.covers(&range))
    }
}

impl Peer {
    /// Whether nothing is lost when it is not asked any more: it gave nothing, and either failed or
    /// had nothing to give for long.
    fn is_idle(&self) -> bool {
        let failed = matches!(self.source.state, SourceState::Failed(_)) || self.unheard > 0;
        !self.out && self.open == 0 && self.worth == 0 && (failed || self.vain >= MAX_VAIN)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::transfer::Limits;
    use crate::transfer::swarm::Order;

    const NOW: Duration = Duration::ZERO;

    fn full() -> Swarm {
        let mut swarm = Swarm::new(1 << 30, 1 << 14, Ranges::new(), &Limits::default(), 1);
        assert!((0..MAX_SOURCES).all(|number| add(&mut swarm, number).is_some()));
        assert_eq!(add(&mut swarm, MAX_SOURCES), None, "each of them may be worth it");
        swarm
    }

    fn add(swarm: &mut Swarm, number: usize) -> Option<usize> {
        swarm.add(ProviderUrl::parse(&format!("http://h{number}/x")).unwrap())
    }

    #[test]
    fn whoever_is_out_or_failed_without_having_given_anything_makes_room() {
        for failure in [Failure::WrongContent, Failure::Refused, Failure::Stalled] {
            let mut swarm = full();
            let orders = swarm.orders(NOW);
            let Order::Ask(ask) = &orders[0] else { panic!("{orders:?}") };
            swarm.failed(ask.id, failure, NOW);
            assert_eq!(add(&mut swarm, MAX_SOURCES), Some(MAX_SOURCES), "{failure}");
            assert!(swarm.is_out(ask.source));
            assert_eq!(add(&mut swarm, MAX_SOURCES + 1), None, "there was one place");
            assert_eq!(add(&mut swarm, ask.source), None, "it does not come back");
        }
    }

    #[test]
    fn whoever_says_for_long_that_it_has_nothing_makes_room_and_others_keep_theirs() {
        let mut swarm = full();
        for _ in 0..=MAX_VAIN {
            swarm.has(3, Some(Ranges::new()));
            swarm.has(4, Some(std::iter::once(0..7).collect()));
        }
        assert_eq!(add(&mut swarm, MAX_SOURCES), Some(MAX_SOURCES));
        assert!(swarm.is_out(3) && !swarm.is_out(4));
        assert_eq!(add(&mut swarm, MAX_SOURCES + 1), None);
    }

    #[test]
    fn whoever_does_not_say_what_it_has_is_asked_a_few_times() {
        let mut swarm = full();
        for _ in 1..MAX_UNHEARD {
            swarm.unheard(0, Failure::Stalled);
        }
        swarm.has(0, Some(Ranges::new()));
        for _ in 1..MAX_UNHEARD {
            swarm.unheard(0, Failure::Stalled);
        }
        assert_eq!(swarm.partial(), [0], "it had answered in between");
        swarm.unheard(0, Failure::Stalled);
        assert!(swarm.partial().is_empty() && swarm.is_out(0));
    }

    #[test]
    fn liars_without_end_are_not_followed() {
        let mut swarm = full();
        let mut taken = 0;
        for number in MAX_SOURCES..10 * MAX_SOURCES {
            for source in 0..number {
                swarm.unheard(source, Failure::Stalled);
            }
            taken += usize::from(add(&mut swarm, number).is_some());
        }
        assert_eq!(taken, MAX_TRIED - MAX_SOURCES);
    }
}
