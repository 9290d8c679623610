//! Audits, event by event: who is asked what, what is repaired, and what is said of it.

use super::*;
use crate::kademlia::lookup::Goal;
use crate::kademlia::{Key, Settings};

const NOW: Timestamp = Timestamp::from_micros(1_000_000_000);
const KEY: Key = Key::new([0; 20]);
const OWN: NodeId = NodeId::new([9; 20]);

fn entry(n: u8) -> NodeEntry {
    NodeEntry { id: id(n), address: SocketAddrV4::new([10, 0, 0, n].into(), 1) }
}

fn id(n: u8) -> NodeId {
    NodeId::new([n; 20])
}

fn text(value: &str) -> Value {
    Value::Text(value.to_owned())
}

fn hours(n: u64) -> Duration {
    Duration::from_hours(n)
}

/// An audit whose search is over: three nodes have been asked what they hold.
struct Subject {
    audit: Audit,
    acts: Vec<Act>,
}

impl Subject {
    fn new(dialect: Dialect, repairs: bool) -> Self {
        let seeds = [entry(1), entry(2), entry(3)];
        let settings = Settings { dialect, ..Settings::default() };
        let lookup = Lookup::new(KEY, Goal::Holders, OWN, &settings, None, seeds);
        let mut acts = Vec::new();
        let audit = Audit::start(lookup, OWN, (settings.k, dialect), repairs, NOW, &mut acts);
        let mut subject = Self { audit, acts };
        subject.hears(OpEvent::Disk(StoreReply::Values(Vec::new())));
        for n in 1..=3 {
            subject.hears(OpEvent::Nodes { from: id(n), nodes: Vec::new() });
        }
        let asked = |act: &&Act| matches!(act, Act::FindValue(_));
        assert_eq!(subject.acts.iter().filter(asked).count(), 3);
        subject.acts.clear();
        subject
    }

    fn hears(&mut self, event: OpEvent) {
        self.audit.handle(NOW + Duration::from_millis(20), event, &mut self.acts);
    }

    /// It leaves a question unanswered.
    fn expires(&mut self, n: u8) {
        self.hears(OpEvent::Expired { from: id(n), at: entry(n).address });
    }

    /// A page of what a node holds, of so many values in all.
    fn page(&mut self, n: u8, skip: u64, total: u64, claims: Vec<Claim>) {
        let count = claims.len() as u64;
        let page = PageOf { skip, count, total, claims, nodes: Vec::new() };
        self.hears(OpEvent::Page { from: id(n), page });
    }

    fn plain(&mut self, n: u8, values: &[&str]) {
        let values = values.iter().map(|value| text(value)).collect();
        self.hears(OpEvent::Values { from: id(n), values });
    }

    fn holds_nothing(&mut self, n: u8) {
        self.page(n, 0, 0, Vec::new());
    }

    fn is_stored(&mut self, n: u8, accepted: bool) {
        self.hears(OpEvent::Stored { from: id(n), accepted, count: 1, token: None });
    }

    /// The own store says which of the values that were found were taken back.
    fn sorts(&mut self, is_taken_back: impl Fn(&Claim) -> bool) {
        let asked = self.acts.iter().find_map(|act| match act {
            Act::Disk(StoreRequest::TakenBack { claims, .. }) => Some(claims.clone()),
            _ => None,
        });
        let Some(claims) = asked else { return };
        self.acts.clear();
        let taken_back = claims.iter().map(is_taken_back).collect();
        self.hears(OpEvent::Disk(StoreReply::TakenBack(taken_back)));
    }

    /// To whom what has been sent since this was last asked.
    fn sent(&mut self) -> Vec<(NodeId, Claim)> {
        self.sorts(|_| false);
        let stores = self.acts.drain(..).filter_map(|act| match act {
            Act::Store { to, claims, awaited: true, .. } => Some((to.id, claims[0].clone())),
            _ => None,
        });
        stores.collect()
    }

