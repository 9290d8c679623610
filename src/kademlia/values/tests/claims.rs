//! Who is believed: publishers' own word, what others tell, what was taken back.

use super::*;
use crate::kademlia::wire::{Claim, Publisher};

pub(super) fn address(n: u8) -> SocketAddrV4 {
    SocketAddrV4::new([10, 0, 0, n].into(), 8468)
}

pub(super) fn hours(n: u64) -> Duration {
    Duration::from_hours(n)
}

pub(super) fn claim(value: &str, publisher: Publisher, age: Duration) -> Claim {
    Claim { value: text(value), publisher, age, born: age }
}

/// What `from` says of a value; whether it is held then.
pub(super) fn says(store: &mut MultiStore, now: Timestamp, from: u8, claim: Claim) -> bool {
    says_of(store, now, "k", address(from), claim, 0)
}

pub(super) fn says_of(
    store: &mut MultiStore,
    now: Timestamp,
    key: &str,
    from: SocketAddrV4,
    claim: Claim,
    draw: u64,
) -> bool {
    let (key, claims) = (Key::of_name(key), vec![Some(claim)]);
    let request = StoreRequest::Keep { key, claims, from, holder: false, draw, proven: true };
    match store.handle(now, request) {
        StoreReply::Kept { each, .. } => each == [true],
        other => panic!("{other:?}"),
    }
}

pub(super) fn publishes(store: &mut MultiStore, now: Timestamp, from: u8, value: &str) -> bool {
    says(store, now, from, claim(value, Publisher::Sender, Duration::ZERO))
}

pub(super) fn tells(
    store: &mut MultiStore,
    now: Timestamp,
    from: u8,
    of: u8,
    age: Duration,
) -> bool {
    says(store, now, from, claim("v", Publisher::Other(address(of)), age))
}

pub(super) fn withdraws(store: &mut MultiStore, now: Timestamp, from: u8, value: &str) {
    let (key, digests) = (Key::of_name("k"), vec![text(value).digest()]);
    let request = StoreRequest::Withdraw { key, digests, publisher: address(from) };
    assert!(matches!(store.handle(now, request), StoreReply::Withdrawn { .. }));
}

pub(super) fn only(store: &mut MultiStore, now: Timestamp) -> Option<Held> {
    let mut held = held(store, now, "k");
    assert!(held.len() <= 1, "{held:?}");
    held.pop()
}

#[test]
fn a_value_lives_a_day_and_a_half_from_its_publishers_last_word() {
    let mut store = store();
    for word in [0, 8, 16, 24] {
        assert!(publishes(&mut store, START + hours(word), 1, "v"));
    }
    let held = only(&mut store, START + hours(24 + 35)).expect("it lives");
    assert_eq!((held.silent, held.age), (hours(35), hours(59)));
    assert_eq!(held.publisher, Publisher::Other(address(1)));
    assert_eq!(held.expires_in, Some(hours(1)));
    assert_eq!(only(&mut store, START + hours(24 + 36)), None);
    assert_eq!((store.value_count(), store.bytes), (0, 0));
}

#[test]
fn what_others_tell_renews_nothing_and_is_as_old_as_they_say() {
    let mut store = store();
    assert!(tells(&mut store, START, 2, 1, hours(10)));
    assert_eq!(only(&mut store, START).unwrap().silent, hours(10));
    // Younger now, says a third party, and that another published it, too.
    for teller in 3..9 {
        assert!(tells(&mut store, START + hours(1), teller, 1, Duration::ZERO));
        assert!(tells(&mut store, START + hours(1), teller, teller + 100, Duration::ZERO));
    }
    assert_eq!(only(&mut store, START + hours(1)).unwrap().silent, hours(11));
    assert_eq!(only(&mut store, START + hours(26)), None);
    for hour in 26..60 {
        assert!(!tells(&mut store, START + hours(hour), 3, 1, Duration::ZERO), "still pushed");
    }
    assert!(publishes(&mut store, START + hours(60), 1, "v"), "the publisher itself");
    assert!(!tells(&mut super::store(), START, 2, 1, LIFETIME), "what has expired is not taken");
}

#[test]
fn a_plain_value_becomes_its_publishers_and_not_the_other_way_round() {
    let mut store = store();
    put(&mut store, START, "k", "v", peer(2));
    assert_eq!(only(&mut store, START).unwrap().publisher, Publisher::Unknown);
    // Who tells of a publisher does not shorten what nobody is known to have published.
    assert!(tells(&mut store, START, 3, 1, hours(35)));
    assert_eq!(only(&mut store, START).unwrap().expires_in, Some(PLAIN_LIFETIME));
    assert!(publishes(&mut store, START + hours(1), 1, "v"));
    put(&mut store, START + hours(2), "k", "v", peer(2));
    let held = only(&mut store, START + hours(2)).unwrap();
    assert_eq!((held.publisher, held.silent), (Publisher::Other(address(1)), hours(1)));
    assert_eq!(held.expires_in, Some(hours(35)));
    // Its own plain store is its word, too: it may not know yet that this node understands more.
    put(&mut store, START + hours(3), "k", "v", peer(1));
    assert_eq!(only(&mut store, START + hours(3)).unwrap().silent, Duration::ZERO);
}

