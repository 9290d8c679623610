//! Laws of the routing table.

use std::net::Ipv4Addr;

use proptest::prelude::*;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

use super::diversity::MAX_PER_TABLE_AND_NET;
use super::*;

const NOW: Timestamp = Timestamp::from_micros(1_000_000);

fn address(n: usize) -> SocketAddrV4 {
    let n = u32::try_from(n).unwrap();
    SocketAddrV4::new(Ipv4Addr::from(0x0a00_0000 + n), 8468)
}

fn table(own: NodeId, k: usize) -> RoutingTable {
    RoutingTable::new(own, &Settings { k, ..Settings::default() }, NOW)
}

fn filled(own: NodeId, k: usize, ids: &[NodeId]) -> RoutingTable {
    let mut table = table(own, k);
    for (n, id) in ids.iter().enumerate() {
        table.insert(Contact::new(*id, address(n), NOW));
    }
    table
}

fn ids(seed: u64, count: usize) -> Vec<NodeId> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    (0..count).map(|_| NodeId::random(&mut rng)).collect()
}

/// Leaves a request unanswered that was sent at that second.
fn fail(table: &mut RoutingTable, at: SocketAddrV4, second: u64) -> Vec<SocketAddrV4> {
    let sent = NOW + Duration::from_secs(second);
    table.failed(at, sent, sent)
}

fn check(table: &RoutingTable) {
    let mut seen = 0;
    for (n, bucket) in table.buckets().iter().enumerate() {
        assert!(bucket.contacts().len() <= table.k, "no bucket over k");
        assert!(bucket.replacements().len() <= table.k);
        assert!(bucket.replacements().iter().all(|waiting| table.at(waiting.address).is_none()));
        seen += bucket.contacts().len();
        for contact in bucket.contacts() {
            assert!(bucket.covers(&contact.id.as_key()));
            assert_eq!(table.at(contact.address), Some(contact));
            assert_ne!(contact.id, table.own);
        }
        if let Some(next) = table.buckets().get(n + 1) {
            assert!(bucket.prefix() < next.prefix(), "leaves in key order");
        }
    }
    assert_eq!(seen, table.len());
    let area: f64 =
        table.buckets().iter().map(|b| 0.5_f64.powi(i32::try_from(b.depth()).unwrap())).sum();
    assert!((area - 1.0).abs() < 1e-9, "leaves tile the key space");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn closest_agrees_with_sorting_everything(seed: u64, count in 0usize..400, target: [u8; 20]) {
        let all = ids(seed, count + 1);
        let table = filled(all[count], 8, &all[..count]);
        check(&table);
        let target = Key::new(target);
        let mut sorted: Vec<_> = table.contacts().collect();
        sorted.sort_by_key(|contact| target.distance(&contact.id));
        sorted.truncate(20);
        prop_assert_eq!(table.closest(&target, 20, |_| true), sorted);
    }

    #[test]
    fn the_k_nearest_it_met_are_all_known(seed: u64, count in 1usize..600) {
        let all = ids(seed, count + 1);
        let (own, met) = (all[count], &all[..count]);
        let table = filled(own, 8, met);
        let mut nearest = met.to_vec();
        nearest.sort_by_key(|id| own.distance(id));
        nearest.truncate(8);
        let known = table.closest(&own.as_key(), 8, |_| true);
        prop_assert_eq!(known.iter().map(|c| c.id).collect::<Vec<_>>(), nearest);
    }

    #[test]
    fn any_order_of_events_keeps_the_invariants(
        seed: u64,
        events in prop::collection::vec((0usize..60, 0usize..20, 0u8..5), 0..400),
    ) {
        let all = ids(seed, 60);
        let mut table = table(all[0], 4);
        for (step, (n, elsewhere, what)) in events.into_iter().enumerate() {
            let now = NOW + Duration::from_secs(step as u64);
            match what {
                0 => {
                    table.insert(Contact::new(all[n], address(n), now));
                }
                // It moved, or another node lives there now.
                1 => {
                    table.insert(Contact::new(all[n], address(elsewhere), now));
                }
                2 => table.answered(address(n), now, None),
                _ => {
                    table.failed(address(elsewhere), now, now);
                }
            }
            check(&table);
        }
    }
}

