//! Many ids at one address, or in one network, against a lookup: how many of them count.

use super::*;
use crate::kademlia::Profile;

#[test]
fn where_somebody_has_answered_no_other_id_is_asked() {
    let mut lookup = lookup(Goal::Nodes, [8, 9]);
    while asked(lookup.next()).is_some() {}
    lookup.on_nodes(&peer(8).id, [peer(1)]);
    assert_eq!(asked(lookup.next()), Some(peer(1)));
    lookup.on_nodes(&peer(1).id, []);
    let lies = (2..6).map(|n| NodeEntry { address: peer(1).address, ..peer(n) });
    lookup.on_nodes(&peer(9).id, lies);
    assert_eq!(lookup.next(), Step::Done);
}

#[test]
fn of_sixty_ids_in_one_network_two_count_in_the_profile_public() {
    let settings = Settings { profile: Profile::Public, ..Settings::default() };
    // Each in a network of its own.
    let apart = |n: u32| {
        let ip = Ipv4Addr::from(0x0a00_0000 + 256 * n);
        NodeEntry { address: SocketAddrV4::new(ip, 8468), ..peer(n) }
    };
    let own = (1_000..1_010).map(apart);
    let mut lookup = Lookup::new(TARGET, Goal::Holders, OWN, &settings, None, own);
    while asked(lookup.next()).is_some() {}
    let crowded = |n: u32| {
        let ip = Ipv4Addr::new(192, 0, 2, n as u8);
        NodeEntry { address: SocketAddrV4::new(ip, 8468), ..peer(n) }
    };
    lookup.on_nodes(&peer(1_000).id, (1..=60).map(crowded));
    lookup.on_nodes(&peer(1_001).id, (100..=120).map(apart));
    lookup.on_nodes(&peer(1_002).id, []);
    answer_all(&mut lookup);
    let holders = lookup.holders();
    let of_net = holders.iter().filter(|holder| holder.address.ip().octets()[0] == 192).count();
    assert_eq!((of_net, holders.len()), (2, 20));
}
