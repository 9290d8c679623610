//! How virtual time passes, on one thread or on several.
//!
//! Always holds: no share of the machines is ahead of another by more than what any datagram takes, so
//! that nothing that happens on the one can still change what happened on the other (conservative
//! synchronisation: Chandy and Misra 1979), and what comes of it is the same on any number of threads.
//! Never: has an operation that is over wait for longer than to the end of its window of ten times as
//! long, where all meet.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use super::meeting::{Meeting, Patience};
use super::network::Network;
use super::share::Share;
use super::{Ended, World};
use crate::kademlia::Timestamp;
use crate::sim::queue::Entry;

/// Nothing is going to happen.
const NEVER: u64 = u64::MAX;

/// How long a window is, in units of what any datagram takes. Where all meet, most of them wait: the
/// less often the better.
const WINDOW: u32 = 10;
/// After so many events a thread tells the others how far it is: they may wait for it.
const AT_ONCE: usize = 8;

impl World {
    /// Lets virtual time pass until then.
    pub(super) fn run_until(&mut self, until: Timestamp) {
        self.go(until, false);
    }

    /// Lets it pass until then, or to the end of a window in which an operation ended; whether it
    /// was the former.
    pub(super) fn pass_to_end(&mut self, until: Timestamp) -> bool {
        self.go(until, true)
    }

    fn go(&mut self, until: Timestamp, stops: bool) -> bool {
        self.deliver();
        let (crew, network) = (Crew::new(self.shares.len(), until, stops), &self.network);
        let Some((first, others)) = self.shares.split_first_mut() else {
            return true;
        };
        let work = |which, share| crew.attempt(|| crew.work(which, share, network));
        // The helpers stay: one started anew may wait for milliseconds on the core of this thread,
        // while another is idle.
        match &self.helpers {
            Some(helpers) => helpers.in_place_scope(|scope| {
                for (which, share) in (1..).zip(others) {
                    scope.spawn(move |_| work(which, share));
                }
                work(0, first);
            }),
            None => work(0, first),
        }
        if let Some(panic) = crew.panic.into_inner().unwrap_or_else(PoisonError::into_inner) {
            resume_unwind(panic);
        }
        let stopped = stops && crew.ended.into_inner();
        let reached = Timestamp::from_micros(crew.reached.into_inner());
        self.now = self.now.max(if stopped { reached } else { until });
        !stopped
    }

    /// What ended, in an order of its own.
    pub(super) fn collect_ended(&mut self) {
        let mut ended: Vec<Ended> = Vec::new();
        for share in &mut self.shares {
            ended.append(&mut share.ended);
        }
        ended.sort_by_key(|ended| (ended.at, ended.machine, ended.op));
        self.ended.extend(ended);
    }

    /// What one share of the machines has in store for the others.
    fn deliver(&mut self) {
        for from in 0..self.shares.len() {
            for to in 0..self.shares.len() {
                for entry in std::mem::take(&mut self.shares[from].outbox[to]) {
                    self.shares[to].queue.schedule(entry);
                }
            }
        }
    }
}

/// Those who let time pass together, each for a share of the machines.
struct Crew {
    until: Timestamp,
    stops: bool,
    meeting: Meeting,
    /// When each has something to do next.
    next: Vec<AtomicU64>,
    /// How far each is: all before has happened, and what comes of it for others was posted.
    done: Vec<AtomicU64>,
    /// What is going to happen on each one's machines because of others.
    post: Vec<Mutex<Vec<Entry>>>,
    /// The last moment of the last window.
    reached: AtomicU64,
    ended: AtomicBool,
    panic: Mutex<Option<Box<dyn Any + Send>>>,
}

impl Crew {
    fn new(of: usize, until: Timestamp, stops: bool) -> Self {
        Self {
            until,
            stops,
            meeting: Meeting::new(of),
            next: (0..of).map(|_| AtomicU64::new(NEVER)).collect(),
            done: (0..of).map(|_| AtomicU64::new(0)).collect(),
            post: (0..of).map(|_| Mutex::default()).collect(),
            reached: AtomicU64::new(0),
            ended: AtomicBool::new(false),
            panic: Mutex::default(),
        }
    }

    /// Whoever panics leaves no other waiting.
    fn attempt(&self, work: impl FnOnce()) {
        if let Err(panic) = catch_unwind(AssertUnwindSafe(work)) {
            self.panic.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(panic);
            self.meeting.dissolve();
        }
    }

    /// Window after window.
    fn work(&self, which: usize, share: &mut Share, network: &Network) {
        let mut end = Timestamp::default();
        loop {
            // What others wrote in the last window is read before the first meeting, and they write
            // the like only after it, so that all decide the same.
            let over = self.stops && self.ended.load(Ordering::Relaxed);
            self.fetch_post(which, share, end);
            let next = share.queue.next_at().map_or(NEVER, Timestamp::as_micros);
            self.next[which].store(next, Ordering::Relaxed);
            if !self.meeting.wait() {
                return;
            }
            let next = self.next.iter().map(|next| next.load(Ordering::Relaxed)).min();
            let next = next.filter(|next| *next != NEVER).map(Timestamp::from_micros);
            let Some(next) = next.filter(|next| !over && *next <= self.until) else {
                return;
            };
            let last = Timestamp::from_micros(self.until.as_micros().saturating_add(1));
            end = (next + network.lookahead() * WINDOW).min(last);
            if !self.pass_window(which, share, network, (next, end)) {
                return;
            }
            if !share.ended.is_empty() {
                self.ended.store(true, Ordering::Relaxed);
            }
            self.reached.store(end.as_micros() - 1, Ordering::Relaxed);
            if !self.meeting.wait() {
                return;
            }
        }
    }

