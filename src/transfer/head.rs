//! What the head of a response says about the body that follows (RFC 9110).
//!
//! Always holds: a [`ContentRange`] is in order and inside its total. Never: believes it: sizes
//! are claims until the bytes are counted.

/// The head of a response to a GET, reduced to what the planner needs.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Head {
    /// The status code.
    pub status: u16,
    /// `Content-Length`, if there is one.
    pub length: Option<u64>,
    /// `Content-Range`, if there is one that can be read.
    pub range: Option<ContentRange>,
    /// `ETag` as it came, if there is one.
    pub etag: Option<String>,
    /// Whether a `Content-Encoding` other than identity was applied.
    pub encoded: bool,
}

impl Head {
    /// The entity tag, if it is a strong one: only those may stand in `If-Range` (RFC 9110,
    /// section 13.1.5).
    pub fn strong_etag(&self) -> Option<&str> {
        self.etag.as_deref().filter(|tag| tag.starts_with('"'))
    }
}

/// `bytes FIRST-LAST/TOTAL` (RFC 9110, section 14.4).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ContentRange {
    /// Offset of the first byte.
    pub first: u64,
    /// Offset of the last byte.
    pub last: u64,
    /// Bytes of the whole.
    pub total: u64,
}

impl ContentRange {
    /// Reads the header. An unknown total (`*`) is refused: a piece of something of unknown
    /// length can't be fitted in.
    pub fn parse(text: &str) -> Option<Self> {
        let (range, total) = text.trim().strip_prefix("bytes ")?.split_once('/')?;
        let (first, last) = range.split_once('-')?;
        let parsed = Self { first: digits(first)?, last: digits(last)?, total: digits(total)? };
        (parsed.first <= parsed.last && parsed.last < parsed.total).then_some(parsed)
    }
}

/// A decimal number and nothing else: `parse` alone would let a sign pass.
fn digits(text: &str) -> Option<u64> {
    (!text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()))
        .then(|| text.parse().ok())
        .flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn content_ranges_are_read_strictly() {
        let range = ContentRange::parse("bytes 5-9/10").unwrap();
        assert_eq!((range.first, range.last, range.total), (5, 9, 10));
        for bad in [
            "",
            "bytes",
            "bytes 5-9",
            "bytes 9-5/10",
            "bytes 0-10/10",
            "bytes 0-9/*",
            "bytes */10",
            "bytes +1-9/10",
            "bytes -1-9/10",
            "items 0-9/10",
            "bytes 0-9/99999999999999999999",
        ] {
            assert_eq!(ContentRange::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn weak_tags_are_no_proof_of_equal_bytes() {
        let tagged = |tag: &str| Head { etag: Some(tag.to_owned()), ..Head::default() };
        assert_eq!(tagged("\"a\"").strong_etag(), Some("\"a\""));
        assert_eq!(tagged("W/\"a\"").strong_etag(), None);
    }
}
