//! Who is asked next, and when a search is over.
//!
//! Always holds: who counts is decided in one place, [`Lookup::window`]. Never: ends while somebody
//! who counts may still answer, unless enough holders have.

use super::candidate::{Candidate, Proof, State};
use super::{Goal, Lookup, MAX_CANDIDATES, Step};
use crate::kademlia::Distance;
use crate::kademlia::wire::NodeEntry;

/// Peers that it asks at most: several times what a network of millions takes. Liars could lead it
/// on for ever.
const MAX_QUESTIONS: usize = MAX_CANDIDATES;
/// Nodes that a key is looked for and stored on at most, in units of k: those nearer than the k
/// nearest should be, going by how near the own neighbours are. Who put many ids beside a key pushes
/// no honest node out of it before that.
pub(super) const MAX_CROWD: usize = 2;

/// Of those that are only to be met, so many of the nearest say whom they know, and as many of the own
/// contacts: one may lie, or have just come.
pub(super) const TELLERS: usize = 5;

impl Lookup {
    /// What to do next; call until it says `Wait` or `Done`.
    pub(in crate::kademlia) fn next(&mut self) -> Step {
        if self.has_enough_holders() {
            return Step::Done;
        }
        if self.goal == Goal::Holders
            && let Some(entry) = self.next_to_prove()
        {
            return Step::Prove(entry);
        }
        let of_state = |state| self.candidates.values().filter(|c| c.state == state).count();
        // The more turn out to be late or silent, the more are asked at once: whole rounds of dead
        // ones cost no more than a few.
        let at_once = (self.alpha + of_state(State::Slow) + self.silent).min(self.k);
        if of_state(State::Asked) >= at_once {
            return Step::Wait;
        }
        if self.questions < MAX_QUESTIONS {
            if let Some(new) = self.nearest_new() {
                return self.ask(new, self.goal == Goal::Contacts && self.is_told());
            }
            if let Some(start) = self.next_start() {
                return self.ask(start, false);
            }
        }
        let nearest = self.window(|c| c.state != State::Gone);
        if nearest.iter().any(|at| self.is_open(&self.candidates[at])) || self.is_starting() {
            return Step::Wait;
        }
        // Holders answered with values alone; there may be more of them than we know. And who was to
        // tell may have been silent.
        let lacks_tellers = self.goal == Goal::Contacts && !self.is_told();
        let unexpanded = nearest.iter().find(|at| {
            let candidate = &self.candidates[*at];
            (candidate.holder || lacks_tellers) && !candidate.expanded
        });
        if let Some(at) = unexpanded
            && let Some(known) = self.candidates.get_mut(at)
        {
            (known.expanded, known.state) = (true, State::Asked);
            return Step::AskNodes(known.entry);
        }
        // Names of others' may have kept the true holders out.
        if self.goal == Goal::Values
            && let Some(entry) = self.next_to_prove()
        {
            return Step::Prove(entry);
        }
        let proving = |at| self.candidates[at].proof == Proof::Asked;
        if nearest.iter().any(proving) { Step::Wait } else { Step::Done }
    }

    /// Who is asked next of those that count. Late ones may be lost: somebody else is asked in their
    /// place meanwhile; who is dubious comes last.
    fn nearest_new(&self) -> Option<Distance> {
        let may_answer = |c: &Candidate| {
            !matches!(c.state, State::Gone | State::Slow) && !c.waits_for(&self.hosts)
        };
        let is_new = |at: &Distance| self.candidates[at].state == State::New;
        let trusted = self.window(|c| may_answer(c) && !c.is_dubious(&self.namers));
        let new = trusted.into_iter().find(is_new);
        if new.is_some() || !self.namers.are_doubted() {
            return new;
        }
        self.window(may_answer).into_iter().find(is_new)
    }

    /// Asks somebody for the first time: only for a sign of life, if it is only met.
    fn ask(&mut self, at: Distance, meets: bool) -> Step {
        let Some(new) = self.candidates.get_mut(&at) else {
            return Step::Wait;
        };
        self.questions += 1;
        new.state = State::Asked;
        new.expanded = self.goal != Goal::Values && !meets;
        let entry = new.entry;
        self.note_datagram(at);
        self.take(entry.address);
        match self.goal {
            _ if meets => Step::Meet(entry),
            Goal::Nodes | Goal::Holders | Goal::Contacts => Step::AskNodes(entry),
            Goal::Values => Step::AskValues(entry),
        }
    }

    /// Whether enough of the nearest have said whom they know, or are about to.
    fn is_told(&self) -> bool {
        let nearest = self.window(|c| !matches!(c.state, State::Gone | State::Slow));
        nearest.iter().filter(|at| self.candidates[at].expanded).count() >= TELLERS
    }

