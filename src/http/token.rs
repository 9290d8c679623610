//! The secret that opens what is the user's own.
//!
//! Always holds: a comparison takes as long for a near miss as for a far one. Never: is shown, to a
//! page or in a log; only its hash stays in memory.

use std::fmt;

/// Bytes of randomness behind a token.
pub const TOKEN_BYTES: usize = 32;

/// A token as the server knows it: well enough to recognise it, too little to tell it.
#[derive(Clone, Copy)]
pub struct Token(blake3::Hash);

impl Token {
    /// The token that users present as this text.
    pub fn of(text: &str) -> Self {
        Self(blake3::hash(text.as_bytes()))
    }

    /// Whether this is it. Hashes are compared, all 32 bytes whatever the first ones are, so that
    /// the time says nothing about the token.
    pub(super) fn is(&self, text: &str) -> bool {
        // blake3 promises that its equality takes constant time.
        self.0 == blake3::hash(text.as_bytes())
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(…)")
    }
}
