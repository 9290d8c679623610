//! How the core's types look to people: the JSON of values, contacts and buckets.
//!
//! Always holds: every value has a JSON form, whatever a foreign peer stored. Never: invents one
//! that could be mistaken for another type: bytes say that they are bytes.

use serde_json::json;

use std::time::Duration;

use crate::command::{
    AuditEntry, AuditedValue, BucketEntry, Buckets, HeldEntry, HopEntry, PeerEntry, ValueEntry,
};
use crate::kademlia::{
    Audited, Contact, HeldDetail, HeldThere, Hop, HopAnswer, KBucket, Key, Node, Place, Timestamp,
    Value,
};

use super::messages::FoundValue;
use crate::kademlia::wire::Features;

/// A string as it is, a number or bool as JSON's, bytes as `{"bytes": HEX}`, anything else as
/// `{"msgpack": HEX}`.
pub(super) fn value_json(value: &Value) -> serde_json::Value {
    let packed = match value {
        Value::Text(text) => return json!(text),
        Value::Foreign(packed) => packed,
    };
    match rmpv::decode::read_value(&mut packed.as_ref()) {
        Ok(rmpv::Value::Boolean(value)) => json!(value),
        Ok(rmpv::Value::Integer(value)) => match (value.as_i64(), value.as_u64()) {
            (Some(value), _) => json!(value),
            (_, value) => json!(value),
        },
        Ok(rmpv::Value::F32(value)) if value.is_finite() => json!(value),
        Ok(rmpv::Value::F64(value)) if value.is_finite() => json!(value),
        Ok(rmpv::Value::Binary(bytes)) => json!({ "bytes": hex::encode(bytes) }),
        _ => json!({ "msgpack": hex::encode(packed) }),
    }
}

pub(super) fn value_entry(found: &FoundValue) -> ValueEntry {
    ValueEntry {
        value: value_json(&found.value),
        age_s: found.age.map(|age| age.as_secs()),
        renewed_s: found.silent.map(|silent| silent.as_secs()),
        expires_s: found.expires_in.map(|left| left.as_secs()),
        publisher: match found.publisher {
            _ if found.own => Some("own".to_owned()),
            publisher => publisher.map(|from| from.to_string()),
        },
        own: found.own,
    }
}

pub(super) fn held_entry(detail: &HeldDetail) -> HeldEntry {
    HeldEntry {
        key: detail.place.key.to_string(),
        value: value_json(&detail.value),
        publisher: detail.publisher.map_or_else(|| "own".to_owned(), |from| from.to_string()),
        origin: detail.origin.word().to_owned(),
        age_s: detail.age.as_secs(),
        renewed_s: detail.silent.as_secs(),
        expires_s: detail.expires_in.map(|left| left.as_secs()),
    }
}

/// A place as users hand it back: `KEY.DIGEST`, both hexadecimal.
pub(super) fn place_text(place: &Place) -> String {
    format!("{}.{}", place.key, hex::encode(place.digest))
}

/// The place that such a text means.
pub(super) fn place(text: &str) -> Option<Place> {
    let (key, rest) = text.split_once('.')?;
    let mut digest = [0; 20];
    hex::decode_to_slice(rest, &mut digest).ok()?;
    Some(Place { key: Key::from_hex(key).ok()?, digest })
}

fn peer_entry(
    now: Timestamp,
    bucket: usize,
    contact: &Contact,
    features: Option<Features>,
) -> PeerEntry {
    PeerEntry {
        id: contact.id.to_string(),
        address: contact.address.to_string(),
        bucket,
        last_seen_s: now.since(contact.last_seen).as_secs_f64(),
        known_s: now.since(contact.known_since()).as_secs_f64(),
        rtt_ms: contact.round_trip.map(|rtt| millis(rtt.smoothed())),
        failures: contact.failures,
        kind: if features.unwrap_or_default() == Features::default() { "plain" } else { "kad" }
            .to_owned(),
    }
}

pub(super) fn millis(span: Duration) -> f64 {
    // Of whole microseconds, so that 84 of them are written 0.084.
    span.as_micros() as f64 / 1_000.0
}

/// One request of a lookup for this key.
pub(super) fn hop_entry(key: &Key, hop: &Hop) -> HopEntry {
    let answer = match hop.answer {
        HopAnswer::Values => "values",
        HopAnswer::Nodes => "nodes",
        HopAnswer::Silent => "silent",
        HopAnswer::Waiting => "waiting",
    };
    HopEntry {
        id: hop.id.to_string(),
        address: hop.address.to_string(),
        hop: hop.hop,
        shared_bits: key.distance(&hop.id).common_bits(),
        asked_ms: millis(hop.asked),
        answered_ms: hop.answered.map(millis),
        answer: answer.to_owned(),
        count: hop.count,
    }
}

