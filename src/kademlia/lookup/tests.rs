//! Laws of a lookup, with peers that answer, lag, or don't exist.

mod places;

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use proptest::prelude::*;
use rand::seq::IndexedRandom;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::*;

const TARGET: Key = Key::new([0; 20]);
const OWN: NodeId = NodeId::new([0xff; 20]);

fn peer(n: u32) -> NodeEntry {
    let mut id = [0; 20];
    id[..4].copy_from_slice(&n.to_be_bytes());
    id[19] = 1;
    NodeEntry {
        id: NodeId::new(id),
        address: SocketAddrV4::new(Ipv4Addr::from(0x0a00_0000 + n), 8468),
    }
}

fn lookup(goal: Goal, seeds: impl IntoIterator<Item = u32>) -> Lookup {
    let settings = Settings::default();
    Lookup::new(TARGET, goal, OWN, &settings, None, seeds.into_iter().map(peer))
}

fn asked(step: Step) -> Option<NodeEntry> {
    match step {
        Step::AskNodes(entry) | Step::AskValues(entry) => Some(entry),
        Step::Meet(_) | Step::Prove(_) | Step::Wait | Step::Done => None,
    }
}

#[test]
fn three_at_once_and_a_straggler_frees_its_place() {
    let mut lookup = lookup(Goal::Nodes, 1..10);
    let first: Vec<_> = (0..3).filter_map(|_| asked(lookup.next())).collect();
    assert_eq!(first, [peer(1), peer(2), peer(3)], "nearest first");
    assert_eq!(lookup.next(), Step::Wait);
    lookup.on_slow(&peer(1).id);
    assert_eq!(lookup.next(), Step::AskNodes(peer(4)), "somebody else is asked beside it");
    assert_eq!(lookup.next(), Step::AskNodes(peer(5)), "and one more: others may be silent, too");
    assert_eq!(lookup.next(), Step::Wait);
}

#[test]
fn five_of_those_to_be_met_say_whom_they_know_and_the_others_only_that_they_are_there() {
    let mut lookup = lookup(Goal::Contacts, 1..10);
    for n in 1..=6 {
        assert_eq!(lookup.next(), Step::AskNodes(peer(n)));
        if n == 2 {
            lookup.on_gone(&peer(2).id);
        } else {
            lookup.on_nodes(&peer(n).id, []);
        }
    }
    for n in 7..10 {
        assert_eq!(lookup.next(), Step::Meet(peer(n)));
        lookup.on_met(&peer(n).id);
    }
    assert_eq!(lookup.next(), Step::Done);
    let met: Vec<_> = [1, 3, 4, 5, 6, 7, 8, 9].map(peer).into();
    assert_eq!(lookup.answered().collect::<Vec<_>>(), met);
}

#[test]
fn where_tellers_turn_out_to_be_silent_those_that_were_met_are_asked_after_all() {
    let mut lookup = lookup(Goal::Contacts, 1..10);
    for n in 1..=3 {
        assert_eq!(lookup.next(), Step::AskNodes(peer(n)));
    }
    for n in 1..=3 {
        lookup.on_nodes(&peer(n).id, []);
    }
    assert_eq!(lookup.next(), Step::AskNodes(peer(4)));
    assert_eq!(lookup.next(), Step::AskNodes(peer(5)));
    for n in 6..10 {
        assert_eq!(lookup.next(), Step::Meet(peer(n)));
        lookup.on_met(&peer(n).id);
    }
    for n in 4..6 {
        lookup.on_gone(&peer(n).id);
    }
    for n in 6..8 {
        assert_eq!(lookup.next(), Step::AskNodes(peer(n)));
        assert_eq!(lookup.next(), Step::Wait);
        lookup.on_nodes(&peer(n).id, []);
    }
    assert_eq!(lookup.next(), Step::Done);
}