    fn outcome(&mut self) -> Vec<Audited> {
        self.sorts(|_| false);
        match self.acts.pop() {
            Some(Act::Finish(Outcome::Audited { nodes, .. })) => nodes,
            other => panic!("{other:?}"),
        }
    }
}

fn claim(value: &str, publisher: Publisher, age: Duration) -> Claim {
    Claim { value: text(value), publisher, age, born: age + hours(1) }
}

fn published() -> Publisher {
    Publisher::Other(SocketAddrV4::new([10, 0, 0, 200].into(), 1))
}

#[test]
fn what_one_lacks_and_another_has_is_stored_there_with_its_publisher_and_age() {
    let mut subject = Subject::new(Dialect::List, true);
    subject.page(1, 0, 1, vec![claim("v", published(), hours(3))]);
    subject.holds_nothing(2);
    subject.holds_nothing(3);
    let sent = subject.sent();
    let told = claim("v", published(), hours(3));
    assert_eq!(sent, [(id(2), told.clone()), (id(3), told)]);
    subject.is_stored(2, true);
    subject.is_stored(3, false);
    let nodes = subject.outcome();
    let repaired: Vec<_> = nodes.iter().map(|node| (node.repaired, node.refused)).collect();
    assert_eq!(repaired, [(0, 0), (1, 0), (0, 1), (0, 0)], "the last is this node");
    let held = &nodes[0].holds.as_ref().unwrap()[0];
    assert_eq!((held.age, held.expires_in), (Some(hours(4)), Some(hours(33))));
    assert!(nodes[0].round_trip.is_some() && nodes[3].round_trip.is_none());
}

#[test]
fn without_repairs_nothing_is_stored_and_who_is_silent_is_said_to_be() {
    let mut subject = Subject::new(Dialect::List, false);
    subject.page(1, 0, 1, vec![claim("v", Publisher::Unknown, hours(24))]);
    subject.holds_nothing(2);
    subject.hears(OpEvent::Gone { from: id(3) });
    subject.expires(3);
    let nodes = subject.outcome();
    assert!(subject.sent().is_empty());
    let holds: Vec<_> = nodes.iter().map(|it| it.holds.as_ref().map(Vec::len)).collect();
    assert_eq!(holds, [Some(1), Some(0), None, Some(0)]);
    let left = nodes[0].holds.as_ref().unwrap()[0].expires_in;
    assert_eq!(left, Some(hours(6 * 24)));
}

#[test]
fn that_a_nodes_old_address_is_silent_says_nothing_of_the_node() {
    let mut subject = Subject::new(Dialect::List, false);
    subject.holds_nothing(1);
    subject.holds_nothing(2);
    subject.hears(OpEvent::Expired { from: id(3), at: entry(30).address });
    subject.plain(3, &["v"]);
    let holds: Vec<_> = subject.outcome().iter().map(|it| it.holds.is_some()).collect();
    assert_eq!(holds, [true, true, true, true]);
}

#[test]
fn a_full_holder_is_read_page_by_page() {
    let mut subject = Subject::new(Dialect::List, false);
    subject.holds_nothing(2);
    subject.holds_nothing(3);
    subject.page(1, 0, 3, vec![claim("a", published(), hours(1))]);
    assert_eq!(subject.acts, [Act::Page { to: entry(1), skip: 1 }]);
    subject.page(1, 1, 3, vec![claim("b", published(), hours(1))]);
    subject.hears(OpEvent::PageGone { from: id(1) });
    let holds = subject.outcome().remove(0).holds.unwrap();
    assert_eq!(holds.len(), 2, "what came before it fell silent");
}

#[test]
fn who_answers_in_both_ways_holds_each_value_once() {
    let mut subject = Subject::new(Dialect::List, false);
    subject.plain(1, &["v"]);
    subject.page(1, 0, 1, vec![claim("v", published(), hours(1))]);
    subject.page(2, 0, 1, vec![claim("v", published(), hours(1))]);
    subject.plain(2, &["v"]);
    subject.holds_nothing(3);
    for node in subject.outcome().iter().take(2) {
        let holds = node.holds.as_ref().unwrap();
        assert_eq!(holds.len(), 1, "{holds:?}");
        assert_eq!(holds[0].age, Some(hours(2)), "the better answer counts");
    }
}

