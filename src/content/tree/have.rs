//! Which groups of a content somebody has.
//!
//! Written down (`/blobs/HEX/have`): a bit for each group in order, from the lowest of the first
//! byte, 1 for one that is there; the bits left over are 0.
//!
//! Always holds: there are as many bits as the content has groups. Never: proves anything: what
//! others say of themselves looks the same.

use std::ops::Range;

use super::{group_bytes, group_count};

/// Groups of a content that are there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Have {
    size: u64,
    bits: Vec<u8>,
}

impl Have {
    /// None of a content of this size.
    pub fn none(size: u64) -> Self {
        Self { size, bits: vec![0; Self::encoded_len(size)] }
    }

    /// All of a content of this size.
    pub fn all(size: u64) -> Self {
        let mut all = Self::none(size);
        (0..group_count(size)).for_each(|group| all.add(group));
        all
    }

    /// As it was written down, for a content of this size; none if it can't be of that.
    pub fn decode(bytes: &[u8], size: u64) -> Option<Self> {
        let beyond = (bytes.len() * 8).checked_sub(group_count(size))? as u32;
        let sound = bytes.len() == Self::encoded_len(size)
            && bytes.last().is_some_and(|last| last.leading_zeros() >= beyond);
        sound.then(|| Self { size, bits: bytes.to_vec() })
    }

    /// As it is written down.
    pub fn encode(&self) -> &[u8] {
        &self.bits
    }

    /// Bytes that this takes for a content of this size.
    pub const fn encoded_len(size: u64) -> usize {
        group_count(size).div_ceil(8)
    }

    /// Bytes of the content.
    pub const fn size(&self) -> u64 {
        self.size
    }

    /// Whether a group is there.
    pub fn has(&self, group: usize) -> bool {
        self.bits.get(group / 8).is_some_and(|byte| byte & (1 << (group % 8)) != 0)
    }

    /// Whether all bytes of a range are there. What lies behind the end is not.
    pub fn has_bytes(&self, range: &Range<u64>) -> bool {
        if range.is_empty() {
            return range.start <= self.size;
        }
        let group = group_bytes(self.size);
        let groups = (range.start / group) as usize..=((range.end - 1) / group) as usize;
        range.end <= self.size && groups.into_iter().all(|group| self.has(group))
    }

    /// The ranges of bytes that are there, in order, none next to another.
    pub fn ranges(&self) -> Vec<Range<u64>> {
        let mut ranges: Vec<Range<u64>> = Vec::new();
        let bytes = group_bytes(self.size);
        for group in (0..group_count(self.size)).filter(|group| self.has(*group)) {
            let start = group as u64 * bytes;
            let end = (start + bytes).min(self.size);
            match ranges.last_mut() {
                Some(last) if last.end == start => last.end = end,
                _ => ranges.push(start..end),
            }
        }
        ranges
    }

    /// How many groups are there.
    pub fn count(&self) -> usize {
        self.bits.iter().map(|byte| byte.count_ones() as usize).sum()
    }

    /// Whether every group is there.
    pub fn is_all(&self) -> bool {
        self.count() == group_count(self.size)
    }

    /// Notes that a group is there, if it exists.
    pub(super) fn add(&mut self, group: usize) {
        if group < group_count(self.size) {
            self.bits[group / 8] |= 1 << (group % 8);
        }
    }
}
