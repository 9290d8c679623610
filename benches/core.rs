//! What the core spends on one datagram. Run by `cargo bench --bench core`.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a bench fails by panicking")]

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
