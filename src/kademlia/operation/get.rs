//! Get: the own store, united with what the holders say.
//!
//! Always holds: own values are part of the result, and no single holder's answer ends the
//! search; what holders say of a value's age counts by the median, so that no single one decides
//! what is newest; each holder has one voice, however often it repeats itself. Never: lets a foreign
//! order of values hide one of them, asks for pages without an end, or spreads several values that a
//! single peer says.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::net::SocketAddrV4;
use std::time::Duration;

use smallvec::SmallVec;

use super::hops::{Hop, Hops};
use super::{Act, OpEvent, Outcome, PageOf, Sighting, drive, feed, feed_page};
use crate::kademlia::lookup::Lookup;
use crate::kademlia::values::{Held, StoreReply, StoreRequest, lifetime};
use crate::kademlia::wire::{Claim, MAX_VALUES, NodeEntry, Publisher};
use crate::kademlia::{Dialect, NodeId, Timestamp, Value};

/// Distinct values that a get collects: thirty-two of the longest answers, so that liars fill
/// neither the memory nor the place of what honest holders say.
pub(super) const MAX_FOUND: usize = 32 * MAX_VALUES;
/// Values that are cached on the nearest peer that lacked them; the rest follows by replication.
const MAX_CACHED: usize = 16;
/// So many holders must have told a value before it is cached, unless it is all that was found: a
/// liar's inventions would else be stored by honest readers, each of them a source of its own. The
/// only value of a key may have one holder left, and no time until that one replicates.
const MIN_TELLERS: usize = 2;
/// Further pages that one holder is asked for: all that a full key of URLs takes.
const MAX_PAGES_PER_HOLDER: u64 = 12;
/// Further pages that a get asks for in all.
const MAX_PAGES: usize = 96;
/// With so many values nobody is asked for more: four times what a downloader could use.
const ENOUGH: usize = 256;
/// Holders whose word on a value's age counts.
const MAX_REPORTS: usize = 16;
/// Holders that are told apart: three times as many as lie nearest to a key.
const MAX_TELLERS: usize = 64;

/// One that tells values: a bit of its own, or none where there are too many.
#[derive(Debug, Clone, Copy)]
struct Teller(u64);

/// What the holders say of a value.
#[derive(Debug, Clone, Default)]
struct Rank {
    /// Its least position from the newest end of an answer.
    from_newest: usize,
    /// Which of the tellers have it, a bit for each.
    told_by: u64,
    publisher: Option<SocketAddrV4>,
    /// Seconds since it was first published, and since its publisher's last word.
    reports: SmallVec<[(u32, u32); 1]>,
}

impl Rank {
    /// A holder has it; whether it is news that this one does.
    const fn is_told_by(&mut self, teller: Teller) -> bool {
        let before = self.told_by;
        self.told_by |= teller.0;
        self.told_by != before
    }

    const fn holders(&self) -> usize {
        self.told_by.count_ones() as usize
    }

    fn report(&mut self, claim: &Claim) {
        let seconds = |age: Duration| u32::try_from(age.as_secs()).unwrap_or(u32::MAX);
        if let Publisher::Other(publisher) = claim.publisher {
            self.publisher.get_or_insert(publisher);
        }
        if self.reports.len() < MAX_REPORTS {
            self.reports.push((seconds(claim.born), seconds(claim.age)));
        }
    }

    fn median(&self, of: impl Fn(&(u32, u32)) -> u32) -> Option<Duration> {
        let mut all: Vec<u32> = self.reports.iter().map(of).collect();
        all.sort_unstable();
        let middle = all.len().checked_sub(1)? / 2;
        all.get(middle).map(|seconds| Duration::from_secs(u64::from(*seconds)))
    }

    fn sighting(self, value: Value) -> Sighting {
        let (age, silent) = (self.median(|report| report.0), self.median(|report| report.1));
        Sighting { value, publisher: self.publisher, age, silent }
    }
}

/// How far a holder's pages have come.
#[derive(Debug)]
struct Paging {
    /// None of a peer that the lookup doesn't know.
    to: Option<NodeEntry>,
    asked: u64,
    waiting: bool,
}

