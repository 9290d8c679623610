//! The planner against virtual sources that lie and fail in every way known here.

use proptest::prelude::*;

use super::*;
use crate::content::ContentHasher;
use crate::transfer::{ContentRange, Denied, ProviderUrl};

/// How a virtual source behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Honest,
    /// Answers 200 to a range.
    NoRanges,
    /// Names no length, and ends where the content ends.
    NoLength,
    Refuses,
    Denied,
    Status(u16),
    Encoded,
    /// Answers with the head and then nothing.
    Stalls,
    /// Ends after so many bytes of each body.
    Short(u64),
    /// Names no length, and ends after so many bytes.
    ShortUnsaid(u64),
    /// More bytes than said.
    Longer,
    /// Right length, wrong bytes.
    Wrong,
    /// Says and sends another length.
    OtherSize(u64),
    /// Says a length it does not have.
    LyingSize(u64),
    /// Sends the range from elsewhere, and says so.
    WrongRange,
    /// Sends the right bytes in the wrong order.
    ShiftedRange,
}

impl Kind {
    const fn can_finish(self) -> bool {
        matches!(self, Self::Honest | Self::NoRanges | Self::NoLength)
    }
}

fn content(length: u64) -> Vec<u8> {
    (0..length).map(|i| (i * 7 + i / 256) as u8).collect()
}

fn hash_of(bytes: &[u8]) -> ContentHash {
    let mut hasher = ContentHasher::new();
    hasher.update(bytes);
    hasher.finish().hash()
}

/// What a source answers to a request from an offset: head, body, and how the body ends.
fn serve(
    kind: Kind,
    truth: &[u8],
    offset: u64,
) -> Result<(Head, Vec<u8>, Option<Failure>), Failure> {
    let mut bytes = truth.to_vec();
    match kind {
        Kind::Refuses => return Err(Failure::Refused),
        Kind::Denied => return Err(Failure::Denied(Denied::Loopback)),
        Kind::Wrong => bytes.iter_mut().for_each(|byte| *byte ^= 0x55),
        Kind::OtherSize(size) => bytes = vec![1; size as usize],
        _ => {}
    }
    let (total, ranged) = (bytes.len() as u64, offset > 0 && kind != Kind::NoRanges);
    if ranged && offset >= total {
        return Ok((Head { status: 416, ..Head::default() }, Vec::new(), None));
    }
    let from = if ranged { offset } else { 0 };
    let mut body = bytes[from as usize..].to_vec();
    let mut head = Head {
        status: if ranged { 206 } else { 200 },
        length: Some(body.len() as u64),
        range: ranged.then(|| ContentRange { first: from, last: total - 1, total }),
        ..Head::default()
    };
    let mut end = None;
    match kind {
        Kind::Status(status) => head.status = status,
        Kind::Encoded => head.encoded = true,
        Kind::NoLength => head.length = None,
        Kind::Stalls => (body, end) = (Vec::new(), Some(Failure::Stalled)),
        Kind::Short(n) => body.truncate(n as usize),
        Kind::ShortUnsaid(n) => {
            head.length = None;
            body.truncate(n as usize);
        }
        Kind::Longer => body.extend([9; 40]),
        Kind::LyingSize(size) if !ranged => head.length = Some(size),
        Kind::WrongRange if ranged => {
            head.range = head.range.map(|it| ContentRange { first: it.first - 1, ..it });
        }
        Kind::ShiftedRange => body.reverse(),
        _ => {}
    }
    Ok((head, body, end))
}

/// What came of a run: the bytes under the final name, or the failure.
#[derive(Debug, PartialEq, Eq)]
struct Run {
    result: Result<Vec<u8>, PlanFailure>,
    states: Vec<SourceState>,
    requests: usize,
}

/// Drives a plan as the worker does, with a buffer for the file.
fn run(mut plan: Plan, kinds: &dyn Fn(&str) -> Kind, truth: &[u8], mut file: Vec<u8>) -> Run {
    if !file.is_empty() {
        plan.resume(file.len() as u64, hash_of(&file));
    }
    let mut requests = 0;
    let result = loop {
        match plan.next_step() {
            Step::Finished => break Ok(file),
            Step::Failed(failure) => break Err(failure),
            Step::Check => plan.checked(hash_of(&file)),
            Step::Try(attempt) => {
                requests += 1;
                assert!(requests < 20_000, "it ends");
                let provider = plan.sources()[attempt.source].provider();
                let kind = kinds(provider.request_url().path());
                if let Err(failure) = pour(&mut plan, kind, truth, attempt.offset, &mut file) {
                    plan.failed(failure);
                }
                assert!(
                    plan.held() == 0 || plan.held() == file.len() as u64,
                    "the plan knows what the file holds"
                );
            }
        }
    };
    let states = plan.sources().iter().map(Source::state).collect();
    Run { result, states, requests }
}