#[test]
fn a_late_answer_counts_and_a_late_acknowledgement_does() {
    let mut subject = Subject::new(Dialect::List, true);
    subject.page(1, 0, 1, vec![claim("v", published(), hours(1))]);
    subject.holds_nothing(2);
    // Asked in two ways, it has not answered in the better one.
    subject.hears(OpEvent::Gone { from: id(3) });
    subject.plain(3, &["v"]);
    assert_eq!(subject.sent().len(), 1);
    subject.hears(OpEvent::Gone { from: id(2) });
    subject.is_stored(2, true);
    let nodes = subject.outcome();
    assert_eq!((nodes[1].repaired, nodes[1].refused), (1, 0));
    assert!(nodes[2].holds.is_some());
}

#[test]
fn who_falls_silent_while_it_is_repaired_ends_the_audit_with_what_it_did_not_take() {
    let mut subject = Subject::new(Dialect::List, true);
    let two = vec![claim("a", published(), hours(1)), claim("b", published(), hours(1))];
    subject.page(1, 0, 2, two);
    subject.holds_nothing(2);
    subject.holds_nothing(3);
    subject.sorts(|_| false);
    for n in [2, 3] {
        subject.is_stored(n, true);
        subject.hears(OpEvent::Gone { from: id(n) });
        subject.expires(n);
    }
    for node in &subject.outcome()[1..3] {
        assert_eq!((node.repaired, node.refused), (1, 1));
    }
}

#[test]
fn who_tells_of_no_age_makes_no_value_younger() {
    let mut subject = Subject::new(Dialect::List, true);
    subject.page(1, 0, 1, vec![claim("v", Publisher::Unknown, hours(150))]);
    subject.plain(2, &["v"]);
    subject.holds_nothing(3);
    let sent = subject.sent();
    assert_eq!(sent, [(id(3), claim("v", Publisher::Unknown, hours(150)))]);
}

#[test]
fn in_the_scalar_dialect_only_who_holds_nothing_is_sent_what_most_hold() {
    let mut subject = Subject::new(Dialect::Scalar, true);
    subject.plain(1, &["new"]);
    subject.plain(2, &["old"]);
    subject.hears(OpEvent::Nodes { from: id(3), nodes: Vec::new() });
    let sent = subject.sent();
    assert!(matches!(&sent[..], [(to, _)] if *to == id(3)), "{sent:?}");
    subject.is_stored(3, true);
    assert_eq!(subject.outcome()[2].repaired, 1);
}

#[test]
fn what_was_taken_back_is_not_stored_again_though_some_still_hold_it() {
    let mut subject = Subject::new(Dialect::List, true);
    let two = vec![claim("gone", published(), hours(1)), claim("v", published(), hours(1))];
    subject.page(1, 0, 2, two);
    subject.holds_nothing(2);
    subject.plain(3, &["v"]);
    subject.sorts(|claim| claim.value == text("gone"));
    assert_eq!(subject.sent(), [(id(2), claim("v", published(), hours(1)))]);
    subject.is_stored(2, true);
    assert_eq!(subject.outcome()[1].repaired, 1);
    // Where that can't be known, nothing is stored.
    let mut subject = Subject::new(Dialect::List, true);
    subject.page(1, 0, 1, vec![claim("v", published(), hours(1))]);
    subject.holds_nothing(2);
    subject.holds_nothing(3);
    subject.acts.clear();
    subject.hears(OpEvent::Disk(StoreReply::Unavailable));
    assert!(subject.acts.iter().all(|act| !matches!(act, Act::Store { .. })));
    assert_eq!(subject.outcome()[1].repaired, 0);
}