/// A get under way.
#[derive(Debug)]
pub(in crate::kademlia) struct Get {
    pub(super) lookup: Lookup,
    dialect: Dialect,
    held: Option<Vec<Held>>,
    found: BTreeMap<Value, Rank>,
    /// Who told values, in the order in which they did.
    tellers: Vec<NodeId>,
    questions: usize,
    hops: Option<u32>,
    paging: BTreeMap<NodeId, Paging>,
    pages: usize,
    /// Every request, where somebody wants to see them.
    noted: Option<Hops>,
}

impl Get {
    pub(in crate::kademlia) fn start(
        lookup: Lookup,
        dialect: Dialect,
        noted: Option<Hops>,
        now: Timestamp,
        acts: &mut Vec<Act>,
    ) -> Self {
        acts.push(Act::Disk(StoreRequest::Get { key: *lookup.target() }));
        let mut get = Self {
            lookup,
            dialect,
            held: None,
            found: BTreeMap::new(),
            tellers: Vec::new(),
            questions: 0,
            hops: None,
            paging: BTreeMap::new(),
            pages: 0,
            noted,
        };
        get.go_on(now, acts);
        get
    }

    /// Its requests so far, where they are noted.
    pub(in crate::kademlia) fn noted(&self) -> Option<&[Hop]> {
        self.noted.as_ref().map(Hops::all)
    }

    pub(super) fn handle(&mut self, now: Timestamp, event: OpEvent, acts: &mut Vec<Act>) {
        if let Some(noted) = &mut self.noted {
            noted.hears(now, &event);
        }
        match feed(&mut self.lookup, event) {
            Some(OpEvent::Values { from, values }) => {
                self.hops.get_or_insert(self.lookup.hop(&from));
                self.lookup.on_values(&from);
                // Whoever has told them already is asked once more only when that was late.
                if !self.paging.contains_key(&from) {
                    self.unite(from, values);
                }
            }
            Some(OpEvent::Page { from, page }) => {
                if !page.claims.is_empty() {
                    self.hops.get_or_insert(self.lookup.hop(&from));
                }
                feed_page(&mut self.lookup, &from, &page);
                self.read(from, page, acts);
            }
            Some(OpEvent::PageGone { from }) => {
                if let Some(paging) = self.paging.get_mut(&from) {
                    paging.waiting = false;
                }
            }
            Some(OpEvent::Disk(StoreReply::Values(held))) => self.held = Some(held),
            Some(OpEvent::Disk(_)) => self.held = Some(Vec::new()),
            _ => {}
        }
        self.go_on(now, acts);
    }

    /// Whose voice that is: each has one, in however many answers.
    fn teller(&mut self, id: NodeId) -> Teller {
        let at = self.tellers.iter().position(|teller| *teller == id).unwrap_or_else(|| {
            self.tellers.push(id);
            self.tellers.len() - 1
        });
        self.tellers.truncate(MAX_TELLERS);
        Teller(if at < MAX_TELLERS { 1 << at } else { 0 })
    }

    fn unite(&mut self, from: NodeId, values: Vec<Value>) {
        let teller = self.teller(from);
        for (from_newest, value) in values.into_iter().rev().enumerate() {
            if let Some(rank) = self.found.get_mut(&value) {
                rank.is_told_by(teller);
                rank.from_newest = rank.from_newest.min(from_newest);
            } else if self.found.len() < MAX_FOUND {
                let mut rank = Rank { from_newest, ..Rank::default() };
                rank.is_told_by(teller);
                self.found.insert(value, rank);
            }
        }
    }