#[test]
fn own_contacts_say_whom_they_know_though_one_of_them_names_enough_who_are_nearer() {
    let own = || (1..=6).map(|n| 100 * n);
    let mut lookup = lookup(Goal::Contacts, own());
    let mut told = Vec::new();
    loop {
        match lookup.next() {
            Step::AskNodes(entry) => {
                let named = if entry == peer(100) { 1..=25 } else { 0..=0 };
                lookup.on_nodes(&entry.id, named.filter(|n| *n > 0).map(peer));
                told.push(entry);
            }
            Step::Meet(entry) => lookup.on_met(&entry.id),
            Step::Done => break,
            other => panic!("{other:?}"),
        }
    }
    let own = own().filter(|n| told.contains(&peer(*n))).count();
    assert_eq!(own, choice::TELLERS);
    assert_eq!(told.len() - own, choice::TELLERS, "and of those that they named");
}

#[test]
fn it_does_not_end_before_the_straggler_is_given_up_and_takes_its_late_answer() {
    let mut lookup = lookup(Goal::Nodes, 1..3);
    while asked(lookup.next()).is_some() {}
    lookup.on_nodes(&peer(2).id, []);
    lookup.on_slow(&peer(1).id);
    assert_eq!(lookup.next(), Step::Wait);
    lookup.on_gone(&peer(1).id);
    assert_eq!(lookup.next(), Step::Done);
    lookup.on_nodes(&peer(1).id, [peer(5)]);
    assert_eq!(lookup.answered().collect::<Vec<_>>(), [peer(1), peer(2)]);
}

#[test]
fn when_the_nearest_contacts_are_all_silent_those_farther_away_are_asked() {
    let mut lookup = lookup(Goal::Values, (1..=60).rev());
    let mut questions = Vec::new();
    while let Some(entry) = asked(lookup.next()) {
        questions.push(entry);
        if entry.address.ip().octets()[3] <= 40 {
            lookup.on_slow(&entry.id);
            lookup.on_gone(&entry.id);
        } else {
            lookup.on_nodes(&entry.id, []);
        }
    }
    let paths = u32::try_from(Settings::default().paths).unwrap();
    assert_eq!(questions, (1..=40 + paths).map(peer).collect::<Vec<_>>());
}

#[test]
fn an_own_contact_is_asked_where_the_own_table_has_it_whatever_was_said_before() {
    let mut lookup = lookup(Goal::Nodes, [5]);
    assert_eq!(lookup.next(), Step::AskNodes(peer(5)));
    lookup.on_nodes(&peer(5).id, [NodeEntry { id: peer(7).id, address: peer(1_000).address }]);
    lookup.on_found(peer(7));
    assert_eq!(lookup.next(), Step::AskNodes(peer(7)));
    assert_eq!(lookup.hop(&peer(7).id), 1);
}

#[test]
fn one_holder_is_not_enough_and_holders_are_asked_for_the_nodes_they_know() {
    let mut lookup = lookup(Goal::Values, [1, 2]);
    assert_eq!(lookup.next(), Step::AskValues(peer(1)));
    assert_eq!(lookup.next(), Step::AskValues(peer(2)));
    lookup.on_values(&peer(1).id);
    lookup.on_values(&peer(2).id);
    assert_eq!(lookup.next(), Step::AskNodes(peer(1)), "who else is there?");
    lookup.on_nodes(&peer(1).id, [peer(3)]);
    assert_eq!(lookup.next(), Step::AskValues(peer(3)));
    lookup.on_nodes(&peer(3).id, []);
    assert_eq!(lookup.next(), Step::AskNodes(peer(2)));
    lookup.on_gone(&peer(2).id);
    assert_eq!(lookup.next(), Step::Prove(peer(3)), "is it really that near?");
    assert_eq!(lookup.next(), Step::Wait);
    lookup.on_proof(&peer(3).id, None);
    assert_eq!(lookup.next(), Step::Done);
    assert_eq!(lookup.nearest_without_values(), Some(peer(3)));
    assert_eq!(lookup.answered().count(), 3, "a holder that kept its nodes to itself still counts");
}

#[test]
fn eight_of_the_nearest_that_hold_values_are_enough() {
    let mut lookup = lookup(Goal::Values, 1..21);
    let mut answers = 0;
    while let Some(entry) = asked(lookup.next()) {
        lookup.on_values(&entry.id);
        answers += 1;
    }
    assert_eq!((answers, lookup.next()), (8, Step::Done));
}

