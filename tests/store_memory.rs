//! What a held value costs in memory, counted at the allocator; hence a file of its own.

use std::net::{Ipv4Addr, SocketAddrV4};
use std::time::Duration;

use kad_actor::kademlia::wire::{Claim, Publisher};
use kad_actor::kademlia::{
    DEFAULT_QUOTA_BYTES, Key, MultiStore, StoreReply, StoreRequest, Timestamp, Value,
};

const VALUES: u64 = 100_000;

#[test]
fn a_url_of_sixty_bytes_costs_little_more_than_twice_its_own() {
    let now = Timestamp::from_micros(1_700_000_000_000_000);
    let mut store = MultiStore::new(DEFAULT_QUOTA_BYTES, false);
    let counted = allocation_counter::measure(|| {
        for n in 0..VALUES {
            let from = SocketAddrV4::new(Ipv4Addr::from(0x0a00_0000 + (n % 1_000) as u32), 8468);
            let value = Value::Text(format!("http://{}:8468/files/{n:0>32}", Ipv4Addr::LOCALHOST));
            assert_eq!(value.packed_len(), 62);
            let (publisher, zero) = (Publisher::Sender, Duration::ZERO);
            let claims = vec![Some(Claim { value, publisher, age: zero, born: zero })];
            let key = Key::of_name(&n.to_string());
            let request =
                StoreRequest::Keep { key, claims, from, holder: false, draw: 0, proven: true };
            assert_eq!(
                store.handle(now, request),
                StoreReply::Kept { each: vec![true], unproven: false }
            );
        }
    });
    let each = counted.bytes_current / VALUES.cast_signed();
    println!("a held value of a 20-byte key and a 60-byte URL takes {each} bytes");
    assert_eq!(store.value_count() as u64, VALUES);
    assert!(each <= 240, "{each}");
}