#[test]
fn only_its_publisher_takes_a_value_back_and_no_others() {
    let mut store = store();
    assert!(publishes(&mut store, START, 1, "v"));
    withdraws(&mut store, START, 2, "v");
    assert!(only(&mut store, START).is_some(), "a stranger takes back nothing");
    assert!(publishes(&mut store, START, 2, "v"), "and may publish it afterwards");
    withdraws(&mut store, START, 1, "v");
    let held = only(&mut store, START).expect("the other's stays");
    assert_eq!(held.publisher, Publisher::Other(address(2)));
    withdraws(&mut store, START, 2, "v");
    assert_eq!(only(&mut store, START), None);
    put(&mut store, START, "k", "v", peer(3));
    withdraws(&mut store, START, 1, "v");
    assert!(only(&mut store, START).is_some(), "nor what came by a plain store");
}

#[test]
fn after_a_publisher_the_next_that_spoke_itself_stands_for_a_value() {
    let url = "http://10.0.0.1:8468/files/f";
    let mut store = store();
    assert!(publishes(&mut store, START, 1, url));
    assert!(publishes(&mut store, START, 2, url) && publishes(&mut store, START, 4, url));
    assert!(publishes(&mut store, START + hours(1), 2, url));
    let told = claim(url, Publisher::Other(address(9)), Duration::ZERO);
    assert!(says(&mut store, START + hours(1), 3, told));
    let stands = |store: &mut MultiStore| {
        let known = store.known(&Key::of_name("k"), &text(url)).unwrap();
        (known.source, known.first_party)
    };
    assert_eq!(stands(&mut store), (address(1), true));
    withdraws(&mut store, START + hours(1), 1, url);
    assert_eq!(stands(&mut store), (address(2), false), "nor has it a host's place any more");
}

#[test]
fn nobody_takes_back_what_a_python_node_stored_by_publishing_it_too() {
    let mut store = store();
    put(&mut store, START, "k", "v", peer(2));
    let old = Claim { born: hours(24 * 365), ..claim("v", Publisher::Sender, Duration::ZERO) };
    assert!(says(&mut store, START + hours(1), 9, old));
    withdraws(&mut store, START + hours(2), 9, "v");
    let held = only(&mut store, START + hours(2)).expect("it is there as before");
    assert_eq!(held.publisher, Publisher::Unknown);
    assert_eq!(held.expires_in, Some(hours(7 * 24 - 2)));
    // A URL is its host's, whoever brought it first.
    let url = "http://10.0.0.1:8468/files/f";
    let mut store = super::store();
    put(&mut store, START, "k", url, peer(2));
    assert!(publishes(&mut store, START, 1, url));
    withdraws(&mut store, START, 1, url);
    assert_eq!(only(&mut store, START), None);
}

#[test]
fn many_ports_do_not_outtalk_the_host_of_a_url_and_take_it_back() {
    let mut store = store();
    let url = "http://10.0.0.1:8468/files/f";
    let crowd = || (1..=4).map(|port| SocketAddrV4::new([6, 6, 6, 6].into(), port));
    let speak = |store: &mut MultiStore, from| {
        says_of(store, START, "k", from, claim(url, Publisher::Sender, Duration::ZERO), 0)
    };
    assert!(crowd().all(|from| speak(&mut store, from)), "they come first");
    assert!(publishes(&mut store, START, 1, url));
    assert!(crowd().all(|from| speak(&mut store, from)));
    for publisher in crowd() {
        let (key, digests) = (Key::of_name("k"), vec![text(url).digest()]);
        store.handle(START, StoreRequest::Withdraw { key, digests, publisher });
    }
    let held = only(&mut store, START).expect("the host's word counts");
    assert_eq!(held.publisher, Publisher::Other(address(1)));
}

#[test]
fn what_is_told_of_another_publisher_does_not_hide_the_one_that_spoke() {
    let mut store = store();
    assert!(publishes(&mut store, START, 1, "v"));
    assert!(tells(&mut store, START, 3, 9, Duration::ZERO));
    assert_eq!(only(&mut store, START).unwrap().publisher, Publisher::Other(address(1)));
    // Nor does whoever publishes it, too, make it older than its first publisher says.
    let old = Claim { born: hours(24 * 365), ..claim("v", Publisher::Sender, Duration::ZERO) };
    assert!(says(&mut store, START, 9, old));
    assert_eq!(only(&mut store, START).unwrap().age, Duration::ZERO);
}

