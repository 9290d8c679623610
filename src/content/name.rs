//! Names that are safe to publish, to serve and to save a file under.
//!
//! Always holds: a [`FileName`] is one path component in Unicode's composed form, at most
//! [`MAX_NAME_BYTES`] long, that means the same on every system and looks like what it is; joined
//! to a folder it lies in that folder. Never: repairs a bad name: the caller is told what is wrong.

use std::borrow::Borrow;
use std::fmt;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use thiserror::Error;
use unicode_normalization::UnicodeNormalization;

/// Longest name in bytes of UTF-8: what the file systems of Linux and macOS take.
pub const MAX_NAME_BYTES: usize = 255;

/// All but the unreserved characters of RFC 3986: then every client asks for the right name.
const ESCAPED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// Device names of Windows, in any case and with any extension; see Microsoft's "Naming Files,
/// Paths, and Namespaces". The numbered ports stand in [`PORTS`].
const DEVICES: [&str; 6] = ["CON", "PRN", "AUX", "NUL", "CONIN$", "CONOUT$"];
const PORTS: [&str; 2] = ["COM", "LPT"];

/// What a download in progress is called beside its target: `.NAME.….partial`.
const PARTIAL_SUFFIX: &str = ".partial";

/// Why a name is refused.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("the name {name:?} is refused: {reason}")]
pub struct NameError {
    /// The name.
    pub name: String,
    /// What is wrong with it.
    pub reason: &'static str,
}

/// A file name that is one harmless path component on every system.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FileName(String);

impl FileName {
    /// Checks a name; see [`NameError`].
    pub fn parse(name: &str) -> Result<Self, NameError> {
        let composed: String = name.nfc().collect();
        match fault(&composed) {
            None => Ok(Self(composed)),
            Some(reason) => Err(NameError { name: name.to_owned(), reason }),
        }
    }

    /// Reads a name as it stands in a URL: one segment of its path, decoded exactly once.
    pub fn from_url_segment(segment: &str) -> Result<Self, NameError> {
        match percent_decode_str(segment).decode_utf8() {
            Ok(name) => Self::parse(&name),
            Err(_) => Err(NameError { name: segment.to_owned(), reason: "it is not UTF-8" }),
        }
    }

    /// The name, in Unicode's composed form (NFC).
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The name as it stands in a URL: all but `A-Za-z0-9-._~` percent-encoded.
    pub fn percent_encoded(&self) -> String {
        utf8_percent_encode(&self.0, ESCAPED).to_string()
    }
}

impl Borrow<str> for FileName {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for FileName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What is wrong with a composed name, if anything.
fn fault(name: &str) -> Option<&'static str> {
    if name.is_empty() {
        return Some("it is empty");
    }
    if name.len() > MAX_NAME_BYTES {
        return Some("it is longer than 255 bytes");
    }
    if name == "." || name == ".." {
        return Some("it names a folder, not a file");
    }
    if let Some(reason) = name.chars().find_map(char_fault) {
        return Some(reason);
    }
    if name.ends_with('.') || name.ends_with(char::is_whitespace) {
        return Some("it ends in a dot or a space, which some systems drop");
    }
    if is_device(name) {
        return Some("it is the name of a device on Windows");
    }
    if name.starts_with('.') && name.ends_with(PARTIAL_SUFFIX) {
        return Some("names like .NAME.partial are those of unfinished downloads");
    }
    None
}

fn char_fault(c: char) -> Option<&'static str> {
    match c {
        '/' | '\\' => Some("it holds a path separator"),
        '\u{2028}' | '\u{2029}' => Some("it holds a control character"),
        _ if c.is_control() => Some("it holds a control character"),
        '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => {
            Some("it holds a character that turns the direction of writing")
        }
        // The joiners U+200C and U+200D stay: Persian words and emoji are written with them.
        '\u{ad}'
        | '\u{180e}'
        | '\u{200b}'
        | '\u{2060}'..='\u{2064}'
        | '\u{206a}'..='\u{206f}'
        | '\u{feff}'
        | '\u{fff9}'..='\u{fffb}'
        | '\u{e0000}'..='\u{e007f}' => Some("it holds an invisible character"),
        _ => None,
    }
}

/// Whether Windows would open a device: it looks at what stands before the first dot, without
/// trailing spaces.
fn is_device(name: &str) -> bool {
    let stem = name.split('.').next().unwrap_or(name).trim_end_matches(' ');
    let one_of = |names: &[&str], part: &str| names.iter().any(|n| n.eq_ignore_ascii_case(part));
    let is_port = stem.split_at_checked(3).is_some_and(|(port, number)| {
        one_of(&PORTS, port) && number.chars().count() == 1 && "123456789¹²³".contains(number)
    });
    is_port || one_of(&DEVICES, stem)
}

#[cfg(test)]
mod tests;
