//! What was taken back: who brings it back, what is known of it, and that a restart forgets none of it.

use super::claims::{address, claim, hours, only, provider, publishes, tells, withdraws};
use super::*;
use crate::kademlia::wire::{Claim, LONGEST_CLAIMED, Publisher};

/// What is said from there without proof of who speaks: whether it is held, and whether proof would
/// help.
fn says_unproven(store: &mut MultiStore, now: Timestamp, from: u8, claim: Claim) -> (bool, bool) {
    let (key, claims, from) = (Key::of_name("k"), vec![Some(claim)], address(from));
    let request = StoreRequest::Keep { key, claims, from, holder: false, draw: 0, proven: false };
    match store.handle(now, request) {
        StoreReply::Kept { each, unproven } => (each[0], unproven),
        other => panic!("{other:?}"),
    }
}

#[test]
fn no_word_without_proof_brings_back_what_was_taken_back_from_there() {
    let mut store = store();
    let word = |publisher| claim("v", publisher, Duration::ZERO);
    let own = || word(Publisher::Sender);
    assert_eq!(says_unproven(&mut store, START, 1, own()), (true, false), "nothing to prove yet");
    withdraws(&mut store, START, 1, "v");
    for hour in 0..36 {
        let now = START + hours(hour);
        assert_eq!(says_unproven(&mut store, now, 1, own()), (false, true), "after {hour} h");
        let by_name = word(Publisher::Other(address(1)));
        assert_eq!(says_unproven(&mut store, now, 1, by_name), (false, true));
        assert!(!put(&mut store, now, "k", "v", peer(1)), "nor by a plain store");
        assert!(!tells(&mut store, now, 2, 1, Duration::ZERO), "and the grave is there");
    }
    let now = START + hours(35);
    assert_eq!(says_unproven(&mut store, now, 3, own()), (true, false), "another's own word");
    assert!(publishes(&mut store, now, 1, "v"), "with proof");
    assert_eq!(says_unproven(&mut store, now, 1, own()), (true, false), "and then without");
}

#[test]
fn of_what_is_too_long_to_be_proven_a_plain_store_is_the_publishers_word() {
    let mut store = store();
    let long = "v".repeat(LONGEST_CLAIMED);
    assert!(put(&mut store, START, "k", &long, peer(1)));
    withdraws(&mut store, START, 1, &long);
    assert_eq!(only(&mut store, START), None);
    assert!(put(&mut store, START, "k", &long, peer(1)));
}

#[test]
fn it_is_known_of_what_others_tell_whether_it_was_taken_back() {
    let mut store = store();
    let url = "http://10.0.0.1:8468/files/f";
    assert!(publishes(&mut store, START, 1, url) && publishes(&mut store, START, 2, "v"));
    withdraws(&mut store, START, 1, url);
    withdraws(&mut store, START, 2, "v");
    put(&mut store, START, "k", "own", Source::Own);
    let (key, value) = (Key::of_name("k"), text("own"));
    store.handle(START, StoreRequest::Forget { key, value });
    let told = |value: &str, publisher| claim(value, publisher, hours(1));
    let (one, two) = (Publisher::Other(address(1)), Publisher::Other(address(2)));
    let claims = vec![
        told("own", one),
        told("own", Publisher::Unknown),
        told(url, one),
        told(url, Publisher::Unknown),
        told("v", two),
        // Another published it, too, or may have; and of this nobody has said anything.
        told("v", one),
        told("v", Publisher::Unknown),
        told("other", one),
    ];
    let reply = store.handle(START, StoreRequest::TakenBack { key, claims });
    let known = [true, true, true, true, true, false, false, false];
    assert_eq!(reply, StoreReply::TakenBack(known.to_vec()));
    put(&mut store, START, "k", "own", Source::Own);
    let claims = vec![told("own", one)];
    let reply = store.handle(START, StoreRequest::TakenBack { key, claims });
    assert_eq!(reply, StoreReply::TakenBack(vec![false]), "published anew");
}

/// What an actor writes down.
type Rows = BTreeMap<RecordName, (Option<Record>, Option<GraveRecord>)>;

fn write_down(store: &mut MultiStore, rows: &mut Rows) {
    for name in store.changed(usize::MAX) {
        let row = (store.record(&name), store.grave(&name));
        if row == (None, None) {
            rows.remove(&name);
        } else {
            rows.insert(name, row);
        }
    }
}

fn loaded(rows: &Rows, at: Timestamp) -> MultiStore {
    let mut store = store();
    store.keep_journal();
    for (record, grave) in rows.values().cloned() {
        if let Some(record) = record {
            store.load(record, at, at);
        }
        if let Some(grave) = grave {
            store.load_grave(grave, at);
        }
    }
    store
}

