//! One value as it is held: who published it, who brought it, and how long it has.
//!
//! Always holds: a value lives by the last word of those who published it, or by when it was first
//! seen where nobody knows who they are. Never: grows with the number of its publishers: a few are
//! remembered.

use std::net::{Ipv4Addr, SocketAddrV4};
use std::time::Duration;

use super::exchange::{Held, Origin};
use super::room::names_host;
use super::{LIFETIME, PLAIN_LIFETIME, Record, same_host};
use crate::kademlia::wire::Publisher;
use crate::kademlia::{Timestamp, Value};

/// Publishers of one value that are remembered, so that one's withdrawal doesn't take back the
/// others': a value is rarely published by two, and a URL by one.
pub(super) const MAX_PUBLISHERS: usize = 4;
/// Memory a held value takes besides its own bytes: key, times, publisher and map overhead.
const OVERHEAD_BYTES: usize = 120;
/// The publisher of what this node's own user published.
pub(super) const OWN: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, 0);

/// Whole seconds since the Unix epoch, rounded down, so that an age never grows younger.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Seconds(u32);

impl Seconds {
    pub(super) fn of(at: Timestamp) -> Self {
        Self(u32::try_from(at.as_micros() / 1_000_000).unwrap_or(u32::MAX))
    }

    pub(super) fn at(self) -> Timestamp {
        Timestamp::from_micros(u64::from(self.0) * 1_000_000)
    }
}

/// When a publisher last spoke for a value, as far as is known here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Word {
    /// Its UDP address.
    pub publisher: SocketAddrV4,
    /// Since when it was not heard of.
    pub at: Timestamp,
    /// Whether it said so itself.
    pub first_hand: bool,
}

/// A value that is held. Small: there are many.
#[derive(Debug, Clone)]
pub(super) struct Stored {
    pub(super) value: Value,
    pub(super) refreshed: Timestamp,
    /// Further publishers.
    #[expect(clippy::box_collection, reason = "there are hardly ever any: eight bytes for none")]
    others: Option<Box<Vec<Word>>>,
    born: Seconds,
    word: Seconds,
    publisher: SocketAddrV4,
    /// Who brought it; counts towards what an IP may bring.
    pub(super) source: SocketAddrV4,
    pub(super) origin: Origin,
    pub(super) first_party: bool,
    /// It came by a plain store of another machine's before its publisher spoke for it, and does not
    /// name the publisher's host: nobody can tell whose it is.
    pub(super) anybodys: bool,
}

impl Stored {
    pub(super) fn new(value: Value, origin: Origin, source: SocketAddrV4, word: Word) -> Self {
        Self {
            value,
            refreshed: word.at,
            others: None,
            born: Seconds::of(word.at),
            word: Seconds::of(word.at),
            publisher: word.publisher,
            source,
            origin,
            first_party: false,
            anybodys: false,
        }
    }

    pub(super) fn cost(&self) -> usize {
        self.value.packed_len() + OVERHEAD_BYTES
    }

    pub(super) fn is_own(&self) -> bool {
        self.origin == Origin::Own
    }

    pub(super) fn born(&self) -> Timestamp {
        self.born.at()
    }

    /// Its publisher says that it was published then: that counts if it is earlier than what is known.
    pub(super) fn born_as_said_by(&mut self, publisher: SocketAddrV4, at: Timestamp) {
        if self.origin == Origin::FirstHand && self.publisher == publisher && !self.anybodys {
            self.born_by(at);
        }
    }

    /// It was published then, if that is earlier than what is known.
    pub(super) fn born_by(&mut self, at: Timestamp) {
        self.born = self.born.min(Seconds::of(at));
    }

    /// It has taken the place of another, and is new again, whatever it was before.
    pub(super) fn born_anew(&mut self, now: Timestamp) {
        self.born = Seconds::of(now);
    }

    /// The last word of any publisher.
    pub(super) fn word(&self) -> Timestamp {
        let others = self.others.iter().flat_map(|others| others.iter().map(|word| word.at));
        others.fold(self.word.at(), Timestamp::max)
    }