#[test]
fn one_or_two_failures_are_forgiven_and_the_third_promotes_a_replacement() {
    let mut rng = ChaCha8Rng::seed_from_u64(7);
    let own = NodeId::new([0; 20]);
    let mut table = table(own, 2);
    // All far from the own id, so that their bucket can't split once nearer ones are known.
    let near: Vec<_> = (1..=4u8).map(|n| NodeId::new([n; 20])).collect();
    for (n, id) in near.iter().enumerate() {
        table.insert(Contact::new(*id, address(n), NOW));
    }
    let far: Vec<_> = std::iter::repeat_with(|| NodeId::random(&mut rng))
        .filter(|id| id.as_bytes()[0] >= 0x80)
        .take(3)
        .collect();
    for (n, id) in far.iter().enumerate() {
        table.insert(Contact::new(*id, address(10 + n), NOW));
    }
    assert!(table.at(address(12)).is_none(), "the bucket was full: the third waits");
    assert_eq!(fail(&mut table, address(10), 1), []);
    assert_eq!(fail(&mut table, address(10), 2), []);
    table.answered(address(10), NOW + Duration::from_secs(3), None);
    assert_eq!(fail(&mut table, address(10), 4), [], "an answer in between clears the count");
    table.heard(address(10), NOW + Duration::from_secs(5));
    assert_eq!(fail(&mut table, address(10), 5), []);
    assert_eq!(fail(&mut table, address(10), 6), [address(12)], "a request may be forged");
    assert_eq!(table.at(address(12)).map(|contact| contact.id), Some(far[2]));
    check(&table);
}

#[test]
fn a_quiet_contact_is_asked_before_a_newcomer_may_take_its_place() {
    let mut table = table(NodeId::new([0; 20]), 2);
    for n in 1..=2 {
        table.insert(Contact::new(NodeId::new([n; 20]), address(n.into()), NOW));
    }
    for (n, seconds) in [(0x81, 0), (0x82, 60)] {
        let seen = NOW + Duration::from_secs(seconds);
        table.insert(Contact::new(NodeId::new([n; 20]), address(n.into()), seen));
    }
    let newcomer = |n: u8, minutes| {
        let now = NOW + Duration::from_mins(minutes);
        Contact::new(NodeId::new([n; 20]), address(n.into()), now)
    };
    assert_eq!(table.insert(newcomer(0x83, 2)), Inserted::Waiting { ping: None });
    let quiet = Some(address(0x81));
    assert_eq!(table.insert(newcomer(0x84, 10)), Inserted::Waiting { ping: quiet });
    table.answered(address(0x81), NOW + Duration::from_mins(10), None);
    let next = Some(address(0x82));
    assert_eq!(table.insert(newcomer(0x85, 11)), Inserted::Waiting { ping: next });
    assert_eq!(table.len(), 4, "nobody who answers is evicted");
}

#[test]
fn a_newcomer_with_a_known_id_waits_until_the_known_address_is_dead() {
    let all = ids(3, 2);
    let mut table = table(all[0], 4);
    table.insert(Contact::new(all[1], address(1), NOW));
    let moved = Contact::new(all[1], address(2), NOW);
    assert_eq!(table.insert(moved), Inserted::Challenges { ping: address(1) });
    assert!(table.at(address(2)).is_none());
    for n in 0..MAX_FAILURES {
        fail(&mut table, address(1), n.into());
    }
    assert_eq!(table.at(address(2)).map(|contact| contact.id), Some(all[1]));
}

#[test]
fn what_was_under_way_together_is_one_failure() {
    let all = ids(10, 2);
    let mut table = table(all[0], 4);
    table.insert(Contact::new(all[1], address(1), NOW));
    let (sent, given_up) = (NOW + Duration::from_secs(1), NOW + Duration::from_secs(3));
    for _ in 0..10 {
        table.failed(address(1), sent, given_up);
    }
    assert_eq!(table.at(address(1)).map(|contact| contact.failures), Some(1));
    table.answered(address(1), NOW + Duration::from_secs(5), None);
    table.failed(address(1), NOW + Duration::from_secs(4), NOW + Duration::from_secs(6));
    assert_eq!(table.at(address(1)).map(|contact| contact.failures), Some(0), "it has answered");
}