/// What one of the nodes nearest to this key holds of these values.
pub(super) fn audit_entry(key: &Key, node: &Audited, values: &[Value]) -> AuditEntry {
    let index = |value: &Value| values.iter().position(|other| other == value);
    let held = |held: &HeldThere| {
        Some(AuditedValue {
            value: index(&held.value)?,
            age_s: held.age.map(|age| age.as_secs()),
            expires_s: held.expires_in.map(|left| left.as_secs()),
        })
    };
    AuditEntry {
        id: node.id.to_string(),
        address: node.address.map(|address| address.to_string()),
        own: node.address.is_none(),
        shared_bits: key.distance(&node.id).common_bits(),
        rtt_ms: node.round_trip.map(millis),
        holds: node.holds.as_ref().map(|holds| holds.iter().filter_map(held).collect()),
        repaired: node.repaired,
        refused: node.refused,
        features: node
            .features
            .unwrap_or_default()
            .words()
            .into_iter()
            .map(str::to_owned)
            .collect(),
    }
}

fn bucket_entry(now: Timestamp, index: usize, bucket: &KBucket, node: &Node) -> BucketEntry {
    let bits =
        bucket.prefix().as_bytes().iter().flat_map(|byte| {
            (0..8).rev().map(move |bit| if byte >> bit & 1 == 1 { '1' } else { '0' })
        });
    let contact = |c: &Contact| peer_entry(now, index, c, node.features_of(c.address));
    let mut contacts: Vec<_> = bucket.contacts().iter().collect();
    contacts.sort_by_key(|contact| contact.last_seen);
    BucketEntry {
        index,
        prefix: bits.take(bucket.depth()).collect(),
        depth: bucket.depth(),
        contacts: contacts.into_iter().map(contact).collect(),
        replacements: bucket.replacements().len(),
        last_lookup_s: now.since(bucket.last_lookup()).as_secs_f64(),
    }
}

/// The whole table.
pub(super) fn buckets(now: Timestamp, node: &Node) -> Buckets {
    let buckets = node.table().buckets().iter().enumerate();
    let entry = |(index, bucket)| bucket_entry(now, index, bucket, node);
    Buckets { buckets: buckets.map(entry).collect() }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddrV4;

    use super::*;
    use crate::kademlia::{NodeId, RoutingTable, Settings};

    #[test]
    fn foreign_values_have_a_json_form_of_their_own() {
        for (packed, expected) in [
            ("05", json!(5)),
            ("c3", json!(true)),
            ("d1ff00", json!(-256)),
            ("cfffffffffffffffff", json!(u64::MAX)),
            ("cb3ff8000000000000", json!(1.5)),
            ("c4020aff", json!({ "bytes": "0aff" })),
            ("c0", json!({ "msgpack": "c0" })),
            ("9101", json!({ "msgpack": "9101" })),
            ("cb7ff8000000000000", json!({ "msgpack": "cb7ff8000000000000" })),
        ] {
            let value = Value::Foreign(hex::decode(packed).unwrap().into());
            assert_eq!(value_json(&value), expected, "{packed}");
        }
        assert_eq!(value_json(&Value::Text("5".to_owned())), json!("5"));
    }

    #[test]
    fn places_come_back_as_they_were_given() {
        let given = Place { key: Key::of_name("k"), digest: [0xfe; 20] };
        assert_eq!(place(&place_text(&given)), Some(given));
        let digits = "ab".repeat(20);
        for bad in ["", ".", &digits, &format!("{digits}."), &format!("{digits}.{digits}ab")] {
            assert_eq!(place(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_bucket_shows_its_least_recently_seen_contact_first() {
        let now = Timestamp::from_micros(10_000_000);
        let (settings, own) = (Settings::default(), NodeId::new([0; 20]));
        let mut table = RoutingTable::new(own, &settings, now);
        for n in [3, 1, 2] {
            let seen = Timestamp::from_micros(u64::from(n) * 1_000_000);
            let address = SocketAddrV4::new([10, 0, 0, n].into(), 8468);
            table.insert(Contact::new(NodeId::new([n; 20]), address, seen));
        }
        let node = Node::new(settings, own, [0; 32], now);
        let contacts = bucket_entry(now, 0, &table.buckets()[0], &node).contacts;
        let seen: Vec<f64> = contacts.iter().map(|contact| contact.last_seen_s).collect();
        assert_eq!(seen, [9.0, 8.0, 7.0]);
    }
}
