//! What a store that is built anew from its database still knows.

use std::time::Duration;

use super::*;
use crate::kademlia::wire::{Claim, Publisher};
use crate::kademlia::{StoreRequest, Value};

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
