//! Laws and limits of the multi-value store.

mod claims;
mod graves;

use std::net::SocketAddrV4;

use proptest::prelude::*;

use super::room::{MAX_VALUES_PER_KEY_AND_IP, names_host};
use super::*;

const START: Timestamp = Timestamp::from_micros(1_000_000_000_000);

fn text(text: &str) -> Value {
    Value::Text(text.to_owned())
}

fn peer(n: u8) -> Source {
    Source::Peer { address: SocketAddrV4::new([10, 0, 0, n].into(), 8468), holder: false }
}

fn store() -> MultiStore {
    MultiStore::new(DEFAULT_QUOTA_BYTES, false)
}

fn put(store: &mut MultiStore, now: Timestamp, key: &str, value: &str, source: Source) -> bool {
    let request = StoreRequest::Put {
        key: Key::of_name(key),
        values: vec![text(value)],
        source,
        replaces: false,
    };
    match store.handle(now, request) {
        StoreReply::Put { accepted } => accepted,
        other => panic!("{other:?}"),
    }
}

fn held(store: &mut MultiStore, now: Timestamp, key: &str) -> Vec<Held> {
    match store.handle(now, StoreRequest::Get { key: Key::of_name(key) }) {
        StoreReply::Values(values) => values,
        other => panic!("{other:?}"),
    }
}

fn texts(store: &mut MultiStore, now: Timestamp, key: &str) -> Vec<String> {
    let values = held(store, now, key);
    values.iter().map(|held| held.value.as_text().unwrap().to_owned()).collect()
}

#[test]
fn several_values_live_side_by_side_and_equal_ones_merge() {
    let mut store = store();
    for value in ["a", "b", "a"] {
        assert!(put(&mut store, START, "k", value, peer(1)));
    }
    assert_eq!(texts(&mut store, START, "k"), ["a", "b"]);
    assert_eq!((store.key_count(), store.value_count()), (1, 2));
    assert!(texts(&mut store, START, "other").is_empty());
}

#[test]
fn pages_show_each_value_once_whatever_comes_and_goes_meanwhile() {
    let mut store = store();
    let kept: Vec<(String, String)> =
        (0..40).map(|n| (format!("k{}", n % 7), format!("v{n}"))).collect();
    for (key, value) in &kept {
        assert!(put(&mut store, START, key, value, Source::Own));
    }
    for limit in [1, 2, 5, 39, 40, 1_000] {
        let (mut seen, mut after, mut round) = (Vec::new(), None, 0);
        loop {
            let page = store.details(START, None, after, limit);
            assert!(page.len() <= limit && round < 1_000, "pages without an end");
            let Some(last) = page.last() else { break };
            after = Some(last.place);
            seen.extend(page.into_iter().map(|detail| detail.value));
            let (old, new) = (format!("passing {limit} {round}"), round + 1);
            let forget = StoreRequest::Forget { key: Key::of_name("k3"), value: text(&old) };
            store.handle(START, forget);
            round = new;
            put(&mut store, START, "k3", &format!("passing {limit} {round}"), Source::Own);
        }
        for (_, value) in &kept {
            let times = seen.iter().filter(|seen| **seen == text(value)).count();
            assert_eq!(times, 1, "{value} in pages of {limit}");
        }
    }
    let of_one: Vec<Value> = store
        .details(START, Some(Key::of_name("k1")), None, 100)
        .into_iter()
        .map(|detail| detail.value)
        .collect();
    assert_eq!(of_one.len(), 6);
    let place = store.details(START, Some(Key::of_name("k1")), None, 1)[0].place;
    assert_eq!(store.details(START, Some(Key::of_name("k1")), Some(place), 100).len(), 5);
}

#[test]
fn each_value_expires_by_its_own_age() {
    let mut store = store();
    put(&mut store, START, "k", "old", peer(1));
    put(&mut store, START, "other", "old", peer(1));
    let day_later = START + Duration::from_hours(24);
    put(&mut store, day_later, "k", "young", peer(1));
    let week_later = START + PLAIN_LIFETIME;
    assert_eq!(texts(&mut store, week_later, "k"), ["young"]);
    assert!(texts(&mut store, week_later, "other").is_empty());
    assert!(texts(&mut store, day_later + PLAIN_LIFETIME, "k").is_empty());
    assert_eq!((store.key_count(), store.value_count(), store.bytes), (0, 0, 0));
    assert!(store.bytes_by_ip.is_empty());
}