#[test]
fn a_victim_named_under_many_ids_is_asked_once() {
    let victim = peer(0).address;
    let mut lookup = lookup(Goal::Nodes, []);
    lookup.on_found(peer(9));
    assert_eq!(lookup.next(), Step::AskNodes(peer(9)));
    let lies = (1..9).map(|n| NodeEntry { address: victim, ..peer(n) });
    lookup.on_nodes(&peer(9).id, lies);
    let mut datagrams = 0;
    while let Some(entry) = asked(lookup.next()) {
        assert_eq!(entry.address, victim);
        lookup.on_gone(&entry.id);
        datagrams += 1;
    }
    assert_eq!(datagrams, 1);
}

#[test]
fn what_it_remembers_is_bounded() {
    let mut lookup = lookup(Goal::Nodes, []);
    for n in 0..2_000 {
        lookup.on_found(peer(4_000 - n));
    }
    assert_eq!(lookup.candidates.len(), MAX_CANDIDATES);
    assert!(lookup.taken.len() <= MAX_CANDIDATES);
    assert_eq!(lookup.next(), Step::AskNodes(peer(2_001)), "the nearest were kept");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// Peers know their neighbours; some are dead, all answer in any order and at any pace. All say whom
    /// they know, or five do.
    #[test]
    fn it_always_ends_with_the_nearest_that_live(seed: u64, count in 30usize..200, dead in 0.0..0.4, meets: bool) {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let peers: Vec<NodeEntry> = (0..count).map(|n| peer(n as u32 + 1)).collect();
        let lives: BTreeMap<_, _> =
            peers.iter().map(|peer| (peer.id, !rng.random_bool(dead))).collect();
        let seeds: Vec<_> = peers.iter().filter(|p| lives[&p.id]).take(150).collect();
        prop_assume!(!seeds.is_empty());
        let mut lookup = lookup(if meets { Goal::Contacts } else { Goal::Nodes }, []);
        for _ in 0..3 {
            lookup.on_found(**seeds.choose(&mut rng).unwrap());
        }
        let mut waiting: Vec<(NodeEntry, bool)> = Vec::new();
        let (mut steps, mut told) = (0, BTreeSet::new());
        loop {
            steps += 1;
            prop_assert!(steps < 10_000, "it ends");
            match lookup.next() {
                Step::AskNodes(entry) => {
                    waiting.push((entry, true));
                }
                Step::Meet(entry) => waiting.push((entry, false)),
                Step::AskValues(_) | Step::Prove(_) => prop_assert!(false, "nobody wants values"),
                Step::Done => break,
                Step::Wait => {
                    prop_assert!(!waiting.is_empty(), "it waits for nobody");
                    let at = rng.random_range(0..waiting.len());
                    let (entry, tells) = waiting[at];
                    if rng.random_bool(0.3) {
                        lookup.on_slow(&entry.id);
                    } else {
                        waiting.remove(at);
                        if lives[&entry.id] && !tells {
                            lookup.on_met(&entry.id);
                        } else if lives[&entry.id] {
                            told.insert(entry.id);
                            // The 20 nearest to the target that it may know, and a few others.
                            let known = peers.iter().take(20).copied();
                            lookup.on_nodes(&entry.id, known.chain(peers.choose(&mut rng).copied()));
                        } else {
                            lookup.on_gone(&entry.id);
                        }
                    }
                }
            }
        }
        let nearest_living: Vec<_> =
            peers.iter().take(20).filter(|peer| lives[&peer.id]).copied().collect();
        let answered: Vec<_> = lookup.answered().take(nearest_living.len()).collect();
        let all_told = answered.iter().all(|peer| told.contains(&peer.id));
        let enough_told = all_told || meets && told.len() >= choice::TELLERS;
        prop_assert!(enough_told, "{} were asked whom they know", told.len());
        prop_assert_eq!(answered, nearest_living);
    }
}