#[test]
fn no_machine_fills_the_graveyard() {
    let mut store = store();
    assert!(publishes(&mut store, START, 1, "v"));
    withdraws(&mut store, START, 1, "v");
    for n in 0..20_000_u32 {
        let (key, digests) = (Key::of_name("k"), vec![text(&n.to_string()).digest()]);
        store.handle(START, StoreRequest::Withdraw { key, digests, publisher: address(9) });
    }
    assert!(!tells(&mut store, START, 2, 1, Duration::ZERO), "the grave is still there");
    let url = "http://10.0.0.9/f";
    assert!(publishes(&mut store, START, 9, url));
    withdraws(&mut store, START, 9, url);
    assert_eq!(only(&mut store, START), None, "its own it may still take back");
}

#[test]
fn what_was_taken_back_comes_back_by_nobody_but_its_publisher() {
    let mut store = store();
    let url = "http://10.0.0.1:8468/files/f";
    assert!(publishes(&mut store, START, 1, url));
    withdraws(&mut store, START, 1, url);
    let told = |hour| claim(url, Publisher::Other(address(1)), hours(hour));
    for hour in 0..36 {
        let now = START + hours(hour);
        assert!(!says(&mut store, now, 2, told(hour)), "by hand-over, after {hour} h");
        assert!(!put(&mut store, now, "k", url, peer(3)), "by a Python node, after {hour} h");
    }
    assert_eq!(only(&mut store, START + hours(35)), None);
    assert!(!says(&mut store, START + hours(36), 2, told(36)), "by then it has expired anyway");
    assert!(publishes(&mut store, START + hours(36), 1, url), "a newer word of its own");
    assert!(only(&mut store, START + hours(36)).is_some());
    withdraws(&mut store, START + hours(37), 1, url);
    assert!(publishes(&mut store, START + hours(38), 1, url), "within the time, too");
    assert!(says(&mut store, START + hours(38), 2, told(0)), "and now others may tell of it");
}

#[test]
fn a_url_that_its_host_took_back_comes_back_by_no_invented_publisher() {
    let mut store = store();
    let url = "http://10.0.0.1:80/f";
    assert!(publishes(&mut store, START, 1, url));
    withdraws(&mut store, START, 1, url);
    let told = |of: u8| claim(url, Publisher::Other(address(of)), Duration::ZERO);
    assert!(!says(&mut store, START, 2, told(9)));
    // Whoever publishes it says so itself.
    assert!(publishes(&mut store, START, 9, url));
}

#[test]
fn what_the_own_user_took_back_is_not_brought_back_by_holders() {
    let mut store = store();
    put(&mut store, START, "k", "v", Source::Own);
    let forget = || StoreRequest::Forget { key: Key::of_name("k"), value: text("v") };
    assert_eq!(store.handle(START, forget()), StoreReply::Forgotten { found: true });
    assert!(!tells(&mut store, START, 2, 1, Duration::ZERO));
    // Another that published it, too, remains one.
    put(&mut store, START, "k", "v", Source::Own);
    assert!(publishes(&mut store, START, 3, "v"));
    store.handle(START, forget());
    assert_eq!(only(&mut store, START).unwrap().publisher, Publisher::Other(address(3)));
}

#[test]
fn a_publisher_has_sixteen_values_of_a_key_whoever_tells_of_them() {
    let mut store = store();
    let told = |n: u32| claim(&format!("told {n}"), Publisher::Other(address(1)), Duration::ZERO);
    let taken = (0..40).filter(|n| says(&mut store, START, 2 + (*n % 20) as u8, told(*n))).count();
    assert_eq!(taken, MAX_VALUES_PER_KEY_AND_IP);
    // Which takes nothing from what it says itself.
    let taken = (0..40).filter(|n| publishes(&mut store, START, 1, &format!("own {n}"))).count();
    assert_eq!(taken, MAX_VALUES_PER_KEY_AND_IP);
}

pub(super) fn provider(n: u32) -> (SocketAddrV4, String) {
    let ip = Ipv4Addr::from(0x0a01_0000 + n);
    (SocketAddrV4::new(ip, 8468), format!("http://{ip}:8468/files/popular"))
}

