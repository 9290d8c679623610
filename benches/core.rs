//! What the core spends on one datagram, and on the bytes of a file. Run by `cargo bench --bench core`.
#![expect(clippy::unwrap_used, reason = "a bench fails by panicking")]

fn main() {
    divan::main();
}

mod wire {
    //! The codec. Nothing here allocates but the buffer that is written to, which is kept.

    use std::net::{Ipv4Addr, SocketAddrV4};

    use divan::{Bencher, black_box};
    use kad_actor::kademlia::wire::{
        FindValueAnswer, HEADER_BYTES, MAX_DATAGRAM, MAX_NODES, NodeEntry, Request, RpcId,
        StoredValue, decode, decode_find_value, decode_nodes, encode_nodes, encode_request,
        encode_values,
    };
    use kad_actor::kademlia::{Dialect, Key, NodeId, Value};

    const ID: RpcId = RpcId::new([7; 20]);
    const SENDER: NodeId = NodeId::new([1; 20]);
    const KEY: Key = Key::new([2; 20]);

    fn url(of: usize) -> Value {
        Value::Text(format!("http://10.0.0.{of}:8468/files/song.flac#blake3={of:064x}"))
    }

    fn nodes() -> Vec<NodeEntry> {
        (0..MAX_NODES as u8)
            .map(|seed| NodeEntry {
                id: NodeId::new([seed; 20]),
                address: SocketAddrV4::new(Ipv4Addr::new(192, 168, 1, seed), 8468),
            })
            .collect()
    }

    fn decode_request(bencher: Bencher<'_, '_>, request: Request<'_>) {
        let mut datagram = Vec::new();
        encode_request(&mut datagram, ID, &request).unwrap();
        bencher.bench_local(|| decode(black_box(&datagram)).unwrap());
    }

    #[divan::bench]
    fn decode_ping(bencher: Bencher<'_, '_>) {
        decode_request(bencher, Request::Ping { sender: SENDER });
    }

    #[divan::bench]
    fn decode_find_node(bencher: Bencher<'_, '_>) {
        let (sender, target) = (SENDER, KEY);
        decode_request(bencher, Request::FindNode { sender, target });
    }

    #[divan::bench]
    fn decode_store(bencher: Bencher<'_, '_>) {
        let value = url(1);
        let request = Request::Store {
            sender: SENDER,
            key: KEY,
            value: StoredValue::one(&value, Dialect::List),
        };
        decode_request(bencher, request);
    }

    #[divan::bench]
    fn decode_find_node_answer_of_20(bencher: Bencher<'_, '_>) {
        let mut datagram = Vec::new();
        encode_nodes(&mut datagram, ID, &nodes());
        let body = &datagram[HEADER_BYTES..];
        bencher.bench_local(|| decode_nodes(black_box(body)).unwrap());
    }

    #[divan::bench]
    fn decode_find_value_answer_of_8(bencher: Bencher<'_, '_>) {
        let values: Vec<_> = (1..=8).map(url).collect();
        let mut datagram = Vec::new();
        encode_values(&mut datagram, ID, values.iter(), Dialect::List);
        let body = &datagram[HEADER_BYTES..];
        bencher.bench_local(|| match decode_find_value(black_box(body)) {
            Ok(FindValueAnswer::Value(value)) => value.answered(Dialect::List).count(),
            other => panic!("{other:?}"),
        });
    }

    #[divan::bench]
    fn encode_find_node_answer_of_20(bencher: Bencher<'_, '_>) {
        let nodes = nodes();
        let mut out = Vec::with_capacity(MAX_DATAGRAM);
        bencher.bench_local(|| {
            out.clear();
            encode_nodes(&mut out, ID, black_box(&nodes));
            out.len()
        });
    }
}

/// The routing table of a node that has met a network of a thousand.
mod table {
    use std::net::{Ipv4Addr, SocketAddrV4};

    use divan::{Bencher, black_box};
    use kad_actor::kademlia::{Contact, Key, NodeId, RoutingTable, Settings, Timestamp};
    use rand::SeedableRng;
    use rand_chacha::ChaCha8Rng;

    fn table(met: u32, rng: &mut ChaCha8Rng) -> RoutingTable {
        let now = Timestamp::from_micros(1);
        let mut table = RoutingTable::new(NodeId::random(rng), &Settings::default(), now);
        for n in 0..met {
            let address = SocketAddrV4::new(Ipv4Addr::from(0x0a00_0000 + n), 8468);
            table.insert(Contact::new(NodeId::random(rng), address, now));
        }
        table
    }

    #[divan::bench(args = [20, 200, 1_000, 10_000])]
    fn closest_20_of_those_met(bencher: Bencher, met: u32) {
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        let table = table(met, &mut rng);
        let targets: Vec<Key> = (0..64).map(|_| Key::random(&mut rng)).collect();
        let mut next = targets.iter().cycle();
        bencher.bench_local(|| {
            let target = next.next().unwrap_or(&targets[0]);
            table.closest(black_box(target), 20, |_| true).len()
        });
    }
}

/// The bytes of a file: checked piece by piece, beside hashing alone.
mod content {
    use divan::counter::BytesCount;
    use divan::{Bencher, black_box};
    use kad_actor::content::ContentHasher;
    use rand::{Rng, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    /// More than the processor's caches hold.
    const BYTES: usize = 64 * 1024 * 1024;
    /// As a download hands them over.
    const PART: usize = 256 * 1024;

    fn bytes() -> Vec<u8> {
        let mut bytes = vec![0; BYTES];
        ChaCha8Rng::seed_from_u64(1).fill_bytes(&mut bytes);
        bytes
    }

    #[divan::bench]
    fn checked_piece_by_piece(bencher: Bencher) {
        let bytes = bytes();
        let mut hasher = ContentHasher::new();
        hasher.update(&bytes);
        let (_, tree) = hasher.finish_tree();
        bencher.counter(BytesCount::new(BYTES)).bench_local(|| {
            let mut checking = tree.check_from(0).unwrap();
            for part in black_box(&bytes).chunks(PART) {
                let _ = checking.push(part).unwrap();
            }
            assert_eq!(checking.at(), BYTES as u64);
        });
    }

    #[divan::bench]
    fn hashed_alone(bencher: Bencher) {
        let bytes = bytes();
        bencher.counter(BytesCount::new(BYTES)).bench_local(|| blake3::hash(black_box(&bytes)));
    }
}