#[test]
fn a_node_named_under_a_far_id_is_not_hidden_by_that() {
    let mut lookup = lookup(Goal::Nodes, [100, 101]);
    while asked(lookup.next()).is_some() {}
    let far = |n| NodeEntry { address: peer(n).address, ..peer(5_000 + n) };
    // A liar answers first; all it names is nearer than the rest that is known.
    lookup.on_nodes(&peer(100).id, (1..=20).map(far));
    lookup.on_nodes(&peer(101).id, (1..=20).map(peer));
    let mut questions = Vec::new();
    while let Some(entry) = asked(lookup.next()) {
        questions.push(entry);
        lookup.on_nodes(&entry.id, []);
    }
    questions.sort();
    assert_eq!(questions, (1..=20).map(peer).collect::<Vec<_>>(), "each once, by its own id");
    // And who is known by its own word needs nobody else's.
    let settings = Settings::default();
    let mut lookup = Lookup::new(TARGET, Goal::Nodes, OWN, &settings, None, [peer(7), peer(8)]);
    assert_eq!(asked(lookup.next()), Some(peer(7)));
    lookup.on_nodes(&peer(7).id, [NodeEntry { address: peer(8).address, ..peer(1) }]);
    assert_eq!(asked(lookup.next()), Some(peer(8)));
}

#[test]
fn a_node_named_at_a_false_address_is_asked_at_the_other_it_was_named_at() {
    for honest_comes in ["before", "after"] {
        let mut lookup = lookup(Goal::Nodes, [100, 101, 102]);
        while asked(lookup.next()).is_some() {}
        let lie = NodeEntry { address: peer(7).address, ..peer(1) };
        lookup.on_nodes(&peer(100).id, [lie]);
        if honest_comes == "before" {
            lookup.on_nodes(&peer(101).id, [peer(1)]);
        }
        assert_eq!(asked(lookup.next()), Some(lie));
        lookup.on_gone(&lie.id);
        if honest_comes == "after" {
            lookup.on_nodes(&peer(101).id, [lie, peer(1)]);
        }
        assert_eq!(asked(lookup.next()), Some(peer(1)), "the truth came {honest_comes}");
        lookup.on_gone(&peer(1).id);
        lookup.on_nodes(&peer(102).id, []);
        lookup.on_nodes(&peer(101).id, [lie, peer(1)]);
        assert_eq!(lookup.next(), Step::Done, "nobody is asked twice at one address");
    }
}

#[test]
fn it_ends_however_long_liars_lead_it_on() {
    let mut lookup = lookup(Goal::Nodes, [4_000_000]);
    let mut questions = 0;
    while let Some(entry) = asked(lookup.next()) {
        questions += 1;
        let nearer = (0..20).map(|n| peer(3_900_000 - questions * 20 - n));
        lookup.on_nodes(&entry.id, nearer);
    }
    assert_eq!((questions, lookup.next()), (256, Step::Done));
}

/// Another peer at the address of the first, on that port.
fn beside(n: u32, port: u16) -> NodeEntry {
    let entry = peer(n);
    NodeEntry { address: SocketAddrV4::new(Ipv4Addr::new(12, 0, 0, 1), port), ..entry }
}

#[test]
fn of_an_ip_that_others_named_one_is_asked_at_a_time_until_somebody_there_answers() {
    let named: Vec<_> = (1..=9).map(|n| beside(n, n as u16)).collect();
    let mut lookup = lookup(Goal::Nodes, [20]);
    assert_eq!(asked(lookup.next()), Some(peer(20)));
    lookup.on_nodes(&peer(20).id, named.clone());
    assert_eq!(asked(lookup.next()), Some(named[0]));
    assert_eq!(lookup.next(), Step::Wait);
    lookup.on_slow(&named[0].id);
    assert!(!lookup.repeats(&named[0].id), "another there tells more than the same one again");
    assert_eq!(lookup.next(), Step::Wait, "late is not silent");
    lookup.on_gone(&named[0].id);
    assert_eq!(asked(lookup.next()), Some(named[1]), "one of them may just have gone");
    assert_eq!(lookup.next(), Step::Wait);
    let mut with_answer = lookup.clone();
    with_answer.on_nodes(&named[1].id, []);
    assert_eq!(asked(with_answer.next()), Some(named[2]), "somebody lives there");
    assert_eq!(with_answer.next(), Step::Wait, "with one more in vain that is enough");
    with_answer.on_gone(&named[2].id);
    assert_eq!(with_answer.next(), Step::Done, "also where somebody lives");
    lookup.on_gone(&named[1].id);
    assert_eq!(lookup.next(), Step::Done, "two lies are enough");
    lookup.on_nodes(&peer(20).id, [beside(10, 10)]);
    assert_eq!(lookup.next(), Step::Done);
}

