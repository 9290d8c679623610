//! A store that is loaded is the one that was written down, and downtime kills nothing at once.

use std::collections::BTreeMap;
use std::net::SocketAddrV4;

use proptest::prelude::*;

use super::*;
use crate::kademlia::values::LIFETIME;
use crate::kademlia::{Source, StoreRequest};

const START: Timestamp = Timestamp::from_micros(1_000_000_000_000_000);
const DAY: u64 = 24 * 3_600;

fn at(n: u8) -> SocketAddrV4 {
    SocketAddrV4::new([10, 0, 0, n].into(), 8468)
}

fn peer(n: u8) -> Source {
    Source::Peer { address: SocketAddrV4::new([10, 0, 0, n].into(), 8468), holder: n == 0 }
}

/// Writes down what has changed, as an actor does.
fn write_down(store: &mut MultiStore, rows: &mut BTreeMap<RecordName, Record>) {
    while store.has_changes() {
        for name in store.changed(3) {
            match store.record(&name) {
                Some(record) => drop(rows.insert(name, record)),
                None => drop(rows.remove(&name)),
            }
        }
    }
}

fn loaded(rows: &BTreeMap<RecordName, Record>, ended: Timestamp, began: Timestamp) -> MultiStore {
    let mut store = MultiStore::new(20_000, false);
    store.keep_journal();
    for record in rows.values() {
        store.load(record.clone(), ended, began);
    }
    store
}

/// The text, whether it is an own one, and how long it has.
type Shown = (String, bool, Option<Duration>);

fn held(store: &MultiStore, now: Timestamp) -> BTreeMap<Key, Vec<Shown>> {
    let mut keys: BTreeMap<Key, Vec<_>> = BTreeMap::new();
    for detail in store.details(now, None, None, usize::MAX) {
        let text = detail.value.as_text().unwrap().to_owned();
        let entry = (text, detail.publisher.is_none(), detail.expires_in);
        keys.entry(detail.place.key).or_default().push(entry);
    }
    for values in keys.values_mut() {
        values.sort();
    }
    keys
}

proptest! {
    #[test]
    fn what_is_loaded_is_what_was_written_down(
        acts in prop::collection::vec((0u8..4, 0u8..20, 0u8..6, 0u64..DAY), 1..120),
    ) {
        let mut store = MultiStore::new(20_000, false);
        store.keep_journal();
        let (mut rows, mut now) = (BTreeMap::new(), START);
        for (key, value, who, seconds) in acts {
            now = now + Duration::from_secs(seconds);
            let (key, value) = (Key::new([key; 20]), Value::Text(format!("http://10.0.0.{value}/f")));
            let source = if who == 5 { Source::Own } else { peer(who) };
            store.handle(now, if who == 4 {
                StoreRequest::Forget { key, value }
            } else {
                StoreRequest::Put { key, values: vec![value], source, replaces: false }
            });
            write_down(&mut store, &mut rows);
        }
        // What has expired is let go when its turn comes, or when somebody asks for its key.
        for key in 0..4 {
            store.handle(now, StoreRequest::Get { key: Key::new([key; 20]) });
        }
        write_down(&mut store, &mut rows);
        let mut again = loaded(&rows, now, now);
        prop_assert!(!again.has_changes());
        prop_assert_eq!(held(&again, now), held(&store, now));
        prop_assert_eq!((again.value_count(), again.key_count(), again.bytes),
            (store.value_count(), store.key_count(), store.bytes));
        prop_assert_eq!(&again.bytes_by_ip, &store.bytes_by_ip);
        // Later, too, both let go of the same.
        let later = now + Duration::from_secs(4 * DAY);
        for minute in 0..3 {
            store.expire(later + Duration::from_mins(minute));
            again.expire(later + Duration::from_mins(minute));
        }
        prop_assert_eq!(held(&again, later), held(&store, later));
        prop_assert_eq!(again.bytes, store.bytes);
    }

    #[test]
    fn downtime_brings_nothing_to_its_end_within_an_hour(
        left in 1u64..7 * DAY, down in 0u64..30 * DAY,
    ) {
        let seconds = Duration::from_secs;
        let (ended, began) = (START, START + seconds(down));
        let expires = ended + seconds(left);
        let after = expiry_after_downtime(expires, ended, began).unwrap();
        // Never sooner than promised, and never longer than the downtime itself.
        prop_assert!(after >= expires);
        prop_assert!(after.since(expires) <= began.since(ended));
        prop_assert!(after.since(began) >= GRACE.min(seconds(left)));
        // Downtime counts: nothing that it outlasted lives longer than the hour.
        prop_assert!(after == expires || after.since(began) <= GRACE);
        // A second start right away changes nothing more.
        let once_more = expiry_after_downtime(after, began, began);
        prop_assert_eq!(once_more, Some(after));
    }
}

#[test]
fn what_had_expired_before_the_node_went_down_is_gone() {
    assert_eq!(expiry_after_downtime(START, START, START + GRACE), None);
}

#[test]
fn records_that_make_no_sense_or_do_not_fit_are_noted_as_gone() {
    let record = |n: u16, origin, source, words| Record {
        key: Key::new([1; 20]),
        value: Value::Text(n.to_string()),
        origin,
        source,
        first_party: false,
        born: START,
        refreshed: START,
        words,
        anybodys: false,
    };
    let word = |when: Timestamp| vec![Word { publisher: at(1), at: when, first_hand: true }];
    let mut store = MultiStore::new(20_000, false);
    store.keep_journal();
    let kad = Origin::FirstHand;
    store.load(record(1, kad, at(1), Vec::new()), START, START);
    store.load(record(2, kad, at(1), word(START - LIFETIME)), START, START);
    let mut expected =
        [record(1, kad, at(1), Vec::new()).name(), record(2, kad, at(1), Vec::new()).name()];
    let mut noted = store.changed(9);
    noted.sort_unstable();
    expected.sort_unstable();
    assert_eq!(noted, expected);
    for n in 0..MAX_VALUES_PER_KEY as u16 + 5 {
        store.load(record(n, kad, at((n % 200) as u8), word(START)), START, START);
    }
    assert_eq!(store.value_count(), MAX_VALUES_PER_KEY);
    assert_eq!(store.changed(99).len(), 5);
    let long = Value::Text("x".repeat(MAX_PACKED_VALUE));
    let mut none = MultiStore::new(100, false);
    none.keep_journal();
    none.load(Record { value: long, ..record(1, Origin::Own, at(0), word(START)) }, START, START);
    none.load(record(3, kad, at(1), word(START)), START, START);
    assert_eq!((none.value_count(), none.changed(9).len()), (0, 2), "beyond the quota");
}

#[test]
fn a_key_that_is_unloaded_leaves_no_trace() {
    let mut store = MultiStore::new(20_000, false);
    store.keep_journal();
    let key = Key::new([1; 20]);
    let values = vec![Value::Text("v".to_owned())];
    store.handle(START, StoreRequest::Put { key, values, source: peer(1), replaces: false });
    store.changed(9);
    store.unload(&key);
    assert!(!store.has_changes());
    assert_eq!((store.value_count(), store.bytes, store.bytes_by_ip.len()), (0, 0, 0));
}