fn pour(
    plan: &mut Plan,
    kind: Kind,
    truth: &[u8],
    offset: u64,
    file: &mut Vec<u8>,
) -> Result<(), Failure> {
    let (head, body, end) = serve(kind, truth, offset)?;
    let Some(begin) = plan.answered(&head) else {
        return Ok(());
    };
    file.truncate(begin as usize);
    for piece in body.chunks(16) {
        let taken = plan.received(piece.len() as u64);
        file.extend(&piece[..taken as usize]);
        if taken < piece.len() as u64 {
            return Ok(());
        }
    }
    if let Some(failure) = end {
        return Err(failure);
    }
    plan.ended();
    Ok(())
}

fn plan(count: usize, hash: Option<ContentHash>, seed: u64) -> Plan {
    let url = |i| ProviderUrl::parse(&format!("http://h/{i}")).unwrap();
    let choice =
        Choice { hash, sources: (0..count).map(url).collect(), stand_ins: Vec::new(), others: 0 };
    Plan::new(choice, &Limits::default(), seed)
}

fn play(kinds: &[Kind], truth: &[u8], hashed: bool, file: Vec<u8>, seed: u64) -> Run {
    let by_path = |path: &str| kinds[path[1..].parse::<usize>().unwrap()];
    let hash = hashed.then(|| hash_of(truth));
    run(plan(kinds.len(), hash, seed), &by_path, truth, file)
}