    fn is_open(&self, candidate: &Candidate) -> bool {
        matches!(candidate.state, State::Asked | State::Slow) || candidate.waits_for(&self.hosts)
    }

    /// One of the own contacts, if too few of them have been asked; one that is farther away, if the
    /// nearest are silent: they may all be one attacker's, who only wants to be known.
    fn next_start(&mut self) -> Option<Distance> {
        let starts = || self.candidates.iter().filter(|(_, c)| c.hop == 1);
        let alive = |c: &Candidate| matches!(c.state, State::Asked | State::Answered);
        let asked = starts().filter(|(_, c)| alive(c) && self.tells(c)).count();
        let new = starts().find(|(_, c)| c.state == State::New).map(|(at, _)| *at);
        if new.is_some() && asked < self.wanted_starts() {
            return new;
        }
        while asked < self.least_starts()
            && let Some(entry) = self.farther.pop()
        {
            self.add([entry], 1, None);
            let at = self.target.distance(&entry.id);
            if self.candidates.get(&at).is_some_and(|c| c.state == State::New && c.hop == 1) {
                return Some(at);
            }
        }
        None
    }

    /// How many own contacts must have spoken: all that are known where the nearest nodes lie much
    /// farther apart than the own neighbours do, as if most of them were being kept secret.
    fn wanted_starts(&self) -> usize {
        let nearest = self.window(|c| c.state != State::Gone);
        let farthest = nearest.get(self.k - 1);
        let is_sparse = farthest.zip(self.reach).is_some_and(|(at, reach)| *at > reach.doubled());
        if is_sparse { self.k } else { self.least_starts() }
    }

    fn least_starts(&self) -> usize {
        if self.goal == Goal::Contacts { self.paths.min(TELLERS) } else { self.paths }
    }

    /// Whether its answer says, or has said, more than that it is there.
    fn tells(&self, candidate: &Candidate) -> bool {
        candidate.expanded || self.goal != Goal::Contacts
    }

    /// Whether the word of one of the own contacts is missing that should have been heard.
    fn is_starting(&self) -> bool {
        let starts = || self.candidates.values().filter(|c| c.hop == 1);
        let heard = |c: &&Candidate| c.state == State::Answered && self.tells(c);
        starts().filter(heard).count() < self.wanted_starts()
            && starts().any(|c| c.state == State::Asked)
    }

    fn next_to_prove(&mut self) -> Option<NodeEntry> {
        let unproven = |c: &Candidate| c.state == State::Answered && c.proof == Proof::Claimed;
        if !self.candidates.values().any(unproven) {
            return None;
        }
        let nearest = self.window(|c| c.state != State::Gone);
        let at = nearest.into_iter().find(|at| unproven(&self.candidates[at]))?;
        let candidate = self.candidates.get_mut(&at)?;
        candidate.proof = Proof::Asked;
        Some(candidate.entry)
    }

    /// The candidates that count among those that pass, nearest first: the k nearest, and who else
    /// lies where they should; of one machine not more than the table holds, as long as others are
    /// there.
    pub(super) fn window(&self, passes: impl Fn(&Candidate) -> bool) -> Vec<Distance> {
        let mut inside = Vec::with_capacity(self.k);
        let (mut counted, mut crowded) = (Vec::with_capacity(self.k), Vec::new());
        for (at, candidate) in self.candidates.iter().filter(|(_, c)| passes(c)) {
            let full = inside.len() >= self.k;
            let is_far = self.reach.is_none_or(|reach| *at > reach);
            if full && (is_far || inside.len() >= MAX_CROWD * self.k) {
                break;
            }
            if self.diversity.admits(&mut counted, *candidate.entry.address.ip()) {
                inside.push(*at);
            } else {
                crowded.push(*at);
            }
        }
        let places = self.k.saturating_sub(inside.len());
        inside.extend(crowded.into_iter().take(places));
        inside
    }

    /// Whether the nearest of those that are not late, nor dubious, have answered, and enough of them
    /// hold values: the union of what several say, never the word of the first.
    fn has_enough_holders(&self) -> bool {
        self.goal == Goal::Values
            && self.candidates.values().filter(|c| c.holder).count() >= self.union_holders
            && self
                .window(|c| {
                    !matches!(c.state, State::Gone | State::Slow) && !c.is_dubious(&self.namers)
                })
                .iter()
                .take(self.union_holders)
                .map(|at| &self.candidates[at])
                .all(|c| c.holder || c.state == State::Answered)
    }
}
