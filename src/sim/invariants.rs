//! What must be true of every node at any time, checked from outside, where all is seen.
//!
//! Always holds: what is checked is compared with what really happened, not with what nodes say.
//! Never: changes anything.

use std::time::Duration;

use super::World;
use super::library::{Library, holding};
use super::machine::{Machine, Role};
use crate::kademlia::Node;

/// What has expired may lie on the disk until the node next looks at its store, which it does at
/// least this often; whoever asks for it does not get it.
const EXPIRED_WITHIN: Duration = Duration::from_hours(2);

/// Looks at a part of the nodes, and at every value's holders; what is wrong, a line each.
pub(super) fn check(world: &World, library: &Library, turn: usize, turns: usize) -> Vec<String> {
    let mut wrong = Vec::new();
    for machine in world.living().into_iter().filter(|n| n % turns == turn % turns) {
        if let Some(node) = world.node(machine) {
            buckets(world, machine, node, &mut wrong);
            sizes(machine, node, &mut wrong);
            expiries(world, machine, &mut wrong);
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
        let there = world.index_of(address).map(|n| world.machine(n));
        // Others answer under whatever id they like.
        let is_there = |there: &Machine| there.role != Role::Node || there.id == contact.id;
        if !there.is_some_and(is_there) {
            let id = contact.id;
            wrong.push(format!("node {machine} knows {id} at {address}, which never lived there"));
        } else if met.is_some_and(|met| !met.has_seen(address)) {
            wrong.push(format!("node {machine} knows {address}, which never showed that it lives"));
        }
    }
}

fn sizes(machine: usize, node: &Node, wrong: &mut Vec<String>) {
    for (what, size, most) in node.sizes() {
        if size > most {
            wrong.push(format!("node {machine} has {size} {what}, more than {most}"));
        }
    }
}

/// Nothing outlives its expiry.
fn expiries(world: &World, machine: usize, wrong: &mut Vec<String>) {
    let Some(store) = world.store(machine) else {
        return;
    };
    if let Some(key) = store.expired_by(world.now() - EXPIRED_WITHIN) {
        wrong.push(format!("node {machine} holds a value of {key} long after its expiry"));
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
    use crate::kademlia::{
        Key, MultiStore, NodeId, PLAIN_LIFETIME, Settings, Source, StoreRequest, Value,
    };
    use crate::sim::library::Life;
    use crate::sim::machine::Met;
    use crate::sim::{Link, Scenario};

    #[test]
    fn what_must_not_be_is_seen() {
        let mut world = World::with_nodes(1, Settings::default(), Link::LAN, 17);
        let mut library = Library::default();
        let value = library.add(Life { machine: 3, born: world.machine(3).born });
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

        world.machine_mut(5).id = NodeId::new([7; 20]);
        world.machine_mut(16).met = Some(Met::default());
        let wrong = check(&world, &library, 0, 1);
        for said in
            ["which never lived there", "node 16 knows 10.", "which never showed that it lives"]
        {
            assert!(wrong.iter().any(|line| line.contains(said)), "{said}: {wrong:?}");
        }
    }
}