#[test]
fn a_stranger_alone_at_its_ip_is_sent_its_question_twice() {
    let named = beside(1, 1);
    let mut lookup = lookup(Goal::Nodes, [20]);
    assert_eq!(asked(lookup.next()), Some(peer(20)));
    assert!(lookup.repeats(&peer(20).id), "the own table knows it");
    lookup.on_nodes(&peer(20).id, [named]);
    assert_eq!(asked(lookup.next()), Some(named));
    lookup.on_slow(&named.id);
    assert!(lookup.repeats(&named.id));
    assert!(!lookup.repeats(&named.id));
    lookup.on_nodes(&peer(20).id, [beside(2, 2)]);
    lookup.on_gone(&named.id);
    assert_eq!(lookup.next(), Step::Done, "two datagrams in vain are enough");
}

#[test]
fn where_a_node_lives_two_others_are_asked_at_once_until_two_are_silent() {
    let named: Vec<_> = (1..=9).map(|n| beside(n, n as u16)).collect();
    let mut lookup = lookup(Goal::Nodes, [20]);
    assert_eq!(asked(lookup.next()), Some(peer(20)));
    lookup.on_nodes(&peer(20).id, named.clone());
    assert_eq!(asked(lookup.next()), Some(named[0]));
    lookup.on_nodes(&named[0].id, []);
    assert_eq!(asked(lookup.next()), Some(named[1]));
    assert_eq!(asked(lookup.next()), Some(named[2]));
    assert_eq!(lookup.next(), Step::Wait);
    lookup.on_nodes(&named[1].id, []);
    assert_eq!(asked(lookup.next()), Some(named[3]));
    lookup.on_gone(&named[2].id);
    lookup.on_gone(&named[3].id);
    assert_eq!(lookup.next(), Step::Done);
}

#[test]
fn whom_the_own_table_knows_has_no_need_to_prove_its_ip() {
    let settings = Settings::default();
    let seeds: Vec<_> = (1..=9).map(|n| beside(n, n as u16)).collect();
    let mut lookup = Lookup::new(TARGET, Goal::Nodes, OWN, &settings, None, seeds.clone());
    let first: Vec<_> = (0..3).filter_map(|_| asked(lookup.next())).collect();
    assert_eq!(first, seeds[..3]);
}

fn answer_all(lookup: &mut Lookup) {
    loop {
        match lookup.next() {
            Step::Prove(entry) => lookup.on_proof(&entry.id, Some(entry)),
            step => match asked(step) {
                Some(entry) => lookup.on_nodes(&entry.id, []),
                None => break,
            },
        }
    }
}

#[test]
fn an_id_that_is_somebody_elses_gets_nobody_a_place() {
    let mut lookup = lookup(Goal::Holders, [100]);
    assert_eq!(asked(lookup.next()), Some(peer(100)));
    // A liar names a true node's address under a nearer id; an honest one comes too late.
    let lie = NodeEntry { address: peer(30).address, ..peer(1) };
    lookup.on_nodes(&peer(100).id, [lie]);
    assert_eq!(asked(lookup.next()), Some(lie));
    lookup.on_nodes(&lie.id, [peer(30)]);
    assert_eq!(lookup.next(), Step::Prove(lie));
    lookup.on_proof(&lie.id, Some(peer(30)));
    assert_eq!(lookup.next(), Step::Done);
    assert_eq!(lookup.holders(), [peer(30), peer(100)], "it has the place that is its own");
}

#[test]
fn a_false_id_is_found_out_before_its_question_is_answered_and_hangs_nothing() {
    let mut lookup = lookup(Goal::Holders, [100]);
    assert_eq!(asked(lookup.next()), Some(peer(100)));
    let lie = NodeEntry { address: peer(30).address, ..peer(1) };
    lookup.on_nodes(&peer(100).id, [lie]);
    assert_eq!(asked(lookup.next()), Some(lie));
    lookup.on_proof(&lie.id, Some(peer(30)));
    assert_eq!(lookup.next(), Step::Wait);
    lookup.on_nodes(&lie.id, [lie, peer(40)]);
    assert_eq!(asked(lookup.next()), Some(peer(40)), "what it named counts");
}