    /// When it is dropped; none for an own publication.
    pub(super) fn expires(&self) -> Option<Timestamp> {
        match self.origin {
            Origin::Own => None,
            Origin::Plain => Some(self.word() + PLAIN_LIFETIME),
            Origin::FirstHand | Origin::HandedOver => Some(self.word() + LIFETIME),
        }
    }

    pub(super) fn has_expired(&self, now: Timestamp) -> bool {
        self.expires().is_some_and(|at| at <= now)
    }

    /// Everybody who is known to have published it; of a plain one nobody is.
    pub(super) fn words(&self) -> impl Iterator<Item = Word> {
        let (publisher, at) = (self.publisher, self.word.at());
        let main = match self.origin {
            Origin::Own | Origin::Plain => None,
            Origin::FirstHand => Some(Word { publisher, at, first_hand: true }),
            Origin::HandedOver => Some(Word { publisher, at, first_hand: false }),
        };
        main.into_iter().chain(self.others.iter().flat_map(|others| others.iter().copied()))
    }

    /// Those who published it, or brought it by a plain store, from this IP.
    pub(super) fn is_said_by(&self, ip: Ipv4Addr) -> bool {
        !self.is_own() && *self.publisher.ip() == ip
    }

    /// Whether that address has said itself that it published it.
    pub(super) fn is_published_by(&self, publisher: SocketAddrV4) -> bool {
        self.words().any(|word| word.first_hand && word.publisher == publisher)
    }

    /// A plain store of it renews what nobody is known to have published.
    pub(super) fn renew_plain(&mut self, now: Timestamp) {
        if self.origin == Origin::Plain {
            self.word = Seconds::of(now);
        }
    }

    /// A publisher speaks for it. Of too many the one goes that was silent for longest; what is
    /// only told is never younger than what is known already, and displaces nobody.
    pub(super) fn speak(&mut self, word: Word) {
        let (latest, renews) = (self.word(), word.first_hand);
        let main_is_known = !matches!(self.origin, Origin::Own | Origin::Plain);
        let is_at_home = names_host(&self.value, *word.publisher.ip());
        if self.origin == Origin::Plain {
            if renews {
                self.anybodys = !same_host(self.source, word.publisher) && !is_at_home;
                self.take_as_main(word);
            }
            return;
        }
        if main_is_known && self.publisher == word.publisher {
            if renews {
                self.take_as_main(word);
            }
            return;
        }
        // Of a URL nobody has more to say than its host.
        if renews && main_is_known && is_at_home && !names_host(&self.value, *self.publisher.ip()) {
            let earlier = self.words().next();
            self.unsay(word.publisher);
            self.anybodys = false;
            self.take_as_main(word);
            if let Some(earlier) = earlier {
                self.speak(earlier);
            }
            return;
        }
        let others = self.others.get_or_insert_default();
        if let Some(known) = others.iter_mut().find(|known| known.publisher == word.publisher) {
            if renews {
                *known = word;
            }
        } else if others.len() + usize::from(main_is_known) < MAX_PUBLISHERS {
            let at = if renews { word.at } else { word.at.min(latest) };
            others.push(Word { at, ..word });
        } else if renews {
            // One machine has one place before it takes another's.
            let stays = |known: &Word| (!same_host(known.publisher, word.publisher), known.at);
            if let Some(goes) = others.iter_mut().min_by_key(|known| stays(known)) {
                *goes = word;
            }
        }
    }

    fn take_as_main(&mut self, word: Word) {
        self.publisher = word.publisher;
        self.word = Seconds::of(word.at);
        self.origin = if word.first_hand { Origin::FirstHand } else { Origin::HandedOver };
    }

    /// Takes back what one has said; whether anybody else still speaks for it.
    pub(super) fn unsay(&mut self, publisher: SocketAddrV4) -> bool {
        if let Some(others) = &mut self.others {
            others.retain(|word| word.publisher != publisher);
        }
        self.is_own() || self.publisher != publisher || self.next_main()
    }