#[test]
fn an_id_that_is_in_the_table_moves_in_nowhere_else() {
    let own = NodeId::new([0; 20]);
    let mut table = table(own, 4);
    let (id, other) = (NodeId::new([0x81; 20]), NodeId::new([0x82; 20]));
    table.insert(Contact::new(id, address(1), NOW));
    table.insert(Contact::new(other, address(2), NOW));
    let impostor = Contact::new(id, address(3), NOW);
    assert_eq!(table.insert(impostor), Inserted::Challenges { ping: address(1) });
    for n in 0..MAX_FAILURES {
        fail(&mut table, address(2), n.into());
    }
    assert_eq!(table.at(address(3)), None, "its id lives elsewhere");
    assert_eq!(table.at(address(1)).map(|contact| contact.id), Some(id));
    check(&table);
}

#[test]
fn replacements_heed_the_limits_of_their_network_when_they_move_in() {
    let mut rng = ChaCha8Rng::seed_from_u64(9);
    let mut table = table(NodeId::new([0; 20]), 20);
    let mut far =
        std::iter::repeat_with(|| NodeId::random(&mut rng)).filter(|id| id.as_bytes()[0] >= 0x80);
    // Twenty near ones, so that the far bucket does not split.
    for n in 1..=20 {
        table.insert(Contact::new(NodeId::new([n; 20]), address(n.into()), NOW));
    }
    for (n, id) in far.by_ref().take(20).enumerate() {
        table.insert(Contact::new(id, address(100 + n), NOW));
    }
    let sybil = |port| SocketAddrV4::new([6, 6, 6, 6].into(), port);
    for (port, id) in (1..=20).zip(far) {
        let waits = Inserted::Waiting { ping: None };
        let expected = if usize::from(port) <= MAX_IDS_PER_IP { waits } else { Inserted::Refused };
        assert_eq!(table.insert(Contact::new(id, sybil(port), NOW)), expected, "{port}");
    }
    // Three of the same machine have a place elsewhere meanwhile.
    for n in 101..=103 {
        let near = Contact::new(NodeId::new([n; 20]), sybil(n.into()), NOW);
        assert_eq!(table.insert(near), Inserted::Added);
    }
    for n in 0..20 {
        for second in 0..MAX_FAILURES {
            fail(&mut table, address(100 + n), second.into());
        }
    }
    let of_one_ip = |c: &&Contact| *c.address.ip() == Ipv4Addr::new(6, 6, 6, 6);
    assert_eq!(table.contacts().filter(of_one_ip).count(), MAX_IDS_PER_IP);
    check(&table);
}

#[test]
fn one_machine_does_not_seem_to_be_where_everybody_went() {
    let all = ids(6, 60);
    let settings = Settings { profile: Profile::Public, ..Settings::default() };
    for (settings, most) in
        [(Settings::default(), 2 * MAX_IDS_PER_IP), (settings, MAX_PER_TABLE_AND_NET)]
    {
        let mut table = RoutingTable::new(all[0], &settings, NOW);
        for (n, id) in all.iter().enumerate().skip(1) {
            let far = SocketAddrV4::new(Ipv4Addr::from(0x0a00_0000 + 256 * n as u32), 8468);
            table.insert(Contact::new(*id, far, NOW));
        }
        let known = table.len();
        for (n, id) in all.iter().enumerate().skip(1) {
            // Two machines of one network that answer pings with other nodes' ids.
            let port = 1 + u16::try_from(n).unwrap();
            let liar = SocketAddrV4::new([6, 6, 6, 6 + (n % 2) as u8].into(), port);
            table.insert(Contact::new(*id, liar, NOW));
        }
        let moved = table.contacts().filter(|it| table.challenger_of(&it.id).is_some()).count();
        assert_eq!(moved, most, "of {known} contacts");
        assert_eq!(table.len(), known);
        check(&table);
    }
}

#[test]
fn a_node_that_started_anew_replaces_its_old_id() {
    let all = ids(4, 3);
    let mut table = table(all[0], 4);
    table.insert(Contact::new(all[1], address(1), NOW));
    assert_eq!(table.insert(Contact::new(all[2], address(1), NOW)), Inserted::Added);
    assert_eq!(table.len(), 1);
    check(&table);
}

#[test]
fn one_ip_gets_eight_places_and_loopback_has_no_such_limit_on_loopback() {
    let all = ids(5, 40);
    let one_ip =
        |ip: [u8; 4], n: usize| SocketAddrV4::new(ip.into(), 1000 + u16::try_from(n).unwrap());
    let mut lan = table(all[0], 20);
    for (n, id) in all.iter().enumerate().take(30).skip(1) {
        lan.insert(Contact::new(*id, one_ip([10, 0, 0, 1], n), NOW));
    }
    assert_eq!(lan.len(), MAX_IDS_PER_IP);
    let settings = Settings { on_loopback: true, ..Settings::default() };
    let mut local = RoutingTable::new(all[0], &settings, NOW);
    for (n, id) in all.iter().enumerate().take(15).skip(1) {
        local.insert(Contact::new(*id, one_ip([127, 0, 0, 1], n), NOW));
    }
    assert_eq!(local.len(), 14);
}

