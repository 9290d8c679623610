//! Trees of every shape, and what they are not.

use std::io::Write;
use std::ops::ControlFlow;

use proptest::prelude::*;

use super::*;

const GROUP: usize = GROUP_BYTES as usize;

/// Sizes around every place where the shape of a tree changes.
const SIZES: [usize; 16] = [
    0,
    1,
    1023,
    1024,
    1025,
    2049,
    GROUP - 1,
    GROUP,
    GROUP + 1,
    2 * GROUP,
    2 * GROUP + 1,
    3 * GROUP,
    5 * GROUP - 1000,
    64 * GROUP,
    64 * GROUP + 1,
    71 * GROUP + 5000,
];

/// Bytes that differ from chunk to chunk.
fn content(size: usize) -> Vec<u8> {
    (0..size).map(|i| (i % 251) as u8 ^ (i / 1024) as u8).collect()
}

fn tree_of(content: &[u8]) -> Tree {
    let mut hasher = ContentHasher::new();
    hasher.update(content);
    hasher.finish_tree().1
}

fn root_of_plain(content: &[u8]) -> ContentHash {
    ContentHash::new(*blake3::hash(content).as_bytes())
}

#[test]
fn the_root_is_the_plain_hash_however_the_content_comes() {
    for size in SIZES {
        let content = content(size);
        for part in [1000, GROUP - 1, GROUP, GROUP + 1, 3 * GROUP, usize::MAX] {
            let mut hasher = ContentHasher::new();
            content.chunks(part.min(size.max(1))).for_each(|part| hasher.update(part));
            let (verified, tree) = hasher.finish_tree();
            assert_eq!((verified.hash(), verified.size()), (root_of_plain(&content), size as u64));
            assert_eq!((tree.root(), tree.size()), (verified.hash(), verified.size()));
            assert_eq!(tree, tree_of(&content), "{size} by {part}");
        }
    }
}

#[test]
fn a_tree_is_read_as_it_was_written_and_proves_every_group() {
    for size in SIZES {
        let content = content(size);
        let bytes = tree_of(&content).encode();
        assert_eq!(bytes.len() as u64, Tree::encoded_len(size as u64), "{size}");
        assert!(bytes.len() as u64 <= Tree::max_len(size as u64), "{size}");
        let tree = Tree::decode(&bytes, root_of_plain(&content)).unwrap();
        assert_eq!(tree, tree_of(&content), "{size}");
        let mut pieces = Pieces::none(tree.clone());
        for (i, group) in content.chunks(GROUP).enumerate() {
            assert_eq!(pieces.verified(), None);
            assert!(pieces.add(&tree.check((i * GROUP) as u64, group).unwrap()));
        }
        if size == 0 {
            assert!(pieces.add(&tree.check(0, &[]).unwrap()));
        }
        let verified = pieces.verified().unwrap();
        assert_eq!((verified.hash(), verified.size()), (tree.root(), tree.size()));
        let whole = tree.check(0, &content).unwrap();
        assert_eq!(whole.bytes, 0..size as u64);
    }
}

#[test]
fn a_tree_that_lies_is_not_believed() {
    for size in SIZES {
        let content = content(size);
        let root = root_of_plain(&content);
        let bytes = tree_of(&content).encode();
        for i in (0..bytes.len()).step_by(7).chain(0..HEADER_BYTES.min(bytes.len())) {
            let mut lie = bytes.clone();
            lie[i] ^= 1;
            assert!(Tree::decode(&lie, root).is_err(), "{size}: byte {i}");
        }
        for end in [0, 7, bytes.len() - 1] {
            assert_eq!(Tree::decode(&bytes[..end], root), Err(TreeError::Length), "{size}: {end}");
        }
        let longer = [&bytes[..], &[0]].concat();
        assert_eq!(Tree::decode(&longer, root), Err(TreeError::Length));
        assert_eq!(Tree::decode(&bytes, root_of_plain(b"other")), Err(TreeError::Root));
    }
}

