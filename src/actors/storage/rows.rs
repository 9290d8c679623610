//! How what is held stands in the database: one row a value, and one a grave, each under the name of
//! its record.
//!
//! Always holds: decoding is total, and gives only what was encoded: the name holds a digest of
//! the value. Never: changes what a version means: another layout gets another version.

use std::net::{Ipv4Addr, SocketAddrV4};
use std::time::Duration;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::kademlia::{GraveRecord, Key, Origin, PLAIN_LIFETIME, Record, Timestamp, Value, Word};

/// The row of before, and whether the value is anybody's.
const VERSION: u8 = 3;
/// Rows of before that was written down.
const VERSION_NOBODYS: u8 = 2;
/// Rows of before values had publishers: all that peers brought were plain stores.
const VERSION_PLAIN: u8 = 1;
/// Of graves' rows.
const GRAVE_VERSION: u8 = 1;
/// Of a plain store's lifetime, which such a row's expiry was counted from.
const LIFETIME_THEN: Duration = PLAIN_LIFETIME;

#[derive(Serialize, Deserialize)]
struct Row<'a> {
    text: bool,
    value: &'a [u8],
    /// [`Origin`], as [`ORIGINS`] counts them.
    origin: u8,
    source: SocketAddrV4,
    first_party: bool,
    born_micros: u64,
    refreshed_micros: u64,
    /// Publisher, when it last spoke, and whether it did so itself.
    words: Vec<(SocketAddrV4, u64, bool)>,
}

#[derive(Serialize, Deserialize)]
struct PlainRow<'a> {
    text: bool,
    value: &'a [u8],
    /// The address of who brought it, and whether that is a holder of its key; none for an own one.
    peer: Option<(SocketAddrV4, bool)>,
    first_party: bool,
    first_seen_micros: u64,
    refreshed_micros: u64,
    expires_micros: Option<u64>,
}

const ORIGINS: [Origin; 4] = [Origin::Own, Origin::FirstHand, Origin::HandedOver, Origin::Plain];

/// The row of a record; none if it can't be put into bytes, which no record is known to cause.
pub(super) fn encode(record: &Record) -> Option<Bytes> {
    let (text, value) = match &record.value {
        Value::Text(text) => (true, text.as_bytes()),
        Value::Foreign(packed) => (false, packed.as_ref()),
    };
    let origin = ORIGINS.iter().position(|origin| *origin == record.origin)?;
    let words = record.words.iter();
    let row = Row {
        text,
        value,
        origin: u8::try_from(origin).ok()?,
        source: record.source,
        first_party: record.first_party,
        born_micros: record.born.as_micros(),
        refreshed_micros: record.refreshed.as_micros(),
        words: words.map(|it| (it.publisher, it.at.as_micros(), it.first_hand)).collect(),
    };
    postcard::to_extend(&(row, record.anybodys), vec![VERSION]).ok().map(Bytes::from)
}

/// Publishers, and when each took the value back.
type GraveRow = Vec<(SocketAddrV4, u64)>;

/// The row of a grave; none if it can't be put into bytes, which no grave is known to cause.
pub(super) fn encode_grave(grave: &GraveRecord) -> Option<Bytes> {
    let words = grave.taken_back.iter();
    let row: GraveRow = words.map(|(publisher, at)| (*publisher, at.as_micros())).collect();
    postcard::to_extend(&row, vec![GRAVE_VERSION]).ok().map(Bytes::from)
}

/// The grave of a row; none if the name is no grave's, or it is of no version known here.
pub(super) fn decode_grave(name: &[u8], row: &[u8]) -> Option<GraveRecord> {
    let (GRAVE_VERSION, row) = row.split_first().map(|(version, row)| (*version, row))? else {
        return None;
    };
    let (key, digest) = (Key::from_slice(name.get(..20)?).ok()?, name.get(20..40)?);
    let row: GraveRow = postcard::from_bytes(row).ok()?;
    let taken_back = row.into_iter().map(|(who, at)| (who, Timestamp::from_micros(at))).collect();
    let grave = GraveRecord { key, digest: digest.try_into().ok()?, taken_back };
    (grave.name().as_bytes() == name).then_some(grave)
}