#[test]
fn repeats_of_third_parties_keep_nothing_alive() {
    let mut store = store();
    let mut now = START;
    let mut seen_until = now;
    for hour in 0..24 * 10 {
        now = START + Duration::from_hours(hour);
        put(&mut store, now, "k", "http://10.0.0.9/f", peer(1 + (hour % 2) as u8));
        if !texts(&mut store, now, "k").is_empty() {
            seen_until = now;
        }
    }
    assert!(seen_until.since(START) < PLAIN_LIFETIME, "pushed hourly, it still died after a week");
    let silent = now + PUSH_SILENCE + Duration::from_secs(1);
    assert!(put(&mut store, silent, "k", "http://10.0.0.9/f", peer(1)), "no longer pushed: new");
}

#[test]
fn the_publisher_itself_keeps_its_url_alive() {
    let mut store = store();
    for hours in (0..24 * 30).step_by(8) {
        let now = START + Duration::from_hours(hours);
        assert!(put(&mut store, now, "k", "http://10.0.0.9:80/f#x", peer(9)));
        assert_eq!(texts(&mut store, now, "k").len(), 1);
    }
}

#[test]
fn own_publications_live_until_they_are_forgotten() {
    let mut store = store();
    put(&mut store, START, "k", "v", peer(1));
    put(&mut store, START, "k", "v", Source::Own);
    let later = START + Duration::from_hours(24 * 365);
    assert!(held(&mut store, later, "k")[0].own);
    let request = StoreRequest::Forget { key: Key::of_name("k"), value: text("v") };
    store.handle(later, request);
    assert!(texts(&mut store, later, "k").is_empty());
    assert_eq!((store.value_count(), store.bytes), (0, 0));
}

#[test]
fn one_ip_fills_neither_a_key_nor_the_store() {
    let mut store = MultiStore::new(100_000, false);
    let taken = (0..100).filter(|n| put(&mut store, START, "k", &format!("v{n}"), peer(1))).count();
    assert_eq!(taken, MAX_VALUES_PER_KEY_AND_IP);
    assert!(put(&mut store, START, "k", "another's", peer(2)));
    for n in 0..10_000 {
        put(&mut store, START, &format!("k{n}"), "v", peer(1));
    }
    assert!(store.bytes_by_ip[&Ipv4Addr::new(10, 0, 0, 1)] <= 10_000, "a tenth of the quota");
    assert!(put(&mut store, START, "fresh", "another's", peer(2)), "others still have room");
}

#[test]
fn a_fellow_holder_hands_over_a_whole_key() {
    let mut store = store();
    let address = SocketAddrV4::new([10, 0, 0, 1].into(), 8468);
    let holder = Source::Peer { address, holder: true };
    for n in 0..MAX_VALUES_PER_KEY {
        assert!(put(&mut store, START, "k", &format!("v{n}"), holder));
    }
    assert!(!put(&mut store, START, "k", "one too many", holder));
}

#[test]
fn honest_urls_survive_a_flood_of_their_key() {
    let mut store = store();
    for n in 1..=2 {
        assert!(put(&mut store, START, "k", &format!("http://10.0.0.{n}/f"), peer(n)));
    }
    for ip in 100..110 {
        for n in 0..1_000 {
            put(&mut store, START, "k", &format!("http://6.6.6.6/{ip}/{n}"), peer(ip));
        }
    }
    assert_eq!(texts(&mut store, START, "k").len(), MAX_VALUES_PER_KEY);
    for n in 3..=5 {
        let url = format!("http://10.0.0.{n}/f");
        assert!(put(&mut store, START, "k", &url, peer(n)), "a publisher displaces the flood");
    }
    let kept = texts(&mut store, START, "k");
    for n in 1..=5 {
        assert!(kept.contains(&format!("http://10.0.0.{n}/f")), "{n} is lost");
    }
    assert!(put(&mut store, START, "k", "mine", Source::Own));
}

#[test]
fn publishers_that_lie_about_themselves_leave_room_for_honest_ones() {
    let mut store = store();
    for ip in 100..110 {
        let address = SocketAddrV4::new([10, 0, 0, ip].into(), 8468);
        // The longest come first.
        for n in (0..1_000).rev() {
            let url = format!("http://10.0.0.{ip}/{n}/{}", "x".repeat(n * 8));
            put(&mut store, START, "k", &url, Source::Peer { address, holder: true });
        }
    }
    for n in 1..=5 {
        assert!(put(&mut store, START, "k", &format!("http://10.0.0.{n}/f"), peer(n)), "{n}");
    }
}

#[test]
fn a_newcomer_that_does_not_fit_displaces_nothing() {
    let mut store = store();
    let long = "x".repeat(8_000);
    for n in 0..8 {
        put(&mut store, START, "k", &format!("{n}{long}"), Source::Own);
    }
    assert!(put(&mut store, START, "k", "short", peer(1)));
    assert!(!put(&mut store, START, "k", &format!("8{long}"), Source::Own));
    assert_eq!(texts(&mut store, START, "k").len(), 9);
}

