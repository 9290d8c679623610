//! What must be true of every node at any time, checked from outside, where all is seen.
//!
//! Always holds: what is checked is compared with what really happened, not with what nodes say.
//! Never: changes anything.

use std::collections::BTreeMap;
use std::time::Duration;

use super::World;
use super::library::{Entry, Library, holding, last_word};
use super::machine::Role;
use crate::kademlia::{Key, LIFETIME, MultiStore, Node, Origin, PLAIN_LIFETIME};

/// What has expired may lie on the disk until the node next looks at its store, which it does at
/// least this often; whoever asks for it does not get it.
const EXPIRED_WITHIN: Duration = Duration::from_hours(2);
/// A value may live so much longer than its time after its publisher's last word: that word takes a
/// while to arrive, a few times over where it is asked for again, and each holder that tells another
/// of it does so in whole seconds, a moment after it looked.
const LATE: Duration = Duration::from_mins(10);

/// Looks at a part of the nodes, and at every value's holders; what is wrong, a line each.
pub(super) fn check(world: &World, library: &Library, turn: usize, turns: usize) -> Vec<String> {
    let mut wrong = Vec::new();
    let truth = Truth::new(world, library);
    for machine in world.living().into_iter().filter(|n| n % turns == turn % turns) {
        if let Some(node) = world.node(machine) {
            buckets(world, machine, node, &mut wrong);
            sizes(machine, node.sizes(), &mut wrong);
        }
        if let Some(store) = world.store(machine) {
            sizes(machine, store.sizes(), &mut wrong);
            expiries(world, machine, store, &mut wrong);
            truth.lifetimes(machine, store, &mut wrong);
        }
    }
    acknowledged(world, library, &mut wrong);
    wrong
}

/// No bucket over k, and no contact that never showed that it lives there.
fn buckets(world: &World, machine: usize, node: &Node, wrong: &mut Vec<String>) {
    let k = node.settings().k;
    for bucket in node.table().buckets() {
        let (contacts, replacements) = (bucket.contacts().len(), bucket.replacements().len());
        if contacts > k || replacements > k {
            wrong.push(format!(
                "node {machine} has a bucket of {contacts} contacts and {replacements} replacements, more than {k}"
            ));
        }
    }
    let met = world.machine(machine).met.as_ref();
    for contact in node.table().contacts() {
        let address = contact.address;
        // Whatever else they lie about, nobody here has another id than its own.
        let there = world.index_of(address).map(|n| world.machine(n));
        if there.is_none_or(|there| there.id != contact.id) {
            let id = contact.id;
            wrong.push(format!("node {machine} knows {id} at {address}, which never lived there"));
        } else if met.is_some_and(|met| !met.has_seen(address)) {
            wrong.push(format!("node {machine} knows {address}, which never showed that it lives"));
        }
    }
}

fn sizes(machine: usize, all: Vec<(&str, usize, usize)>, wrong: &mut Vec<String>) {
    for (what, size, most) in all {
        if size > most {
            wrong.push(format!("node {machine} has {size} {what}, more than {most}"));
        }
    }
}

/// Nothing outlives what its holder thinks is its expiry.
fn expiries(world: &World, machine: usize, store: &MultiStore, wrong: &mut Vec<String>) {
    if let Some(key) = store.expired_by(world.now() - EXPIRED_WITHIN) {
        wrong.push(format!("node {machine} holds a value of {key} long after its expiry"));
    }
}

/// What was published, and by when nobody may tell of it any more.
struct Truth<'a> {
    world: &'a World,
    entries: BTreeMap<Key, &'a Entry>,
    /// Whoever speaks no extensions pushes what it holds for ever, and plainly: where there are such
    /// peers nobody can tell how old a plain value is.
    is_pushed_for_ever: bool,
}

impl<'a> Truth<'a> {
    fn new(world: &'a World, library: &'a Library) -> Self {
        let entries = library.entries().iter().map(|entry| (entry.key, entry)).collect();
        let others = |n| world.machine(n).role != Role::Node;
        Self { world, entries, is_pushed_for_ever: (0..world.machine_count()).any(others) }
    }