    /// What is before the end of a window happens on the machines of a share, as far ahead of the others
    /// as may be; whether it all has.
    fn pass_window(
        &self,
        which: usize,
        share: &mut Share,
        network: &Network,
        (start, end): (Timestamp, Timestamp),
    ) -> bool {
        let (mut done, mut patience) = (start, Patience::default());
        self.done[which].store(start.as_micros(), Ordering::Release);
        while done < end {
            // What others post from here on is for later than that. Those that have not begun say
            // where they were in the window before, which is earlier.
            let others = self.done.iter().enumerate().filter(|(other, _)| *other != which);
            let slowest = others.map(|(_, done)| done.load(Ordering::Acquire)).min();
            let ahead = |slowest| Timestamp::from_micros(slowest) + network.lookahead();
            let may_reach = slowest.map_or(end, ahead).min(end);
            if may_reach <= done {
                if self.meeting.is_dissolved() {
                    return false;
                }
                patience.wait();
                continue;
            }
            patience = Patience::default();
            self.fetch_post(which, share, done);
            // Nobody waits for one that is alone.
            let at_once = if slowest.is_some() { AT_ONCE } else { usize::MAX };
            done = share.run(network, may_reach, at_once);
            self.send_post(share);
            self.done[which].store(done.as_micros(), Ordering::Release);
        }
        true
    }

    /// Nothing in it is to happen before then.
    fn fetch_post(&self, which: usize, share: &mut Share, done: Timestamp) {
        let mut post = self.post[which].lock().unwrap_or_else(PoisonError::into_inner);
        for entry in post.drain(..) {
            debug_assert!(entry.moment.at >= done, "it comes too late");
            share.queue.schedule(entry);
        }
    }

    fn send_post(&self, share: &mut Share) {
        for (to, entries) in share.outbox.iter_mut().enumerate() {
            if !entries.is_empty() {
                let mut post = self.post[to].lock().unwrap_or_else(PoisonError::into_inner);
                post.append(entries);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddrV4;
    use std::time::Duration;

    use super::super::Totals;
    use super::*;
    use crate::kademlia::wire::{Request, RpcId, encode_request};
    use crate::kademlia::{Key, NodeId, Settings, Value};
    use crate::sim::Link;
    use crate::sim::inhabitant::Inhabitant;
    use crate::sim::machine::Role;

    /// Somebody who panics when its time has come.
    #[derive(Debug)]
    struct Panics(Timestamp);

    impl Inhabitant for Panics {
        fn id(&self) -> NodeId {
            NodeId::new([1; 20])
        }

        fn handle_datagram(&mut self, _now: Timestamp, _from: SocketAddrV4, _bytes: &[u8]) {}

        fn handle_timeout(&mut self, _now: Timestamp) {
            panic!("its time has come");
        }

        fn poll_timeout(&self) -> Option<Timestamp> {
            Some(self.0)
        }

        fn poll_send(&mut self) -> Option<(SocketAddrV4, Vec<u8>)> {
            None
        }
    }

    /// What comes of a network whose link is changed and cut, and in which much happens at the very
    /// same time.
    fn history(threads: usize) -> (String, Totals, u64, usize) {
        const IN_NO_TIME: Link =
            Link { latency: (Duration::ZERO, Duration::ZERO), jitter: Duration::ZERO, ..Link::LAN };
        let mut world = World::on_threads(7, Settings::default(), Link::LAN, threads);
        for _ in 0..16 {
            world.add_node();
            world.run_for(Duration::from_millis(100));
        }
        let (key, nowhere) = (Key::of_name("k"), SocketAddrV4::new([198, 51, 100, 1].into(), 9));
        world.tally(5, *nowhere.ip());
        for link in [Link::WIDE_AREA.with_loss(0.1), IN_NO_TIME, Link::LAN] {
            world.set_link(link);
            world.set_parts((0..16).map(|n| n % 2).collect());
            world.put(3, key, Value::Text("v".to_owned()));
            world.run_for(Duration::from_secs(10));
            world.set_cut(None);
            let mut ping = Vec::new();
            let request = Request::FindNode { sender: NodeId::new([3; 20]), target: key };
            encode_request(&mut ping, RpcId::new([1; 20]), &request).expect("it is short");
            world.forge(nowhere, 5, &ping);
            world.run_for(Duration::from_secs(20));
        }
        let found = world.get(8, key).map_or(0, |got| got.values.len());
        (world.state_hash(), world.totals(), world.tallied(), found)
    }

    #[test]
    fn links_and_cuts_come_to_the_same_on_any_number_of_threads() {
        let alone = history(1);
        assert!(alone.2 > 0 && alone.3 == 1, "{alone:?}");
        for threads in [2, 3] {
            assert_eq!(history(threads), alone, "on {threads} threads");
        }
    }

    #[test]
    fn a_panic_on_one_thread_ends_the_run_and_leaves_no_other_waiting() {
        for threads in 1..4 {
            let mut world = World::on_threads(1, Settings::default(), Link::WIDE_AREA, threads);
            for _ in 0..6 {
                world.add_node();
            }
            let at = world.now() + Duration::from_secs(1);
            world.add_inhabitant(Box::new(Panics(at)), Role::Liar, None);
            let run = AssertUnwindSafe(|| world.run_for(Duration::from_secs(2)));
            let panic = catch_unwind(run).expect_err("it goes on as if nothing had happened");
            assert_eq!(panic.downcast_ref(), Some(&"its time has come"), "on {threads} threads");
        }
    }
}