    /// This node's own user no longer publishes it; whether anybody else does.
    pub(super) fn disown(&mut self) -> bool {
        self.next_main()
    }

    /// Of the others who spoke for it the one that did so last takes the place of the first, and
    /// such as said it themselves before such as were only named.
    fn next_main(&mut self) -> bool {
        let latest = self.others.as_mut().and_then(|others| {
            let (at, _) = others.iter().enumerate().max_by_key(|(_, w)| (w.first_hand, w.at))?;
            Some(others.remove(at))
        });
        let Some(word) = latest else {
            // What was there before somebody spoke for it is there as before.
            if std::mem::take(&mut self.anybodys) {
                (self.origin, self.publisher, self.word) = (Origin::Plain, self.source, self.born);
                self.first_party &= names_host(&self.value, *self.source.ip());
                return true;
            }
            return false;
        };
        self.take_as_main(word);
        // A URL whose host no longer speaks for it has no place before others.
        self.first_party &= names_host(&self.value, *word.publisher.ip());
        if !self.anybodys {
            self.source = word.publisher;
        }
        true
    }

    /// This node's own user publishes it from now on.
    pub(super) fn adopt(&mut self, now: Timestamp) {
        let main = self.words().next();
        self.origin = Origin::Own;
        self.anybodys = false;
        if let Some(word) = main.filter(|_| self.publisher != OWN) {
            self.publisher = OWN;
            self.speak(word);
        }
        (self.publisher, self.source) = (OWN, OWN);
        self.word = Seconds::of(now);
        self.first_party = false;
    }

    /// All its times lie so much later: the node was down meanwhile.
    pub(super) fn shift(&mut self, by: Duration) {
        self.word = Seconds::of(self.word.at() + by);
        for word in self.others.iter_mut().flat_map(|others| others.iter_mut()) {
            word.at = word.at + by;
        }
    }

    /// As the node and its users see it.
    pub(super) fn held(&self, now: Timestamp) -> Held {
        // Of equals the first: it was there before.
        let latest = self.words().reduce(|latest, word| {
            let is_later = (word.at, word.first_hand) > (latest.at, latest.first_hand);
            if is_later { word } else { latest }
        });
        let publisher = match (self.origin, latest) {
            (Origin::Own, _) => Publisher::Sender,
            (_, Some(word)) => Publisher::Other(word.publisher),
            (_, None) => Publisher::Unknown,
        };
        let silent = if self.is_own() { Duration::ZERO } else { now.since(self.word()) };
        Held {
            value: self.value.clone(),
            publisher,
            age: now.since(self.born.at()).max(silent),
            silent,
            refreshed: now.since(self.refreshed),
            own: self.is_own(),
            first_party: self.first_party,
            expires_in: self.expires().map(|at| at.since(now)),
        }
    }

    /// Everything that has been said for it, the main word first, for what is written down.
    pub(super) fn all_words(&self) -> Vec<Word> {
        let first_hand = matches!(self.origin, Origin::Own | Origin::FirstHand);
        let main = Word { publisher: self.publisher, at: self.word.at(), first_hand };
        let others = self.others.iter().flat_map(|others| others.iter().copied());
        std::iter::once(main).chain(others).collect()
    }

    /// As it was written down; none of one that makes no sense.
    pub(super) fn from_record(record: Record) -> Option<Self> {
        let (main, others) = record.words.split_first()?;
        let mut stored = Self::new(record.value, record.origin, record.source, *main);
        stored.refreshed = record.refreshed;
        stored.born = Seconds::of(record.born);
        stored.first_party = record.first_party;
        stored.anybodys = record.anybodys;
        let others: Vec<Word> = others.iter().copied().take(MAX_PUBLISHERS).collect();
        stored.others = (!others.is_empty()).then(|| Box::new(others));
        Some(stored)
    }
}