fn kind() -> impl Strategy<Value = Kind> {
    prop_oneof![
        2 => Just(Kind::Honest),
        1 => Just(Kind::NoRanges),
        1 => Just(Kind::NoLength),
        1 => Just(Kind::Refuses),
        1 => Just(Kind::Denied),
        1 => prop_oneof![Just(Kind::Status(404)), Just(Kind::Status(500)), Just(Kind::Status(302))],
        1 => Just(Kind::Encoded),
        1 => Just(Kind::Stalls),
        3 => (0u64..300).prop_map(Kind::Short),
        2 => (0u64..300).prop_map(Kind::ShortUnsaid),
        1 => Just(Kind::Longer),
        2 => Just(Kind::Wrong),
        2 => (0u64..600).prop_map(Kind::OtherSize),
        2 => (0u64..600).prop_map(Kind::LyingSize),
        1 => Just(Kind::WrongRange),
        1 => Just(Kind::ShiftedRange),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn the_result_is_the_right_content_or_a_failure(
        kinds in prop::collection::vec(kind(), 0..10),
        length in 0u64..400,
        left in prop::collection::vec(any::<u8>(), 0..500),
        good in 0usize..400,
        seed: u64,
    ) {
        let truth = content(length);
        // What an earlier run left is right up to somewhere, or not at all.
        let mut file = truth[..good.min(truth.len())].to_vec();
        if seed % 3 == 0 {
            file = left;
        }
        let run = play(&kinds, &truth, true, file, seed);
        match &run.result {
            Ok(bytes) => prop_assert_eq!(bytes, &truth),
            Err(_) => prop_assert!(!kinds.iter().any(|it| it.can_finish()), "{:?}", run),
        }
    }

    #[test]
    fn without_a_hash_a_file_is_whole_and_from_one_source(
        kinds in prop::collection::vec(kind(), 0..10),
        length in 1u64..400,
        seed: u64,
    ) {
        let truth = content(length);
        let run = play(&kinds, &truth, false, Vec::new(), seed);
        if let Ok(bytes) = &run.result {
            let whole = kinds.iter().any(|kind| {
                serve(*kind, &truth, 0).is_ok_and(|(head, body, end)| {
                    end.is_none() && head.length == Some(body.len() as u64) && body == *bytes
                })
            });
            prop_assert!(whole, "{:?}", run);
        }
        prop_assert!(run.requests <= kinds.len(), "each is asked once");
    }

    #[test]
    fn a_plan_is_deterministic(kinds in prop::collection::vec(kind(), 0..8), seed: u64) {
        let truth = content(300);
        let once = || play(&kinds, &truth, true, Vec::new(), seed);
        prop_assert_eq!(once(), once());
    }
}

#[test]
fn one_honest_source_beats_nine_liars() {
    let truth = content(350);
    for seed in 0..200 {
        for liar in [Kind::Wrong, Kind::OtherSize(90), Kind::LyingSize(90), Kind::ShiftedRange] {
            let mut kinds = vec![liar; 10];
            kinds[3] = Kind::Honest;
            let run = play(&kinds, &truth, true, Vec::new(), seed);
            assert_eq!(run.result.as_ref(), Ok(&truth), "{liar:?} {seed}");
        }
    }
}

#[test]
fn a_broken_source_is_continued_not_repeated() {
    let truth = content(300);
    let run = play(&[Kind::Short(100), Kind::Honest], &truth, true, Vec::new(), 0);
    assert_eq!(run.result, Ok(truth.clone()));
    assert_eq!(run.requests, 2);
    assert_eq!(run.states, [SourceState::Failed(Failure::Short), SourceState::Done]);

    let alone = play(&[Kind::Short(100)], &truth, true, Vec::new(), 0);
    assert_eq!((alone.result, alone.requests), (Ok(truth), 3), "it goes on by itself");
}

#[test]
fn bytes_of_an_earlier_run_are_used_when_right_and_dropped_when_not() {
    let truth = content(300);
    let whole = play(&[Kind::Refuses], &truth, true, truth.clone(), 0);
    assert_eq!((whole.result.as_ref(), whole.requests), (Ok(&truth), 0));
    for junk in [vec![7; 100], vec![7; 300], vec![7; 900]] {
        let run = play(&[Kind::Honest], &truth, true, junk, 0);
        assert_eq!((run.result, run.requests), (Ok(truth.clone()), 2));
    }
}

#[test]
fn when_several_had_a_hand_in_it_only_the_liar_is_convicted() {
    let truth = content(300);
    let kinds = [Kind::Short(100), Kind::Wrong, Kind::Wrong];
    let run = play(&kinds, &truth, true, Vec::new(), 0);
    assert_eq!(run.result, Ok(truth));
    let liar = SourceState::Failed(Failure::WrongContent);
    // The second is under suspicion, but its turn to prove itself never came.
    assert_eq!(run.states, [SourceState::Done, SourceState::Waiting, liar]);
}

#[test]
fn the_failure_tells_lies_from_silence() {
    let truth = content(300);
    let failure = |kinds: &[Kind]| play(kinds, &truth, true, Vec::new(), 0).result.unwrap_err();
    assert_eq!(failure(&[Kind::Wrong, Kind::OtherSize(5)]), PlanFailure::AllWrong);
    assert_eq!(failure(&[Kind::Wrong, Kind::Refuses, Kind::Denied]), PlanFailure::AllWrong);
    assert_eq!(failure(&[Kind::Wrong, Kind::Stalls]), PlanFailure::AllWrong);
    assert_eq!(
        failure(&[Kind::Wrong, Kind::ShortUnsaid(9), Kind::Short(0)]),
        PlanFailure::AllWrong
    );
    assert_eq!(failure(&[Kind::Wrong, Kind::LyingSize(400)]), PlanFailure::AllFailed);
    assert_eq!(failure(&[Kind::Wrong, Kind::Status(404)]), PlanFailure::AllFailed);
    assert_eq!(failure(&[Kind::Refuses]), PlanFailure::AllFailed);
    assert_eq!(failure(&[]), PlanFailure::AllFailed);
}

#[test]
fn an_entity_tag_guards_only_bytes_of_its_own_source() {
    let mut plan = plan(1, Some(hash_of(b"abcd")), 0);
    let head = |status, range| Head {
        status,
        length: Some(if status == 200 { 4 } else { 2 }),
        range,
        etag: Some("\"v1\"".to_owned()),
        encoded: false,
    };
    let Step::Try(first) = plan.next_step() else { panic!("a source") };
    assert_eq!((first.offset, first.if_range), (0, None));
    assert_eq!(plan.answered(&head(200, None)), Some(0));
    assert_eq!(plan.received(2), 2);
    plan.failed(Failure::Broken);
    let Step::Try(second) = plan.next_step() else { panic!("the same source") };
    assert_eq!((second.offset, second.if_range.as_deref()), (2, Some("\"v1\"")));
    let range = ContentRange { first: 2, last: 3, total: 4 };
    assert_eq!(plan.answered(&head(206, Some(range))), Some(2));
}

#[test]
fn seeds_spread_the_load_over_the_sources_and_leave_stand_ins_last() {
    let url = |text| ProviderUrl::parse(text).unwrap();
    let choice = Choice {
        hash: Some(hash_of(b"")),
        sources: vec![url("http://a/"), url("http://b/"), url("http://c/")],
        stand_ins: vec![url("http://z/")],
        others: 1,
    };
    let mut first = BTreeSet::new();
    for seed in 0..32 {
        let plan = Plan::new(choice.clone(), &Limits::default(), seed);
        first.insert(plan.sources()[0].provider().published().to_owned());
        assert_eq!(plan.sources()[3].provider().published(), "http://z/");
    }
    assert_eq!(first.len(), 3);
}

#[test]
fn a_length_that_no_file_has_is_a_lie() {
    for (length, state) in [
        (Limits::default().max_file_bytes, SourceState::Active),
        (Limits::default().max_file_bytes + 1, SourceState::Failed(Failure::TooLong)),
    ] {
        let mut plan = plan(1, Some(hash_of(b"")), 0);
        plan.next_step();
        plan.answered(&Head { status: 200, length: Some(length), ..Head::default() });
        assert_eq!(plan.sources()[0].state(), state, "{length}");
    }
}