#[test]
fn a_holder_that_restarts_knows_what_was_taken_back_and_what_is_anybodys() {
    let (mut store, mut rows) = (store(), Rows::new());
    store.keep_journal();
    assert!(publishes(&mut store, START, 1, "v"));
    put(&mut store, START, "other", "python", peer(2));
    let word = claim("python", Publisher::Sender, Duration::ZERO);
    let other = Key::of_name("other");
    assert!(super::claims::says_of(&mut store, START, "other", address(9), word, 0));
    withdraws(&mut store, START, 1, "v");
    write_down(&mut store, &mut rows);
    assert_eq!(rows.len(), 2);
    let now = START + hours(10);
    let mut again = loaded(&rows, now);
    assert!(!again.has_changes() && !tells(&mut again, now, 2, 1, hours(10)), "as before");
    assert!(!tells(&mut again, START + hours(35), 2, 1, hours(35)));
    let digests = vec![text("python").digest()];
    again.handle(now, StoreRequest::Withdraw { key: other, digests, publisher: address(9) });
    assert_eq!(held(&mut again, now, "other").len(), 1, "a Python node's it still is");
    // What is published anew is so after a restart, too.
    assert!(publishes(&mut store, now, 1, "v"));
    write_down(&mut store, &mut rows);
    assert!(tells(&mut loaded(&rows, now), now, 2, 1, Duration::ZERO));
    // And what is of no use any more is written down no longer.
    withdraws(&mut store, now, 1, "v");
    write_down(&mut store, &mut rows);
    let later = now + hours(36);
    let mut late = loaded(&rows, later);
    write_down(&mut late, &mut rows);
    assert!(rows.keys().all(|name| !name.is_of_grave()), "{rows:?}");
}

#[test]
fn what_the_own_user_took_back_is_known_after_a_restart() {
    let (mut store, mut rows) = (store(), Rows::new());
    store.keep_journal();
    put(&mut store, START, "k", "v", Source::Own);
    let (key, value) = (Key::of_name("k"), text("v"));
    store.handle(START, StoreRequest::Forget { key, value });
    write_down(&mut store, &mut rows);
    let mut again = loaded(&rows, START);
    assert!(!tells(&mut again, START, 2, 1, Duration::ZERO));
    // One that could not be taken back durably is an own one still.
    put(&mut store, START, "k", "v", Source::Own);
    let changed = store.changed(9);
    let record = changed.iter().find_map(|name| store.record(name)).unwrap();
    again.load(record, START, START);
    let claims = vec![claim("v", Publisher::Other(address(1)), Duration::ZERO)];
    let reply = again.handle(START, StoreRequest::TakenBack { key, claims });
    assert_eq!(reply, StoreReply::TakenBack(vec![false]));
}

#[test]
fn graves_are_forgotten_on_the_disk_as_they_are_in_memory() {
    let (mut store, mut rows) = (store(), Rows::new());
    store.keep_journal();
    let dig = |store: &mut MultiStore, now: Timestamp, n: u32| {
        let (key, digests) = (Key::of_name("k"), vec![text(&n.to_string()).digest()]);
        store.handle(now, StoreRequest::Withdraw { key, digests, publisher: provider(n).0 });
    };
    for n in 0..20_000 {
        dig(&mut store, START, n);
        write_down(&mut store, &mut rows);
    }
    assert_eq!((rows.len(), store.graves.len()), (16_384, 16_384));
    let again = loaded(&rows, START);
    assert_eq!((again.graves.len(), again.has_changes()), (16_384, false));
    dig(&mut store, START + hours(37), 20_000);
    write_down(&mut store, &mut rows);
    assert_eq!((rows.len(), store.graves.len()), (1, 1), "the others are of no use any more");
}

#[test]
fn one_machine_has_nobody_elses_grave_forgotten_by_speaking_from_many_ports() {
    let (mut store, key) = (store(), Key::of_name("k"));
    let url = "http://10.0.0.1:8468/files/f";
    assert!(publishes(&mut store, START, 1, url));
    withdraws(&mut store, START, 1, url);
    for port in 1..=20 {
        let publisher = SocketAddrV4::new([10, 0, 0, 9].into(), port);
        let request = StoreRequest::Withdraw { key, digests: vec![text(url).digest()], publisher };
        store.handle(START, request);
    }
    let told = claim(url, Publisher::Other(address(1)), hours(1));
    assert!(!super::claims::says(&mut store, START, 9, told));
}

#[test]
fn who_takes_back_more_than_is_remembered_is_told() {
    let (mut store, mut remembered) = (store(), 0);
    for n in 0..3_000_u32 {
        let (digests, publisher) = (vec![text(&n.to_string()).digest()], address(1));
        let request = StoreRequest::Withdraw { key: Key::of_name("k"), digests, publisher };
        let reply = store.handle(START, request);
        remembered += usize::from(reply == StoreReply::Withdrawn { remembered: true });
    }
    assert_eq!(remembered, 2_048);
}