#[test]
fn the_public_profile_wants_many_networks() {
    let all = ids(6, 200);
    let settings = Settings { profile: Profile::Public, ..Settings::default() };
    let mut table = RoutingTable::new(all[0], &settings, NOW);
    for (n, id) in all.iter().enumerate().skip(1) {
        let ip = [10, 0, 0, u8::try_from(n).unwrap()];
        table.insert(Contact::new(*id, SocketAddrV4::new(ip.into(), 8468), NOW));
    }
    assert!(table.len() <= MAX_PER_TABLE_AND_NET, "{}", table.len());
}

#[test]
fn a_network_has_two_places_of_each_bucket_and_ten_of_a_public_table() {
    let settings = Settings { profile: Profile::Public, ..Settings::default() };
    let mut table = RoutingTable::new(NodeId::new([0; 20]), &settings, NOW);
    let with_bit = |bit: usize, last: u8| {
        let mut id = [0; 20];
        (id[bit / 8], id[19]) = (0x80 >> (bit % 8), last);
        NodeId::new(id)
    };
    // A bucket full of near ones, each of a network of its own: so each bit has a bucket.
    for n in 1..=20_u8 {
        let ip = Ipv4Addr::new(10, 0, n, 1);
        let near = Contact::new(with_bit(140, n), SocketAddrV4::new(ip, 8468), NOW);
        assert_eq!(table.insert(near), Inserted::Added);
    }
    for bit in 0..7_u8 {
        for n in 0..3 {
            let ip = Ipv4Addr::new(192, 0, 2, 3 * bit + n);
            let newcomer = with_bit(bit.into(), n);
            let newcomer = Contact::new(newcomer, SocketAddrV4::new(ip, 8468), NOW);
            let fits = usize::from(n) < MAX_PER_BUCKET_AND_NET
                && usize::from(bit) < MAX_PER_TABLE_AND_NET / MAX_PER_BUCKET_AND_NET;
            let expected = if fits { Inserted::Added } else { Inserted::Refused };
            assert_eq!(table.insert(newcomer), expected, "number {n} with bit {bit}");
        }
    }
    check(&table);
}

#[test]
fn a_bucket_without_lookups_turns_stale_and_its_keys_lie_in_it() {
    let all = ids(8, 200);
    let mut table = filled(all[0], 8, &all[1..]);
    let mut rng = ChaCha8Rng::seed_from_u64(1);
    for bucket in table.buckets().iter().map(|bucket| *bucket.prefix()).collect::<Vec<_>>() {
        table.touch(&bucket, NOW);
    }
    assert_eq!(table.stale_key(NOW, &mut rng), None);
    let later = NOW + Duration::from_hours(2);
    for _ in 0..table.buckets().len() {
        let key = table.stale_key(later, &mut rng).expect("a stale bucket is left");
        table.touch(&key, later);
    }
    assert_eq!(table.stale_key(later, &mut rng), None);
}

#[test]
fn a_few_ids_made_for_it_cost_few_searches() {
    let own = ids(9, 1)[0];
    let beside = own.as_key().random_beside(20, &mut ChaCha8Rng::seed_from_u64(2));
    let mut table = table(own, 20);
    let mut rng = ChaCha8Rng::seed_from_u64(3);
    for n in 0..40 {
        let close = beside.random_near(155 - n % 5, &mut rng);
        table.insert(Contact::new(NodeId::new(*close.as_bytes()), address(n), NOW));
    }
    assert!(table.buckets().len() > 100, "{}", table.buckets().len());
    let mut searches = 0;
    while let Some(key) = table.stale_key(NOW, &mut rng) {
        searches += usize::from(!table.is_settled_at(&key));
        table.touch(&key, NOW);
    }
    assert!(searches <= 32, "{searches}");
}