    /// Nothing is told for longer than its time after what really was its publisher's last word.
    fn lifetimes(&self, machine: usize, store: &MultiStore, wrong: &mut Vec<String>) {
        let now = self.world.now();
        for held in store.details(now, None, None, usize::MAX) {
            let entry = self.entries.get(&held.place.key).filter(|it| it.value == held.value);
            let lifetime = match held.origin {
                Origin::Plain if self.is_pushed_for_ever => continue,
                Origin::Plain => PLAIN_LIFETIME,
                _ => LIFETIME,
            };
            let silent = entry.map(|entry| now.since(last_word(self.world, entry)));
            if let Some(silent) = silent.filter(|silent| *silent >= lifetime + LATE) {
                let (key, hours) = (held.place.key, silent.as_secs() / 3600);
                wrong.push(format!(
                    "node {machine} tells a value of {key} {hours} hours after its publisher's last word"
                ));
            }
        }
    }
}

/// Whoever acknowledged a value holds it while it lives, until the time it named.
fn acknowledged(world: &World, library: &Library, wrong: &mut Vec<String>) {
    for entry in library.entries().iter().filter(|entry| !entry.taken_back) {
        for holder in &entry.holders {
            let machine = holder.life.machine;
            let lives = world.machine(machine).is_alive()
                && world.machine(machine).born == holder.life.born;
            let is_due = world.now() < holder.until;
            if lives && is_due && holding(world, machine, entry).is_none() {
                let key = entry.key;
                wrong.push(format!("node {machine} forgot a value of {key} that it acknowledged"));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kademlia::wire::{Claim, Publisher};
    use crate::kademlia::{NodeId, Settings, Source, StoreRequest, Value};
    use crate::sim::library::Life;
    use crate::sim::machine::Met;
    use crate::sim::{Lie, Link, Scenario};

    #[test]
    fn what_must_not_be_is_seen() {
        let mut world = World::with_nodes(1, Settings::default(), Link::LAN, 17);
        let mut library = Library::default();
        let publisher = Life { machine: 3, born: world.machine(3).born };
        let value = library.add(publisher, world.now());
        world.put(3, Scenario::key(value), Scenario::value(value)).unwrap();
        library.published(value, &world);
        assert_eq!(check(&world, &library, 0, 1), Vec::<String>::new());

        world.machine_mut(3).honest_mut().unwrap().store = MultiStore::new(1 << 20, false);
        let wrong = check(&world, &library, 0, 1);
        assert!(wrong.len() == 1 && wrong[0].contains("node 3 forgot"), "{wrong:?}");

        // All of them at once: that a value is lost excuses nobody.
        for n in 0..17 {
            world.machine_mut(n).honest_mut().unwrap().store = MultiStore::new(1 << 20, false);
        }
        assert_eq!(library.note_lost(&world), 1);
        let forgot = check(&world, &library, 0, 1);
        assert!(forgot.iter().filter(|line| line.contains("forgot")).count() > 10, "{forgot:?}");

        let (values, key) = (vec![Value::Text("old".to_owned())], Key::of_name("old"));
        let source = Source::Peer { address: world.node_address(3), holder: false };
        let put = StoreRequest::Put { key, values, source, replaces: false };
        let mut holds_since = |ago| {
            let mut store = MultiStore::new(1 << 20, false);
            store.handle(world.now() - ago, put.clone());
            world.machine_mut(7).honest_mut().unwrap().store = store;
            let wrong = check(&world, &Library::default(), 0, 1);
            wrong.iter().any(|line| line.contains("node 7 holds a value of"))
        };
        assert!(!holds_since(PLAIN_LIFETIME + EXPIRED_WITHIN / 2));
        assert!(holds_since(PLAIN_LIFETIME + EXPIRED_WITHIN * 2));

        let liar = world.add_liar(Lie::Silent);
        world.run_for(Duration::from_mins(1));
        assert_eq!(said_of(&world, &library, "never lived there"), Vec::<String>::new());
        let at = format!(" at {}, which never lived there", world.node_address(liar));
        for other in [5, liar] {
            world.machine_mut(other).id = NodeId::new([7; 20]);
        }
        assert!(!said_of(&world, &library, &at).is_empty(), "nobody is too bad to have an id");
        world.machine_mut(16).met = Some(Met::default());
        let wrong = check(&world, &library, 0, 1);
        for said in
            ["which never lived there", "node 16 knows 10.", "which never showed that it lives"]
        {
            assert!(wrong.iter().any(|line| line.contains(said)), "{said}: {wrong:?}");
        }
    }

    fn said_of(world: &World, library: &Library, what: &str) -> Vec<String> {
        let wrong = check(world, library, 0, 1).into_iter();
        wrong.filter(|line| line.contains(what)).collect()
    }

    #[test]
    fn what_is_told_for_too_long_is_seen_whatever_its_holder_thinks() {
        let mut world = World::with_nodes(1, Settings::default(), Link::LAN, 8);
        let mut library = Library::default();
        let publisher = Life { machine: 3, born: world.machine(3).born };
        let value = library.add(publisher, world.now() - LIFETIME * 9);
        let (key, text) = (Scenario::key(value), Scenario::value(value));
        world.put(3, key, text.clone()).unwrap();
        let told = |world: &World, library: &Library| said_of(world, library, "last word").len();
        assert_eq!(told(&world, &library), 0, "its publisher is there, and speaks");
        library.falls_silent(3, &world);
        world.kill(3);
        assert_eq!(told(&world, &library), 0, "it has just fallen silent");

        // All hold what they heard a minute ago, and none would drop it for a day.
        library.entry_mut(value).word = world.now() - LIFETIME;
        assert_eq!(told(&world, &library), 0, "words take a while");
        library.entry_mut(value).word = world.now() - LIFETIME - LATE;
        assert_eq!(told(&world, &library), 7);

        // What nobody knows the publisher of has longer.
        let source = Source::Peer { address: world.node_address(4), holder: false };
        let put = StoreRequest::Put { key, values: vec![text], source, replaces: false };
        for n in 0..8 {
            let now = world.now();
            if let Some(honest) = world.machine_mut(n).honest_mut() {
                honest.store = MultiStore::new(1 << 20, false);
                honest.store.handle(now, put.clone());
            }
        }
        assert_eq!(told(&world, &library), 0);
        library.entry_mut(value).word = world.now() - PLAIN_LIFETIME - LATE;
        assert_eq!(told(&world, &library), 7);
        world.add_liar(Lie::Silent);
        assert_eq!(told(&world, &library), 0, "who speaks plainly only repeats what it holds");
    }

    #[test]
    fn a_store_that_holds_too_much_is_seen() {
        let mut world = World::with_nodes(1, Settings::default(), Link::LAN, 2);
        let (now, from) = (world.now(), world.node_address(1));
        let (key, value) = (Key::of_name("k"), Value::Text("v".to_owned()));
        let mut store = MultiStore::new(1, false);
        let values = vec![value.clone()];
        store.handle(now, StoreRequest::Put { key, values, source: Source::Own, replaces: false });
        let (publisher, zero) = (Publisher::Sender, Duration::ZERO);
        let claim = Claim { value: value.clone(), publisher, age: zero, born: zero };
        let claims = vec![Some(claim)];
        let keep = StoreRequest::Keep { key, claims, from, holder: true, draw: 0, proven: true };
        store.handle(now, keep);
        world.machine_mut(0).honest_mut().unwrap().store = store.clone();
        assert_eq!(check(&world, &Library::default(), 0, 1), Vec::<String>::new());
        // What was its own and is another's, too, stays when it gives it up, whatever it may hold.
        store.handle(now, StoreRequest::Forget { key, value });
        world.machine_mut(0).honest_mut().unwrap().store = store;
        let wrong = check(&world, &Library::default(), 0, 1);
        assert!(
            wrong.len() == 1 && wrong[0].contains("bytes held for others, more than 1"),
            "{wrong:?}"
        );
    }
}