/// The size is proven before any piece is there: else honest sources would be blamed for the liar.
#[test]
fn a_tree_with_another_size_is_not_believed_though_its_groups_are_right() {
    for size in SIZES.into_iter().filter(|size| *size > 0) {
        let content = content(size);
        let bytes = tree_of(&content).encode();
        for other in size.saturating_sub(1100)..size + 1100 {
            if other == size {
                continue;
            }
            let other = other as u64;
            // The liar knows what length such a tree has.
            let mut lie = bytes.clone();
            lie[..HEADER_BYTES].copy_from_slice(&other.to_le_bytes());
            lie.resize(Tree::encoded_len(other) as usize, 0);
            assert!(Tree::decode(&lie, root_of_plain(&content)).is_err(), "{size} as {other}");
        }
    }
}

#[test]
fn a_wrong_piece_is_named_by_its_first_wrong_group() {
    let content = content(5 * GROUP + 100);
    let tree = tree_of(&content);
    let at = |group: usize| Err(WrongGroup { offset: (group * GROUP) as u64 });
    let mut wrong = content.clone();
    wrong[3 * GROUP + 77] ^= 1;
    assert_eq!(tree.check(0, &wrong), at(3));
    assert!(tree.check(0, &wrong[..3 * GROUP]).is_ok());
    assert_eq!(tree.check(0, &content[..=GROUP]), at(1), "too short");
    assert_eq!(
        tree.check(5 * GROUP as u64, &[content[5 * GROUP..].to_vec(), vec![0]].concat()),
        at(5)
    );
    assert_eq!(tree.check(6 * GROUP as u64, &content[..GROUP]), at(6), "behind the end");
    assert_eq!(tree.check(GROUP as u64, &content[..GROUP]), at(1), "right bytes, wrong place");
    assert_eq!(tree.check(1, &content[1..]), Err(WrongGroup { offset: 1 }));
    let other = tree_of(b"other");
    let proven = other.check(0, b"other").unwrap();
    assert!(!Pieces::none(tree).add(&proven), "a proof is of one content");
}

#[test]
fn a_stream_is_known_to_be_wrong_at_the_end_of_the_first_wrong_group() {
    for size in SIZES.into_iter().filter(|size| *size > 0) {
        let content = content(size);
        let tree = tree_of(&content);
        let from = size / GROUP / 2 * GROUP;
        for part in [700, GROUP, 3 * GROUP + 1] {
            let mut checking = tree.check_from(from as u64).unwrap();
            let mut pieces = Pieces::none(tree.clone());
            for part in content[from..].chunks(part) {
                assert!(pieces.add(&checking.push(part).unwrap()));
            }
            let ranges = pieces.have().ranges();
            assert!(ranges.iter().eq([&(from as u64..size as u64)]), "{size} by {part}");
            assert!(checking.push(&[0]).is_err(), "more than there is");

            let bad = from + (size - from) / 2;
            let mut wrong = content.clone();
            wrong[bad] ^= 1;
            let mut checking = tree.check_from(from as u64).unwrap();
            let failed = wrong[from..].chunks(part).position(|part| checking.push(part).is_err());
            let group_ends = (bad / GROUP * GROUP + GROUP).min(size);
            assert_eq!(failed, Some((group_ends - from - 1) / part), "{size} by {part}");
        }
        assert!(tree.check_from(1).is_err());
    }
}

#[test]
fn what_is_right_in_a_partial_file_is_found() {
    let content = content(9 * GROUP + 10);
    let tree = tree_of(&content);
    let mut partial = content.clone();
    partial[2 * GROUP..3 * GROUP].fill(0);
    partial[5 * GROUP + 1] ^= 1;
    partial.truncate(8 * GROUP + 1);
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(&partial).unwrap();
    let pieces = Pieces::scan(tree.clone(), &file, |_| ControlFlow::Continue(())).unwrap().unwrap();
    let group = GROUP as u64;
    assert_eq!(pieces.have().ranges(), [0..2 * group, 3 * group..5 * group, 6 * group..8 * group]);
    assert_eq!(Pieces::recorded(tree.clone(), pieces.have().encode()), Some(pieces));
    let stopped = Pieces::scan(tree, &file, |_| ControlFlow::Break(())).unwrap();
    assert_eq!(stopped, None);
}