#[test]
fn where_a_store_replaces_the_newest_is_never_refused() {
    let mut store = store();
    let mut set = |value: usize, source| {
        let values = vec![text(&value.to_string())];
        let now = START + Duration::from_secs(value as u64);
        let request = StoreRequest::Put { key: Key::of_name("k"), values, source, replaces: true };
        assert_eq!(store.handle(now, request), StoreReply::Put { accepted: true }, "{value}");
        let StoreReply::Values(held) =
            store.handle(now, StoreRequest::Get { key: Key::of_name("k") })
        else {
            panic!()
        };
        let newest = held.iter().min_by_key(|held| held.refreshed).unwrap();
        assert_eq!(newest.value, text(&value.to_string()));
        held.iter().filter(|held| held.own).count()
    };
    for value in 0..100 {
        set(value, peer(1));
    }
    let holder = Source::Peer { address: SocketAddrV4::new([10, 0, 0, 2].into(), 1), holder: true };
    for value in 100..300 {
        set(value, holder);
    }
    for value in 300..400 {
        assert_eq!(set(value, Source::Own), 1, "the own user has one value");
    }
}

#[test]
fn a_value_is_first_party_only_on_its_own_host() {
    let from = Ipv4Addr::new(10, 0, 0, 9);
    for (value, expected) in [
        ("http://10.0.0.9/f", true),
        ("https://10.0.0.9:8468/f#x", true),
        ("http://10.0.0.9@evil/f", false),
        ("http://10.0.0.9:x@evil/f", false),
        ("http://evil:80@10.0.0.9/f", false),
        ("http://10.0.0.90/f", false),
        ("ftp://10.0.0.9/f", false),
        ("10.0.0.9", false),
    ] {
        assert_eq!(names_host(&text(value), from), expected, "{value}");
    }
}

#[test]
fn the_quota_and_the_longest_value_hold() {
    let mut store = MultiStore::new(50_000, true);
    let local =
        Source::Peer { address: SocketAddrV4::new([127, 0, 0, 1].into(), 1), holder: false };
    assert!(put(&mut store, START, "k", &"x".repeat(8_137), local));
    assert!(!put(&mut store, START, "k", &"x".repeat(8_138), local));
    let taken = (0..1_000).filter(|n| put(&mut store, START, &format!("k{n}"), "v", local)).count();
    assert!(taken > 100 && store.bytes <= 50_000, "{taken} values, {} bytes", store.bytes);
}

#[test]
fn keys_come_in_pages() {
    let mut store = store();
    for n in 0..10 {
        put(&mut store, START, &format!("k{n}"), "v", if n == 0 { Source::Own } else { peer(1) });
    }
    let (mut after, mut all) = (None, Vec::new());
    loop {
        let reply = store.handle(START, StoreRequest::Keys { after, limit: 3 });
        let StoreReply::Keys(page) = reply else { panic!("{reply:?}") };
        let Some(last) = page.last() else { break };
        assert!(page.len() <= 3);
        after = Some(last.key);
        all.extend(page);
    }
    assert_eq!(all.len(), 10);
    assert!(all.is_sorted_by_key(|held| held.key));
    assert_eq!(all.iter().filter(|held| held.own).count(), 1);
}

proptest! {
    #[test]
    fn the_accounts_always_add_up(
        events in prop::collection::vec((0u8..6, 0u8..12, 0u8..4, 0u64..100), 0..300),
    ) {
        let mut store = MultiStore::new(20_000, false);
        let mut now = START;
        for (key, value, who, hours) in events {
            now = now + Duration::from_hours(hours / 10);
            let source = if who == 0 { Source::Own } else { peer(who) };
            if value == 11 {
                let request = StoreRequest::Forget {
                    key: Key::of_name(&key.to_string()),
                    value: text("0"),
                };
                store.handle(now, request);
            } else {
                put(&mut store, now, &key.to_string(), &value.to_string(), source);
            }
            let all = || store.keys.values().flatten();
            prop_assert_eq!(store.values, all().count());
            let others: usize = all().filter(|s| !s.is_own()).map(Stored::cost).sum();
            prop_assert_eq!(store.bytes, others);
            prop_assert_eq!(store.bytes_by_ip.values().sum::<usize>(), others);
            prop_assert!(store.bytes <= 20_000);
            prop_assert!(store.keys.values().all(|values| !values.is_empty()));
        }
    }
}