#[test]
fn both_halves_of_a_bucket_are_searched_and_all_but_the_own_one_after_a_join() {
    let all = ids(8, 200);
    let (own, hour) = (all[0].as_key(), Duration::from_hours(1));
    let mut table = filled(all[0], 8, &all[1..]);
    let mut rng = ChaCha8Rng::seed_from_u64(1);
    for _ in 0..2 {
        for _ in 1..table.buckets().len() {
            assert_eq!(table.next_stale(hour), Some(Timestamp::default()));
            let key = table.stale_key(NOW, &mut rng).expect("a bucket is to be searched");
            assert_ne!(key, own);
            table.touch(&key, NOW);
        }
        assert_eq!(table.stale_key(NOW, &mut rng), None);
        assert_eq!(table.next_stale(hour), Some(NOW + hour));
        table.mark_all_unsearched();
    }
}

#[test]
fn those_about_the_own_id_are_asked_for_a_sign_of_life_twice_as_often() {
    let all = ids(9, 401);
    let own = all[400];
    let mut table = filled(own, 8, &all[..400]);
    let later = NOW + Duration::from_hours(2);
    let addresses: Vec<_> = table.contacts().map(|contact| contact.address).collect();
    for address in &addresses {
        table.answered(*address, later, None);
    }
    // A quarter, and half, of what lies between two hours and eight minutes: of their mean of 31
    // minutes.
    let is_due = |seconds| table.checks(later + Duration::from_secs(seconds)).0;
    assert!(is_due(464).is_empty());
    let soon = is_due(465);
    for contact in table.closest(&own.as_key(), 4, |_| true) {
        assert!(soon.contains(&contact.address));
    }
    let far = table.contacts().filter(|contact| own.distance(&contact.id).common_bits() == 0);
    assert!(far.map(|contact| contact.address).all(|address| !soon.contains(&address)));
    assert_eq!(is_due(929).len(), soon.len());
    assert_eq!(is_due(930).len(), addresses.len(), "and each has its turn");
}

#[test]
fn the_young_are_asked_sooner_and_nobody_later_than_after_half_an_hour() {
    let all = ids(10, 2);
    let mut table = filled(all[0], 8, &all[1..]);
    let address = table.contacts().next().unwrap().address;
    let mut now = NOW;
    let mut waits = Vec::new();
    while now < NOW + Duration::from_hours(400) {
        let next = table.checks(now).1.expect("it has its turn");
        waits.push(next.since(now));
        now = next;
        table.answered(address, now, None);
    }
    assert!(waits.is_sorted(), "{waits:?}");
    let [first, second] = [waits[0], waits[1]];
    assert_eq!((first, second), (Duration::from_secs(30), Duration::from_mins(2)));
    assert_eq!(waits.last(), Some(&Duration::from_mins(30)));
}

#[test]
fn where_many_are_found_to_have_left_the_others_are_asked_more_often_until_they_stay() {
    let all = ids(11, 401);
    let mut table = filled(all[400], 20, &all[..400]);
    let addresses: Vec<_> = table.contacts().map(|contact| contact.address).collect();
    let (staying, leaving) = addresses.split_at(addresses.len() / 2);
    // For how long the first is taken to be there, after all that stay have answered.
    let sure = |table: &mut RoutingTable, hours| {
        let now = NOW + Duration::from_hours(hours);
        for address in staying.iter().rev() {
            table.answered(*address, now, None);
        }
        table.at(staying[0]).unwrap().check_at().since(now)
    };
    let calm = sure(&mut table, 2);
    for address in &leaving[..20] {
        for failure in 1..=MAX_FAILURES {
            let at = NOW + Duration::from_hours(2) + Duration::from_secs(6) * failure;
            table.failed(*address, at, at);
        }
        assert!(table.at(*address).is_none());
    }
    let soon = NOW + Duration::from_hours(2) + Duration::from_mins(1);
    table.answered(staying[0], soon, None);
    let alarmed = table.at(staying[0]).unwrap().check_at().since(soon);
    assert_eq!(alarmed.as_secs(), calm.as_secs() / 8);
    sure(&mut table, 3);
    assert!(sure(&mut table, 4) >= calm, "and calms down");
}

#[test]
fn nobody_is_asked_twice_within_half_a_minute_however_many_leave() {
    let all = ids(12, 40);
    let mut table = filled(all[39], 40, &all[..39]);
    for n in 1..39 {
        for second in [10, 20, 30] {
            fail(&mut table, address(n), second);
        }
    }
    assert_eq!(table.len(), 1);
    let now = NOW + Duration::from_secs(30);
    table.answered(address(0), now, None);
    assert_eq!(table.checks(now).1, Some(now + Duration::from_secs(30)));
}
