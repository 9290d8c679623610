//! Which searches a node makes unasked, and when it stops.

use super::*;
use crate::kademlia::node::searches::{MAX_SEARCHES, SEARCH_AGAIN};

#[test]
fn few_searches_wait_however_long_the_node_knows_few() {
    let mut subject = Subject::new();
    let mut most = 0;
    for n in 1..=10 {
        subject.introduce(address(n), id(n), None);
        for _ in 0..60 {
            subject.pass(Duration::from_secs(1));
            let sizes = subject.node.sizes();
            let waiting = sizes.iter().find(|(what, ..)| *what == "searches that wait").unwrap();
            assert_eq!(waiting.2, MAX_SEARCHES);
            most = most.max(waiting.1);
        }
    }
    assert!((1..=MAX_SEARCHES).contains(&most), "{most}");
}

/// Contacts at random places; no bucket is to be searched.
fn settled(count: u8) -> Subject {
    let mut subject = Subject::new();
    let mut rng = ChaCha8Rng::seed_from_u64(1);
    for n in 1..=count {
        subject.introduce(address(n), NodeId::random(&mut rng), None);
    }
    let buckets = subject.node.table().buckets().iter();
    for prefix in buckets.map(|bucket| *bucket.prefix()).collect::<Vec<_>>() {
        subject.node.table.touch(&prefix, subject.now);
    }
    subject.pass(Duration::from_secs(20));
    assert!(searches(&subject).is_empty());
    subject
}

/// The keys that are searched for now.
fn searches(subject: &Subject) -> Vec<Key> {
    let all = subject.node.operations.values();
    all.filter(|(_, client)| *client == Client::Refresh).filter_map(|(it, _)| it.target()).collect()
}

#[test]
fn after_a_join_each_bucket_is_searched() {
    let mut subject = settled(60);
    assert!(subject.node.table().buckets().len() > 3);
    subject.node.note_outcome(subject.now, Client::User, &Outcome::Joined { answered: 1 });
    assert_eq!(searches(&subject).len(), 1, "one after the other");
    let (own, target) = (subject.node.id().as_key(), searches(&subject)[0]);
    for bucket in subject.node.table().buckets() {
        let is_looked_after = bucket.is_unsearched() || bucket.covers(&target) || bucket.is_full();
        assert!(is_looked_after || bucket.covers(&own), "{bucket:?}");
    }
    assert_ne!(target, own, "the join was that");
}

#[test]
fn a_search_that_nobody_answered_is_made_again() {
    let mut subject = settled(20);
    let key = id(0xff).as_key();
    subject.node.table.mark_unsearched(&key);
    let mut begun = Vec::new();
    let start = subject.now;
    while begun.len() < 2 {
        let before = searches(&subject);
        let sent = subject.pass(Duration::from_secs(1));
        if searches(&subject).len() > before.len() {
            begun.push(subject.now);
        }
        // The link is down while it searches, and up again before anybody is given up.
        for (to, bytes) in sent {
            let there = subject.node.table().at(to).map(|contact| contact.id);
            if let (true, Some(ping), Some(id)) =
                (searches(&subject).is_empty(), ping_in(&bytes), there)
            {
                subject.receive(to, &pong(ping, id));
            }
        }
        assert!(subject.now.since(start) < Duration::from_mins(3), "{begun:?}");
    }
    assert!(begun[1].since(begun[0]) >= SEARCH_AGAIN, "{begun:?}");
}

#[test]
fn who_knows_nobody_searches_nothing() {
    let mut subject = settled(30);
    subject.node.table.mark_unsearched(&id(0xff).as_key());
    subject.pass(Duration::from_hours(1));
    assert_eq!(subject.node.table().len(), 0, "nobody answered");
    let wakes = (0..100).filter(|_| {
        let at = subject.node.poll_timeout();
        subject.now = at;
        subject.node.handle_timeout(at);
        subject.settle();
        !searches(&subject).is_empty()
    });
    assert_eq!(wakes.count(), 0);
}