/// `count` publishers, one a second, each with a URL on its own host; whether all were taken.
fn crowd(store: &mut MultiStore, from: u32, count: u32) -> bool {
    (from..from + count).all(|n| {
        let (address, url) = provider(n);
        let now = START + Duration::from_secs(u64::from(n));
        let draw = u64::from(n).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 7;
        let claim = claim(&url, Publisher::Sender, Duration::ZERO);
        says_of(store, now, "popular", address, claim, draw)
    })
}

#[test]
fn the_newest_publisher_of_a_popular_name_finds_a_place() {
    let mut store = store();
    assert!(crowd(&mut store, 0, 10_000));
    let now = START + Duration::from_secs(10_000);
    let held = held(&mut store, now, "popular");
    assert_eq!(held.len(), MAX_VALUES_PER_KEY);
    let mean: Duration = held.iter().map(|held| held.silent).sum::<Duration>() / 64;
    println!("64 of 10,000 publishers, on average heard of {mean:?} ago, of 10,000 s");
    assert!(mean < Duration::from_secs(200), "they are those heard of lately: {mean:?}");
    let oldest = held.iter().map(|held| held.silent).max().unwrap();
    assert!(oldest > Duration::from_secs(70), "yet not simply the last 64: {oldest:?}");
}

#[test]
fn no_machine_turns_over_a_key_by_publishing_and_taking_back() {
    let mut store = store();
    assert!(crowd(&mut store, 0, 64));
    let now = START + Duration::from_secs(100);
    let evil = SocketAddrV4::new([6, 6, 6, 6].into(), 8468);
    for n in 0..1_000 {
        let url = format!("http://6.6.6.6/{n}");
        let claim = claim(&url, Publisher::Sender, Duration::ZERO);
        says_of(&mut store, now, "popular", evil, claim, n);
        let (key, digests) = (Key::of_name("popular"), vec![text(&url).digest()]);
        store.handle(now, StoreRequest::Withdraw { key, digests, publisher: evil });
        // Somebody else takes the place that was freed.
        if held(&mut store, now, "popular").len() < MAX_VALUES_PER_KEY {
            assert!(crowd(&mut store, 1_000 + n as u32, 1));
        }
    }
    let held = held(&mut store, now, "popular");
    let stays = |n: &u32| held.iter().any(|held| held.value == text(&provider(*n).1));
    assert!((0..64).filter(stays).count() >= 62, "it displaces one in an hour");
}

#[test]
fn what_nobody_is_known_to_have_published_displaces_no_publisher() {
    let mut store = store();
    assert!(crowd(&mut store, 0, 64));
    for n in 0..200 {
        let told = Publisher::Other(provider(1_000 + n).0);
        let claim = claim(&provider(1_000 + n).1, told, Duration::ZERO);
        assert!(!says_of(&mut store, START, "popular", address(9), claim, 5));
    }
    assert!(!put(&mut store, START, "popular", "http://6.6.6.6/x", peer(9)));
}

#[test]
fn graves_and_publishers_are_bounded() {
    let mut store = store();
    for n in 0..20_000_u32 {
        let digests = vec![text(&n.to_string()).digest()];
        let request =
            StoreRequest::Withdraw { key: Key::of_name("k"), digests, publisher: provider(n).0 };
        store.handle(START, request);
    }
    assert!(store.graves.len() <= 16_384, "{}", store.graves.len());
    for n in 0..100 {
        assert!(says(&mut store, START, n, claim("v", Publisher::Sender, Duration::ZERO)));
    }
    assert_eq!(store.keys[&Key::of_name("k")][0].words().count(), 4);
}

proptest! {
    #[test]
    fn no_order_of_words_makes_a_value_outlive_its_publishers(
        events in prop::collection::vec((0_u8..4, 1_u8..4, 0_u64..40, 0_u64..5), 0..80),
    ) {
        let mut store = store();
        let mut now = START;
        let mut last_word: Option<Timestamp> = None;
        for (what, who, age, later) in events {
            now = now + hours(later);
            match what {
                0 => {
                    prop_assert!(publishes(&mut store, now, who, "v"));
                    last_word = Some(now);
                }
                1 => withdraws(&mut store, now, who, "v"),
                _ => {
                    let known = only(&mut store, now).is_some();
                    let taken = tells(&mut store, now, 100 + who, who, hours(age));
                    if taken && !known {
                        // Nothing was known: it is as old as is told.
                        last_word = last_word.max(Some(now - hours(age)));
                    }
                }
            }
            if let Some(held) = only(&mut store, now) {
                let word = last_word.expect("somebody spoke");
                prop_assert!(held.silent >= now.since(word), "{held:?}");
                prop_assert!(held.silent < LIFETIME);
                prop_assert!(held.age >= held.silent);
            }
            let held = store.bytes_by_ip.values().sum::<usize>();
            prop_assert_eq!(held, store.bytes);
        }
    }
}