/// More than a GiB passes by: groups grow, and the tree does not.
#[test]
fn a_large_content_has_larger_groups_and_no_larger_tree() {
    const MIB: usize = 1024 * 1024;
    let most = MAX_GROUPS as u64 * GROUP_BYTES;
    let tail = content(MIB);
    for (mebibytes, more, level) in [
        (1023, MIB, 0),
        (1024, 1, 1),
        (1024, 3 * GROUP, 1),
        (2047, MIB, 1),
        (2048, 5 * GROUP + 7, 2),
    ] {
        let mut hasher = ContentHasher::new();
        let mut plain = blake3::Hasher::new();
        let mut buffer = vec![0; MIB];
        for number in 0..mebibytes {
            buffer[number] = 1;
            hasher.update(&buffer);
            plain.update(&buffer);
        }
        hasher.update(&tail[..more]);
        plain.update(&tail[..more]);
        let (verified, tree) = hasher.finish_tree();
        let size = (mebibytes * MIB + more) as u64;
        assert_eq!(verified.hash().as_bytes(), plain.finalize().as_bytes(), "{size}");
        assert_eq!(tree.group_bytes(), GROUP_BYTES << level, "{size}");
        let bytes = tree.encode();
        assert!(bytes.len() as u64 <= Tree::max_len(most), "{size}");
        assert_eq!(Tree::decode(&bytes, tree.root()), Ok(tree.clone()));
        let last = size - last_group_len(size);
        let in_last = (size - last) as usize;
        if in_last <= more {
            assert_eq!(tree.check(last, &tail[more - in_last..more]).unwrap().bytes, last..size);
        }
        // The same values as those of a smaller content with smaller groups.
        let mut lie = bytes;
        lie[..HEADER_BYTES].copy_from_slice(&(size / 2).to_le_bytes());
        lie.resize(Tree::encoded_len(size / 2) as usize, 0);
        assert!(Tree::decode(&lie, tree.root()).is_err(), "{size}");
    }
    assert_eq!(group_bytes(1 << 40), 16 << 20);
    assert_eq!(Tree::max_len(u64::MAX), Tree::max_len(most));
    assert!(Tree::encoded_len(u64::MAX) <= Tree::max_len(most));
}

proptest! {
    #[test]
    fn any_bytes_are_a_tree_or_an_error(bytes in any::<Vec<u8>>(), size in 0u64..4096) {
        let root = ContentHash::new([0; HASH_BYTES]);
        prop_assert!(Tree::decode(&bytes, root).is_err());
        let sized = [&size.to_le_bytes()[..], &bytes].concat();
        prop_assert!(Tree::decode(&sized, root).is_err());
    }

    #[test]
    fn what_is_there_comes_back_and_its_ranges_are_it(
        groups in proptest::collection::vec(any::<bool>(), 1..40), cut in 0..GROUP_BYTES,
    ) {
        let size = groups.len() as u64 * GROUP_BYTES - cut;
        let mut have = Have::none(size);
        groups.iter().enumerate().filter(|(_, there)| **there).for_each(|(i, _)| have.add(i));
        prop_assert_eq!(Have::decode(have.encode(), size), Some(have.clone()));
        prop_assert_eq!(have.is_all(), groups.iter().all(|there| *there));
        let ranges = have.ranges();
        for byte in (0..size).step_by(GROUP / 4) {
            let there = groups[(byte / GROUP_BYTES) as usize];
            prop_assert_eq!(have.has_bytes(&(byte..byte + 1)), there);
            prop_assert_eq!(ranges.iter().any(|range| range.contains(&byte)), there);
        }
        prop_assert!(ranges.iter().all(|range| have.has_bytes(range)));
        prop_assert!(!have.has_bytes(&(0..size + 1)));
        prop_assert!(!have.has_bytes(&(u64::MAX - 1..u64::MAX)));
    }

    #[test]
    fn any_bytes_say_what_is_there_or_nothing(bytes in any::<Vec<u8>>(), size in 0u64..1 << 22) {
        if let Some(have) = Have::decode(&bytes, size) {
            prop_assert_eq!(have.encode(), &bytes[..]);
            prop_assert!(have.count() <= group_count(size));
        }
    }
}

#[test]
fn who_is_sent_a_tree_shares_it_with_all_others() {
    let tree = tree_of(&content(71 * GROUP + 5000));
    let (one, other) = (tree.encoded(), tree.clone().encoded());
    assert_eq!(one, tree.encode());
    assert_eq!(one.as_ptr(), other.as_ptr(), "it may take 2 MiB, and hundreds may take it slowly");
}