/// The record of a row; none if it is of no version known here, or was changed.
pub(super) fn decode(name: &[u8], row: &[u8]) -> Option<Record> {
    let (version, row) = row.split_first()?;
    let key = Key::from_slice(name.get(..20)?).ok()?;
    let record = match *version {
        VERSION => {
            let (row, anybodys) = postcard::from_bytes(row).ok()?;
            read(key, row, anybodys)?
        }
        VERSION_NOBODYS => read(key, postcard::from_bytes(row).ok()?, false)?,
        VERSION_PLAIN => read_plain(key, row)?,
        _ => return None,
    };
    (record.name().as_bytes() == name).then_some(record)
}

fn read(key: Key, row: Row<'_>, anybodys: bool) -> Option<Record> {
    let word = |(publisher, at, first_hand)| {
        let at = Timestamp::from_micros(at);
        Word { publisher, at, first_hand }
    };
    Some(Record {
        key,
        value: value(row.text, row.value)?,
        origin: *ORIGINS.get(usize::from(row.origin))?,
        source: row.source,
        first_party: row.first_party,
        born: Timestamp::from_micros(row.born_micros),
        refreshed: Timestamp::from_micros(row.refreshed_micros),
        words: row.words.into_iter().map(word).collect(),
        anybodys,
    })
}

fn read_plain(key: Key, row: &[u8]) -> Option<Record> {
    let row: PlainRow<'_> = postcard::from_bytes(row).ok()?;
    let (born, refreshed) = (row.first_seen_micros, row.refreshed_micros);
    let (born, refreshed) = (Timestamp::from_micros(born), Timestamp::from_micros(refreshed));
    let (origin, source, at) = match (row.peer, row.expires_micros) {
        (None, _) => (Origin::Own, SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, 0), refreshed),
        (Some((source, _)), Some(expires)) => {
            (Origin::Plain, source, Timestamp::from_micros(expires) - LIFETIME_THEN)
        }
        (Some(_), None) => return None,
    };
    let words = vec![Word { publisher: source, at, first_hand: origin == Origin::Own }];
    let (value, first_party) = (value(row.text, row.value)?, row.first_party);
    let anybodys = false;
    Some(Record { key, value, origin, source, first_party, born, refreshed, words, anybodys })
}

