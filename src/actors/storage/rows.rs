//! How what is held stands in the database: one row a value, under the name of its record.
//!
//! Always holds: decoding is total, and gives only what was encoded: the name holds a digest of
//! the value. Never: changes what a version means: another layout gets another version.

use std::net::SocketAddrV4;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::kademlia::{Key, Record, Source, Timestamp, Value};

const VERSION: u8 = 1;

#[derive(Serialize, Deserialize)]
struct Row<'a> {
    text: bool,
    value: &'a [u8],
    /// The address of who brought it, and whether that is a holder of its key; none for an own one.
    peer: Option<(SocketAddrV4, bool)>,
    first_party: bool,
    first_seen_micros: u64,
    refreshed_micros: u64,
    expires_micros: Option<u64>,
}

/// The row of a record; none if it can't be put into bytes, which no record is known to cause.
pub(super) fn encode(record: &Record) -> Option<Bytes> {
    let (text, value) = match &record.value {
        Value::Text(text) => (true, text.as_bytes()),
        Value::Foreign(packed) => (false, packed.as_ref()),
    };
    let row = Row {
        text,
        value,
        peer: match record.source {
            Source::Own => None,
            Source::Peer { address, holder } => Some((address, holder)),
        },
        first_party: record.first_party,
        first_seen_micros: record.first_seen.as_micros(),
        refreshed_micros: record.refreshed.as_micros(),
        expires_micros: record.expires.map(Timestamp::as_micros),
    };
    postcard::to_extend(&row, vec![VERSION]).ok().map(Bytes::from)
}

/// The record of a row; none if it is not one of this version, or was changed.
pub(super) fn decode(name: &[u8], row: &[u8]) -> Option<Record> {
    let (version, row) = row.split_first()?;
    let row: Row<'_> = (*version == VERSION).then(|| postcard::from_bytes(row).ok())??;
    let value = if row.text {
        Value::Text(String::from_utf8(row.value.to_vec()).ok()?)
    } else {
        Value::Foreign(Bytes::copy_from_slice(row.value))
    };
    let record = Record {
        key: Key::from_slice(name.get(..20)?).ok()?,
        value,
        source: match row.peer {
            None => Source::Own,
            Some((address, holder)) => Source::Peer { address, holder },
        },
        first_party: row.first_party,
        first_seen: Timestamp::from_micros(row.first_seen_micros),
        refreshed: Timestamp::from_micros(row.refreshed_micros),
        expires: row.expires_micros.map(Timestamp::from_micros),
    };
    (record.name().as_bytes() == name).then_some(record)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn what_is_encoded_is_decoded_and_the_rest_is_refused(
            key in any::<[u8; 20]>(), text in any::<Option<String>>(), bytes in any::<Vec<u8>>(),
            peer in any::<Option<([u8; 4], u16, bool)>>(), first_party in any::<bool>(),
            times in any::<(u64, u64, Option<u64>)>(), at in any::<prop::sample::Index>(),
        ) {
            let record = Record {
                key: Key::new(key),
                value: text.map_or_else(|| Value::Foreign(bytes.into()), Value::Text),
                source: peer.map_or(Source::Own, |(ip, port, holder)| Source::Peer {
                    address: SocketAddrV4::new(ip.into(), port),
                    holder,
                }),
                first_party,
                first_seen: Timestamp::from_micros(times.0),
                refreshed: Timestamp::from_micros(times.1),
                expires: times.2.map(Timestamp::from_micros),
            };
            let (name, row) = (record.name(), encode(&record).unwrap());
            let decoded = decode(name.as_bytes(), &row);
            prop_assert_eq!(decoded.as_ref(), Some(&record));
            let at = at.index(row.len());
            prop_assert!(decode(name.as_bytes(), &row[..at]).is_none(), "cut off");
            let mut other = *name.as_bytes();
            other[at % 20 + 20] ^= 1;
            prop_assert!(decode(&other, &row).is_none(), "under another name");
        }

        #[test]
        fn any_bytes_are_a_row_or_none(name in any::<Vec<u8>>(), row in any::<Vec<u8>>()) {
            prop_assert!(decode(&name, &row).is_none());
        }
    }
}