#[test]
fn whoever_says_to_be_this_node_or_one_that_is_known_keeps_nobody_at_its_ip_waiting() {
    let at = |port| SocketAddrV4::new(Ipv4Addr::new(10, 9, 9, 9), port);
    for id in [OWN, peer(100).id] {
        let mut lookup = lookup(Goal::Contacts, [100]);
        assert_eq!(lookup.next(), Step::AskNodes(peer(100)));
        let named = [1, 2].map(|n| NodeEntry { address: at(n as u16), ..peer(n) });
        lookup.on_nodes(&peer(100).id, named);
        assert_eq!(lookup.next(), Step::AskNodes(named[0]));
        assert_eq!(lookup.next(), Step::Wait, "one at a time, while nobody is known to live there");
        lookup.on_proof(&named[0].id, Some(NodeEntry { id, address: at(1) }));
        lookup.on_nodes(&named[0].id, []);
        assert_eq!(lookup.next(), Step::AskNodes(named[1]));
        lookup.on_nodes(&named[1].id, []);
        assert_eq!(lookup.next(), Step::Done);
    }
}

#[test]
fn whoever_says_to_be_another_does_not_take_its_place() {
    let mut lookup = lookup(Goal::Holders, [3, 100]);
    assert_eq!(asked(lookup.next()), Some(peer(3)));
    assert_eq!(asked(lookup.next()), Some(peer(100)));
    // It lies about itself: it is the nearest, whose answer is still to come.
    let lie = NodeEntry { address: peer(100).address, ..peer(3) };
    lookup.on_proof(&peer(100).id, Some(lie));
    lookup.on_nodes(&peer(100).id, []);
    assert_eq!(lookup.next(), Step::Wait);
    lookup.on_nodes(&peer(3).id, []);
    assert_eq!(lookup.next(), Step::Done);
    assert_eq!(lookup.holders(), [peer(3)], "at its own address, and nobody else");
}

#[test]
fn whoever_names_nonsense_is_not_believed_in_the_end() {
    let mut lookup = lookup(Goal::Nodes, [4_000, 5_000]);
    while asked(lookup.next()).is_some() {}
    lookup.on_nodes(&peer(4_000).id, (1..=20).map(peer));
    let mut wasted = 0;
    while let Some(entry) = asked(lookup.next()) {
        lookup.on_gone(&entry.id);
        wasted += 1;
    }
    assert!(wasted < 8, "{wasted} of 20 in vain");
    lookup.on_nodes(&peer(5_000).id, [peer(15)]);
    assert_eq!(asked(lookup.next()), Some(peer(15)), "but others' word counts");
}

/// Two peers have named eight, and twenty that are nearer, of whom three are being asked.
fn with_twenty_named_by_one(goal: Goal) -> Lookup {
    let mut lookup = lookup(goal, [30, 31]);
    assert_eq!(asked(lookup.next()), Some(peer(30)));
    assert_eq!(asked(lookup.next()), Some(peer(31)));
    lookup.on_nodes(&peer(31).id, (21..=28).map(peer));
    lookup.on_nodes(&peer(30).id, (1..=20).map(peer));
    let first: Vec<_> = std::iter::from_fn(|| asked(lookup.next())).collect();
    assert_eq!(first, [peer(1), peer(2), peer(3)]);
    lookup
}

#[test]
fn whom_one_names_of_whose_others_none_answers_is_asked_after_all_others() {
    let mut lookup = with_twenty_named_by_one(Goal::Nodes);
    lookup.on_slow(&peer(1).id);
    assert_eq!(asked(lookup.next()), Some(peer(21)));
    lookup.on_nodes(&peer(2).id, []);
    assert_eq!(asked(lookup.next()), Some(peer(4)), "one of them is there");
}