fn value(text: bool, bytes: &[u8]) -> Option<Value> {
    Some(if text {
        Value::Text(String::from_utf8(bytes.to_vec()).ok()?)
    } else {
        Value::Foreign(bytes.into())
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    type Said = Vec<([u8; 4], u16, u64, bool)>;

    proptest! {
        #[test]
        fn what_is_encoded_is_decoded_and_the_rest_is_refused(
            key in any::<[u8; 20]>(), text in any::<Option<String>>(), bytes in any::<Vec<u8>>(),
            origin in 0_usize..4, source in any::<([u8; 4], u16)>(), first_party in any::<bool>(),
            times in any::<(u64, u64)>(), words in any::<Said>(), anybodys in any::<bool>(),
            at in any::<prop::sample::Index>(),
        ) {
            let record = Record {
                key: Key::new(key),
                value: text.map_or_else(|| Value::Foreign(bytes.into()), Value::Text),
                origin: ORIGINS[origin],
                source: SocketAddrV4::new(source.0.into(), source.1),
                first_party,
                born: Timestamp::from_micros(times.0),
                refreshed: Timestamp::from_micros(times.1),
                words: words.into_iter().map(|(ip, port, at, first_hand)| Word {
                    publisher: SocketAddrV4::new(ip.into(), port),
                    at: Timestamp::from_micros(at),
                    first_hand,
                }).collect(),
                anybodys,
            };
            let (name, row) = (record.name(), encode(&record).unwrap());
            let decoded = decode(name.as_bytes(), &row);
            prop_assert_eq!(decoded.as_ref(), Some(&record));
            let at = at.index(row.len());
            prop_assert!(decode(name.as_bytes(), &row[..at]).is_none(), "cut off");
            let mut other = name.as_bytes().to_vec();
            other[at % 20 + 20] ^= 1;
            prop_assert!(decode(&other, &row).is_none(), "under another name");
        }

        #[test]
        fn any_bytes_are_a_row_or_none(name in any::<Vec<u8>>(), row in any::<Vec<u8>>()) {
            prop_assert!(decode(&name, &row).is_none());
            prop_assert!(decode_grave(&name, &row).is_none());
        }
    }

    #[test]
    fn a_full_graveyard_takes_two_megabytes_at_most() {
        let at = Timestamp::from_micros(1_800_000_000_000_000);
        let who = SocketAddrV4::new([255; 4].into(), u16::MAX);
        let grave = |publishers| GraveRecord {
            key: Key::of_name("k"),
            digest: [9; 20],
            taken_back: vec![(who, at); publishers],
        };
        let bytes = |publishers| {
            let grave = grave(publishers);
            let (name, row) = (grave.name(), encode_grave(&grave).unwrap());
            assert_eq!(decode_grave(name.as_bytes(), &row), Some(grave));
            assert!(decode(name.as_bytes(), &row).is_none(), "no value's");
            name.as_bytes().len() + row.len()
        };
        println!("a grave takes {} bytes, one of four publishers {}", bytes(1), bytes(4));
        assert!(bytes(1) <= 60 && bytes(4) * 16_384 <= 2 << 20);
    }

    #[test]
    fn rows_of_before_values_could_be_anybodys_are_still_read() {
        let who = SocketAddrV4::new([10, 0, 0, 9].into(), 8468);
        let (value, key) = (b"v", Key::of_name("k"));
        let words = vec![(who, 5, true)];
        let (born_micros, refreshed_micros) = (3, 4);
        let row = Row {
            text: true,
            value,
            origin: 1,
            source: who,
            first_party: true,
            born_micros,
            refreshed_micros,
            words,
        };
        let row = postcard::to_extend(&row, vec![VERSION_NOBODYS]).unwrap();
        let name = read(key, postcard::from_bytes(&row[1..]).unwrap(), false).unwrap().name();
        let record = decode(name.as_bytes(), &row).expect("an old row");
        assert_eq!((record.origin, record.anybodys), (Origin::FirstHand, false));
        assert_eq!((record.value, record.words.len()), (Value::Text("v".to_owned()), 1));
    }

    #[test]
    fn rows_of_before_values_had_publishers_are_still_read() {
        let (day, week) = (86_400_000_000_u64, 7 * 86_400_000_000);
        let value = Value::Text("http://10.0.0.9:8468/f".to_owned());
        let (key, source) = (Key::of_name("k"), SocketAddrV4::new([10, 0, 0, 9].into(), 8468));
        for (peer, expires_micros) in [(None, None), (Some((source, true)), Some(day + week))] {
            let row = PlainRow {
                text: true,
                value: b"http://10.0.0.9:8468/f",
                peer,
                first_party: true,
                first_seen_micros: day / 2,
                refreshed_micros: day * 2,
                expires_micros,
            };
            let row = postcard::to_extend(&row, vec![VERSION_PLAIN]).unwrap();
            let name = {
                let record = read_plain(key, &row[1..]).unwrap();
                record.name()
            };
            let record = decode(name.as_bytes(), &row).expect("an old row");
            assert_eq!((&record.value, record.first_party), (&value, true));
            assert_eq!(record.born.as_micros(), day / 2);
            let word = record.words[0];
            if peer.is_some() {
                assert_eq!((record.origin, record.source), (Origin::Plain, source));
                assert_eq!(word.at.as_micros(), day, "it expires when it would have");
            } else {
                assert_eq!((record.origin, word.first_hand), (Origin::Own, true));
            }
        }
    }
}
