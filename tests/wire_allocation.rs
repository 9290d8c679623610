//! Reading a datagram takes no memory of its own, whatever the datagram claims.
//!
//! Counted by a global allocator, of this thread alone; hence a file of its own.

use kad_actor::kademlia::wire::{
    Datagram, FindValueAnswer, HEADER_BYTES, MAX_CLAIMS, MAX_DATAGRAM, MAX_VALUES, Request,
    StoredValue, ValueRef, decode, decode_find_value, decode_kept, decode_nodes, decode_page,
    decode_pong, decode_store_answer, decode_stun, decode_trailer, decode_withdrawn,
};
use kad_actor::kademlia::{Dialect, Value};

/// Bytes allocated in all while `work` runs, freed ones included.
fn allocated(work: impl FnOnce()) -> u64 {
    allocation_counter::measure(work).bytes_total
}

/// Reads the datagram, its body as every kind of answer, and hands over each stored value.
fn read(datagram: &[u8], mut found: impl FnMut(StoredValue<'_>)) {
    match decode(datagram) {
        Ok(Datagram::Request { request: Request::Store { value, .. }, .. }) => found(value),
        Ok(Datagram::Response { body, .. }) => {
            let _ = (decode_pong(body), decode_stun(body), decode_store_answer(body));
            let _ = decode_nodes(body);
            let _ = (decode_trailer(body), decode_withdrawn(body), decode_kept(body));
            if let Ok(page) = decode_page(body) {
                assert!(page.claims.each().count() <= MAX_CLAIMS);
            }
            if let Ok(FindValueAnswer::Value(value)) = decode_find_value(body) {
                found(value);
            }
        }
        Ok(Datagram::Request { request: Request::Keep { claims, .. }, .. }) => {
            assert!(claims.each().count() <= MAX_CLAIMS);
        }
        Ok(_) | Err(_) => {}
    }
}

fn walk(value: StoredValue<'_>, mut each: impl FnMut(ValueRef<'_>)) {
    for dialect in [Dialect::List, Dialect::Scalar] {
        value.answered(dialect).for_each(&mut each);
    }
}

/// Checks one datagram, and says how many values it holds.
fn check(datagram: &[u8]) -> usize {
    let len = datagram.len() as u64;
    let mut values = 0;
    let reading = allocated(|| read(datagram, |value| walk(value, |_| values += 1)));
    assert_eq!(reading, 0, "{}", hex::encode(&datagram[..datagram.len().min(64)]));

    // A copy of each value, in both dialects, so each twice.
    let copying = allocated(|| {
        read(datagram, |value| {
            walk(value, |value| drop(value.to_value()));
        });
    });
    assert!(copying <= 4 * len, "{copying} bytes for {len}");

    // All copies in one vector: its slots come on top, which their number bounds.
    let slots = (4 * MAX_VALUES * size_of::<Value>()) as u64;
    let collecting = allocated(|| {
        read(datagram, |value| {
            drop(value.answered(Dialect::List).to_vec());
        });
    });
    assert!(collecting <= len + slots, "{collecting} bytes for {len}");
    values
}

fn framed(direction: u8, body: &[u8]) -> Vec<u8> {
    let mut datagram = vec![direction; HEADER_BYTES];
    datagram.extend_from_slice(body);
    datagram.truncate(MAX_DATAGRAM);
    datagram
}

#[test]
fn the_counter_counts() {
    assert!(allocated(|| drop(std::hint::black_box(vec![0_u8; 1000]))) >= 1000);
}

#[test]
fn captured_datagrams_take_no_memory() {
    let mut vectors = Vec::new();
    for text in [include_str!("vectors/wire.json"), include_str!("vectors/extensions.json")] {
        let some: Vec<serde_json::Value> = serde_json::from_str(text).unwrap();
        vectors.extend(some);
    }
    let hexes = vectors
        .iter()
        .flat_map(|vector| [&vector["hex"], &vector["response"]])
        .filter_map(serde_json::Value::as_str);
    let values: usize = hexes.map(|text| check(&hex::decode(text).unwrap())).sum();
    assert!(values > 100, "{values}");
}

#[test]
fn lengths_that_lie_take_no_memory() {
    let id = b"\xc4\x14 twenty bytes of id ";
    let store = [&b"\x92\xa5store\x93"[..], id, id].concat();
    assert_eq!(check(&framed(0, &[&store[..], b"\xa1x"].concat())), 2);
    let keep = [&b"\x92\xa9kad.store\x93"[..], id, id].concat();
    let withdraw = [&b"\x92\xackad.withdraw\x94"[..], id, id, b"\xc0"].concat();
    let page = b"\x83\xa5total\x02\xa6values";
    let prefixes =
        [&b""[..], b"\x81\xa5value", &store[..], b"\x92\xa4ping", &keep, &withdraw, page];
    let claims: [&[u8]; 8] = [
        b"\xdd\xff\xff\xff\xff",
        b"\xdf\xff\xff\xff\xff",
        b"\xdb\xff\xff\xff\xff",
        b"\xc6\xff\xff\xff\xff",
        b"\xc9\xff\xff\xff\xff\x01",
        b"\xdc\xff\xff",
        b"\xde\xff\xff",
        b"\x9f",
    ];
    for prefix in prefixes {
        for claim in claims {
            for (byte, count) in [(0xc0, 40), (0x91, 40_000), (0xdd, 40_000), (0xa0, 60_000)] {
                for direction in [0, 1] {
                    check(&framed(direction, &[prefix, claim, &vec![byte; count]].concat()));
                }
            }
        }
    }
}

#[test]
fn the_largest_lists_take_no_more_than_their_copies() {
    for element in [&b"\x00"[..], b"\xa0", b"\xa1x", b"\x90", b"\xc4\x01x", b"\x81\xa1a\x01"] {
        // As many as fit, then few: there the slots weigh most.
        let many = 60_000 / element.len();
        let header = [&b"\x81\xa5value\xdc"[..], &(many as u16).to_be_bytes()].concat();
        let values = check(&framed(1, &[&header[..], &element.repeat(many)].concat()));
        assert!(values >= MAX_VALUES, "{values}");
        let few = [&b"\x81\xa5value\x9f"[..], &element.repeat(15)].concat();
        assert!(check(&framed(1, &few)) >= 15);
    }
}