#[test]
fn who_names_nobody_that_answers_keeps_nobody_waiting_who_has_enough_holders() {
    let mut lookup = with_twenty_named_by_one(Goal::Values);
    for n in 21..=28 {
        lookup.on_found(peer(n));
        lookup.on_values(&peer(n).id);
    }
    assert_eq!(lookup.next(), Step::Wait, "they may be nearer than all others");
    let mut answers = lookup.clone();
    lookup.on_slow(&peer(1).id);
    assert_eq!(lookup.next(), Step::Done);
    // Where one of them does answer, the others are waited for.
    answers.on_nodes(&peer(2).id, []);
    answers.on_slow(&peer(1).id);
    assert!(asked(answers.next()).is_some());
}

#[test]
fn of_sixty_ids_on_one_ip_eight_count() {
    let mut lookup = lookup(Goal::Holders, 1_000..1_010);
    while asked(lookup.next()).is_some() {}
    lookup.on_nodes(&peer(1_000).id, (1..=60).map(|n| beside(n, n as u16)));
    lookup.on_nodes(&peer(1_001).id, (100..=120).map(peer));
    lookup.on_nodes(&peer(1_002).id, []);
    answer_all(&mut lookup);
    let machine = beside(1, 1).address;
    let of_machine =
        lookup.holders().iter().filter(|holder| holder.address.ip() == machine.ip()).count();
    assert_eq!((of_machine, lookup.holders().len()), (8, 20));
}

#[test]
fn own_contacts_are_heard_though_strangers_name_one_another_as_nearer() {
    let mut lookup = lookup(Goal::Nodes, (0..20).map(|n| 5_000 + n));
    while asked(lookup.next()).is_some() {}
    let gang = || (1..=20).map(peer);
    for n in 0..3 {
        lookup.on_nodes(&peer(5_000 + n).id, gang());
    }
    let mut own = 3;
    while let Some(entry) = asked(lookup.next()) {
        own += usize::from(entry.id >= peer(5_000).id);
        lookup.on_nodes(&entry.id, gang());
    }
    assert_eq!(own, Settings::default().paths);
    // Where they lie farther apart than the own neighbours, all are.
    let reach = Some(TARGET.distance(&peer(5).id));
    let seeds = (0..20).map(|n| peer(5_000 + n));
    let settings = Settings::default();
    let mut lookup = Lookup::new(TARGET, Goal::Nodes, OWN, &settings, reach, seeds);
    let mut own = 0;
    while let Some(entry) = asked(lookup.next()) {
        own += usize::from(entry.id >= peer(5_000).id);
        lookup.on_nodes(&entry.id, gang());
    }
    assert_eq!(own, 20);
}

#[test]
fn who_lies_as_near_as_the_k_nearest_should_counts_beside_them_up_to_twice_k() {
    let count = |reach: u32| {
        let reach = Some(TARGET.distance(&peer(reach).id));
        let settings = Settings::default();
        let mut lookup = Lookup::new(TARGET, Goal::Holders, OWN, &settings, reach, []);
        (1..=60).map(peer).for_each(|entry| lookup.on_found(entry));
        answer_all(&mut lookup);
        lookup.holders().len()
    };
    assert_eq!([count(1), count(30), count(60)], [20, 30, 40]);
}

#[test]
fn the_address_that_most_name_is_tried_first_after_the_false_one() {
    let mut lookup = lookup(Goal::Nodes, 100..110);
    while asked(lookup.next()).is_some() {}
    lookup.on_slow(&peer(101).id);
    let lie = |n: u32| NodeEntry { address: peer(500 + n).address, ..peer(1) };
    lookup.on_nodes(&peer(100).id, [lie(0), lie(1), lie(2), lie(3), lie(4)]);
    lookup.on_nodes(&peer(101).id, [peer(1)]);
    lookup.on_nodes(&peer(102).id, [peer(1)]);
    let mut tried = Vec::new();
    while let Some(entry) = asked(lookup.next()) {
        if entry.id == peer(1).id {
            tried.push(entry.address);
            lookup.on_gone(&entry.id);
        } else {
            lookup.on_nodes(&entry.id, []);
        }
    }
    assert_eq!(tried[..2], [lie(0).address, peer(1).address]);
}
