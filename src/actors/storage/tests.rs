//! What a store that is built anew from its database still knows.

use std::time::Duration;

use super::*;
use crate::kademlia::wire::{Claim, Publisher};
use crate::kademlia::{Source, StoreRequest, Value};

#[test]
fn what_was_taken_back_is_known_after_a_restart() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("state.redb");
    let (key, value) = (Key::of_name("k"), Value::Text("v".to_owned()));
    let told = |actor: &mut StorageActor| {
        let publisher = Publisher::Other("10.0.0.1:8468".parse().unwrap());
        let (age, born) = (Duration::ZERO, Duration::ZERO);
        let claims = vec![Some(Claim { value: value.clone(), publisher, age, born })];
        let from = "10.0.0.2:8468".parse().unwrap();
        let (holder, draw, proven) = (false, 0, false);
        let request = StoreRequest::Keep { key, claims, from, holder, draw, proven };
        actor.store.handle(actor.clock.now(), request)
    };
    let refused = StoreReply::Kept { each: vec![false], unproven: false };
    for is_new in [true, false] {
        let database = Database::open(&path).unwrap();
        let mut actor = StorageActor::new(database.clone(), 1 << 20, false);
        if is_new {
            let digests = vec![value.digest()];
            let publisher = "10.0.0.1:8468".parse().unwrap();
            let request = StoreRequest::Withdraw { key, digests, publisher };
            actor.store.handle(actor.clock.now(), request);
            actor.write_behind();
        }
        assert_eq!(told(&mut actor), refused);
        database.close();
    }
}

#[actix::test]
async fn nothing_is_taken_from_others_that_could_not_be_written() {
    let home = tempfile::tempdir().unwrap();
    let database = Database::open(&home.path().join("state.redb")).unwrap();
    let actor = StorageActor::new(database.clone(), 1 << 20, false).start();
    let from = "10.0.0.2:8468".parse().unwrap();
    let requests = |value: &str| {
        let (key, value) = (Key::of_name(value), Value::Text(value.to_owned()));
        let (age, born, publisher) = (Duration::ZERO, Duration::ZERO, Publisher::Sender);
        let claims = vec![Some(Claim { value: value.clone(), publisher, age, born })];
        let source = Source::Peer { address: from, holder: false };
        let (digests, values) = (vec![value.digest()], vec![value]);
        StoreBatch(vec![
            (1, StoreRequest::Keep { key, claims, from, holder: false, draw: 0, proven: false }),
            (2, StoreRequest::Put { key, values, source, replaces: false }),
            (3, StoreRequest::Withdraw { key, digests, publisher: from }),
        ])
    };
    let replies = |accepted: bool| {
        let kept = StoreReply::Kept { each: vec![accepted], unproven: false };
        let withdrawn = StoreReply::Withdrawn { remembered: accepted };
        vec![(1, kept), (2, StoreReply::Put { accepted }), (3, withdrawn)]
    };
    assert_eq!(actor.send(requests("first")).await.unwrap(), replies(true));
    // What is closed has no more room than what is too far behind.
    database.close();
    assert!(!database.has_room());
    assert_eq!(actor.send(requests("second")).await.unwrap(), replies(false));
}