    /// Takes in a page, and asks for the next one as long as that may bring something new.
    fn read(&mut self, from: NodeId, page: PageOf, acts: &mut Vec<Act>) {
        // Who holds nothing needs no voice.
        let teller = if page.claims.is_empty() { Teller(0) } else { self.teller(from) };
        // The lookup may go on to ask it for the nodes that it knows.
        let to = self.lookup.answered().find(|entry| entry.id == from);
        let paging = self.paging.entry(from).or_insert(Paging { to, asked: 0, waiting: false });
        paging.waiting = false;
        let before = self.found.len();
        for claim in page.claims {
            if self.found.len() >= MAX_FOUND && !self.found.contains_key(&claim.value) {
                continue;
            }
            let rank = self.found.entry(claim.value.clone()).or_default();
            if rank.is_told_by(teller) {
                rank.report(&claim);
            }
        }
        let skip = page.skip + page.count;
        let brought = self.found.len() > before;
        let known = self.found.len();
        if page.count > 0
            && skip < page.total
            && (brought || (known as u64) < page.total)
            && known < ENOUGH
            && paging.asked < MAX_PAGES_PER_HOLDER
            && self.pages < MAX_PAGES
            && let Some(to) = paging.to
        {
            (paging.asked, paging.waiting) = (paging.asked + 1, true);
            self.pages += 1;
            self.questions += 1;
            acts.push(Act::Page { to, skip });
        }
    }

    fn go_on(&mut self, now: Timestamp, acts: &mut Vec<Act>) {
        let before = acts.len();
        let over = drive(&mut self.lookup, acts);
        self.questions += acts.len() - before;
        if let Some(noted) = &mut self.noted {
            noted.asks(now, &self.lookup, &acts[before..]);
        }
        if !over || self.paging.values().any(|paging| paging.waiting) {
            return;
        }
        let Some(held) = self.held.take() else { return };
        let mut found: Vec<_> = std::mem::take(&mut self.found).into_iter().collect();
        found.sort_by_key(|(_, rank)| (rank.from_newest, Reverse(rank.holders())));
        let mut found: Vec<(usize, Sighting)> =
            found.into_iter().map(|(value, rank)| (rank.holders(), rank.sighting(value))).collect();
        found.sort_by_key(|(_, sighting)| sighting.age.unwrap_or(Duration::MAX));
        let is_only = found.len() == 1;
        self.cache(found.iter().filter(|(holders, _)| is_only || *holders >= MIN_TELLERS), acts);
        let found = found.into_iter().map(|(_, sighting)| sighting).collect();
        let (asked, questions, hops) = (self.lookup.asked(), self.questions, self.hops);
        let noted = self.noted().map(<[Hop]>::to_vec);
        acts.push(Act::Finish(Outcome::Got { held, found, asked, questions, hops, noted }));
    }

    /// Stores what was found on the nearest peer that lacked it (Kademlia paper, section 2.3): a
    /// holder has gone, or that peer is new. Each holder that is nearer halves the time that the
    /// copy has.
    fn cache<'a>(&self, found: impl Iterator<Item = &'a (usize, Sighting)>, acts: &mut Vec<Act>) {
        let Some(to) = self.lookup.nearest_without_values() else {
            return;
        };
        let key = *self.lookup.target();
        let distance = key.distance(&to.id);
        let answered = self.lookup.answered();
        let nearer = answered.filter(|entry| key.distance(&entry.id) < distance).count();
        let most = if self.dialect == Dialect::Scalar { 1 } else { MAX_CACHED };
        let found: Vec<_> = found.map(|(_, it)| it).collect();
        let texts = found.iter().any(|it| it.value.as_text().is_some());
        let alike = found.iter().filter(|it| it.value.as_text().is_some() == texts);
        let mut claims: Vec<Claim> = alike.take(most).map(|it| cached(it, nearer)).collect();
        // Oldest first, so that the receiver's order is the holders'.
        claims.reverse();
        if !claims.is_empty() {
            acts.push(Act::Store { to, key, claims, awaited: false, token: None });
        }
    }
}

/// A copy for a peer with so many holders nearer to the key: its age says how soon it is to go.
fn cached(found: &Sighting, nearer: usize) -> Claim {
    let publisher = found.publisher.map_or(Publisher::Unknown, Publisher::Other);
    let lifetime = lifetime(publisher);
    let left = lifetime.saturating_sub(found.silent.unwrap_or_default());
    let halved = left / 2_u32.saturating_pow(u32::try_from(nearer).unwrap_or(u32::MAX).min(31));
    let age = lifetime.saturating_sub(halved);
    Claim { value: found.value.clone(), publisher, age, born: found.age.unwrap_or(age).max(age) }
}
