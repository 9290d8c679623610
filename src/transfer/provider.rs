//! A value of the DHT that says where a file can be had: a URL, and what its content must be.

use thiserror::Error;
use url::Url;

use crate::content::ContentHash;

/// Why a value is no usable URL.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{url:?} is not used: {reason}")]
pub struct ProviderError {
    /// The value.
    pub url: String,
    /// What is wrong with it.
    pub reason: &'static str,
}

/// `http://HOST:PORT/files/NAME#blake3=HEX`, or any other http(s) URL without that fragment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProviderUrl {
    url: Url,
    hash: Option<ContentHash>,
}

impl ProviderUrl {
    /// Reads a value from the DHT.
    pub fn parse(value: &str) -> Result<Self, ProviderError> {
        let url = Url::parse(value)
            .map_err(|_| ProviderError { url: value.to_owned(), reason: "not a URL" })?;
        Ok(Self { url, hash: None })
    }

    /// The URL as published, with its fragment.
    pub const fn url(&self) -> &Url {
        &self.url
    }

    /// What the content must be, if the publisher said.
    pub const fn hash(&self) -> Option<ContentHash> {
        self.hash
    }
}
