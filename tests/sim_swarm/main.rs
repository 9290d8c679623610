//! The planner of swarm downloads against virtual sources in virtual time: rates, stalls, deaths,
//! lies and late comers; and how near it comes to the time that would be best.
//!
//! Always holds: the same seed gives the same run. Never: opens a socket or sleeps.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod crowd;
mod world;

use kad_actor::transfer::swarm::Outcome;
use kad_actor::transfer::{Failure, SourceState};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use self::crowd::{Crowd, trade};
use self::world::{Kind, MB, Virtual, run};

#[test]
fn honest_mixes_come_near_the_best_time() {
    let mut efficiencies = Vec::new();
    for seed in 0..1_000 {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let count = rng.random_range(1..=8);
        let sources: Vec<Virtual> = (0..count)
            .map(|_| Virtual {
                kind: Kind::Honest,
                rate: rng.random_range(0.3..12.5) * MB,
                round: rng.random_range(0.001..0.05),
                joins: 0.0,
            })
            .collect();
        let report = run(200, &sources, seed);
        assert_eq!(report.outcome, Outcome::Whole, "seed {seed}");
        assert!(report.requests < 2_000, "seed {seed}: {} requests", report.requests);
        efficiencies.push(report.efficiency());
    }
    efficiencies.sort_by(f64::total_cmp);
    let at = |share: f64| efficiencies[(share * 999.0) as usize];
    println!(
        "1,000 honest mixes of 1 to 8 sources, 200 MB: {:.3} of the ideal in the median, \
         {:.3} at the 5th percentile, {:.3} at worst",
        at(0.5),
        at(0.05),
        at(0.0)
    );
    assert!(at(0.5) >= 0.95, "{}", at(0.5));
    assert!(at(0.05) >= 0.85, "{}", at(0.05));
}

#[test]
fn any_mix_with_one_honest_source_ends_whole_and_any_other_ends() {
    for seed in 0..1_000 {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let kinds = [
            Kind::Honest,
            Kind::Refuses,
            Kind::Silent,
            Kind::Dies(rng.random_range(0.0..5.0)),
            Kind::Stalls(rng.random_range(0.0..3.0), rng.random_range(3.0..20.0)),
            Kind::Lies,
            Kind::OnePiece,
            Kind::Drips,
            Kind::NoRanges,
            Kind::WrongRange,
            Kind::Http(404),
            Kind::Http(503),
            Kind::Short,
        ];
        let count = rng.random_range(1..=10);
        let sources: Vec<Virtual> = (0..count)
            .map(|_| Virtual {
                kind: kinds[rng.random_range(0..kinds.len())],
                rate: rng.random_range(0.5..10.0) * MB,
                round: rng.random_range(0.001..0.1),
                joins: if rng.random_bool(0.3) { rng.random_range(0.0..6.0) } else { 0.0 },
            })
            .collect();
        let report = run(20, &sources, seed);
        let honest = sources.iter().any(|it| matches!(it.kind, Kind::Honest | Kind::NoRanges));
        assert!(report.outcome == Outcome::Whole || !honest, "seed {seed}: {sources:?}");
        for (source, given) in sources.iter().zip(&report.given) {
            let lied = source.kind == Kind::Lies && *given > 0;
            assert!(!lied || *given <= 2 * 512 * 1024, "seed {seed}: a liar gave {given}");
        }
        assert!(report.requests < 3_000, "seed {seed}: {} requests", report.requests);
    }
}

#[test]
fn sums_of_equal_sources() {
    for (count, least) in [(1, 0.97), (2, 0.96), (4, 0.94)] {
        let report = run(250, &vec![Virtual::honest(12.5); count], 5);
        println!("{count} sources of 100 Mbit/s: {:.3} of the sum", report.efficiency());
        assert!(report.efficiency() >= least, "{count}: {}", report.efficiency());
    }
}

#[test]
fn the_rows_of_trouble() {
    let fast = Virtual::honest(12.5);
    let one_slow = run(250, &[fast, fast, fast, Virtual::honest(1.0)], 1);
    println!("one of four at 1 MB/s: {:.3} x ideal", 1.0 / one_slow.efficiency());
    assert!(one_slow.efficiency() > 1.0 / 1.1, "{}", one_slow.efficiency());

    let excess = |what: &str, sources: &[Virtual], seconds: f64| {
        let report = run(250, sources, 1);
        assert_eq!(report.outcome, Outcome::Whole);
        let more = report.seconds - report.ideal;
        println!("{what}: ideal + {more:.2} s");
        assert!(more <= seconds, "{what}: {more} s, {:?}", report.given);
        report
    };
    // Each also pays what any download does: the first round trips, and the last.
    excess("killed halfway", &[fast, fast.of(Kind::Dies(5.0))], 0.55);
    let stalled = excess("one of two stalls", &[fast, fast.of(Kind::Stalls(5.0, 600.0))], 1.0);
    assert_eq!(stalled.states[1], SourceState::Failed(Failure::Stalled), "and that is shown");
    excess("a dead one at the start", &[fast, fast.of(Kind::Refuses)], 0.8);
    excess("a silent one at the start", &[fast, fast.of(Kind::Silent)], 0.8);
    let corrupt = excess("one corrupt of two", &[fast, fast.of(Kind::Lies)], 0.8);
    assert_eq!(corrupt.states[1], SourceState::Failed(Failure::WrongContent));
    assert!(corrupt.given[1] <= 512 * 1024, "found out by its first piece");
    let late = Virtual { joins: 8.0, ..fast };
    excess("a second one comes late", &[fast, late], 0.8);
    // The other comes to know of it only as the first stalls.
    let other = Virtual { joins: 5.5, ..fast };
    excess(
        "the only one stalls, another is known",
        &[fast.of(Kind::Stalls(5.0, 600.0)), other],
        3.0,
    );
}

#[test]
fn a_lone_source_is_waited_for_and_one_that_never_worked_is_not() {
    let lone = Virtual::honest(5.0).of(Kind::Stalls(1.0, 9.0));
    let report = run(20, &[lone], 3);
    assert_eq!(report.outcome, Outcome::Whole);
    assert!(report.seconds < report.ideal + 1.0, "{}", report.seconds);
    let dead = run(20, &[Virtual::honest(5.0).of(Kind::Refuses)], 3);
    assert!(matches!(dead.outcome, Outcome::Failed(_)) && dead.seconds < 1.0);
}

#[test]
fn those_who_start_together_trade() {
    for (count, found, most) in [(4, 1.0, 1.25), (16, 1.0, 1.3), (16, 3.0, 1.45)] {
        let crowd = Crowd { count, size: 134_217_728, rate: 12.5 * MB, found };
        let ideal = crowd.size as f64 / crowd.rate;
        let trade = trade(crowd, 1);
        println!(
            "{count} start together, one has it, they find each other after {found} to {} s: \
             {:.2} x the time of a perfect swarm, the first {:.2} x; the one who had it sent \
             {:.2} x the content; {} requests",
            found + 1.0,
            trade.seconds / ideal,
            trade.first / ideal,
            trade.sent,
            trade.requests
        );
        assert!(trade.seconds < most * ideal, "{count} after {found}: {trade:?}");
    }
}
