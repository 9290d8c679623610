//! A value of the DHT that says where a file can be had: a URL, and what its content must be.
//!
//! Always holds: http or https, with a host, without credentials, without control characters.
//! Never: connects; which addresses may be used is for [`UrlPolicy`](super::UrlPolicy) to say.

use thiserror::Error;
use url::Url;

use crate::content::ContentHash;

/// Longest URL: the longest value a Python peer can store.
pub const MAX_URL_BYTES: usize = 8_137;

/// The fragment's key for the hash of the content.
const HASH_KEY: &str = "blake3=";

/// Characters of a refused value that an error quotes.
const QUOTED_CHARS: usize = 120;

/// Why a value is no usable URL.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{url:?} is not used: {reason}")]
pub struct ProviderError {
    /// The value, cut short when it is long.
    pub url: String,
    /// What is wrong with it.
    pub reason: &'static str,
}

/// `http://HOST:PORT/files/NAME#blake3=HEX`, or any other http(s) URL without that fragment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProviderUrl {
    published: String,
    url: Url,
    hash: Option<ContentHash>,
}

impl ProviderUrl {
    /// Reads a value from the DHT.
    pub fn parse(value: &str) -> Result<Self, ProviderError> {
        Self::read(value).map_err(|reason| ProviderError {
            url: value.chars().take(QUOTED_CHARS).collect(),
            reason,
        })
    }

    fn read(value: &str) -> Result<Self, &'static str> {
        if value.len() > MAX_URL_BYTES {
            return Err("longer than any peer could publish");
        }
        // It is shown to people: an escape sequence must not reach their terminal.
        if value.chars().any(char::is_control) {
            return Err("it holds control characters");
        }
        let mut url = Url::parse(value).map_err(|_| "not a URL")?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err("neither http nor https");
        }
        if !url.has_host() {
            return Err("it names no host");
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err("it holds credentials");
        }
        let hash = match url.fragment().and_then(|it| it.strip_prefix(HASH_KEY)) {
            Some(hex) => Some(
                ContentHash::from_hex(hex)
                    .map_err(|_| "its blake3 fragment is not 64 hexadecimal digits")?,
            ),
            None => None,
        };
        url.set_fragment(None);
        Ok(Self { published: value.to_owned(), url, hash })
    }

    /// The text as published, with its fragment: what reports show.
    pub fn published(&self) -> &str {
        &self.published
    }

    /// The URL to ask for, without a fragment.
    pub const fn request_url(&self) -> &Url {
        &self.url
    }

    /// Where the same host serves something of a content by its hash: all of it, or `tree`, `have`.
    pub fn blob_url(&self, hash: ContentHash, of_it: &str) -> Url {
        let mut url = self.url.clone();
        url.set_path(&format!("/blobs/{hash}{of_it}"));
        url.set_query(None);
        url
    }

    /// What the content must be, if the publisher said.
    pub const fn hash(&self) -> Option<ContentHash> {
        self.hash
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEX: &str = "af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262";

    #[test]
    fn the_fragment_says_what_the_content_must_be() {
        let text = format!("http://10.0.0.1:8468/files/a%20b#blake3={HEX}");
        let provider = ProviderUrl::parse(&text).unwrap();
        assert_eq!(provider.published(), text);
        assert_eq!(provider.hash(), Some(ContentHash::from_hex(HEX).unwrap()));
        assert_eq!(provider.request_url().as_str(), "http://10.0.0.1:8468/files/a%20b");
    }

    #[test]
    fn other_fragments_say_nothing() {
        for fragment in ["", "#", "#top", "#BLAKE3", "#sha256=00"] {
            let provider = ProviderUrl::parse(&format!("https://h/x{fragment}")).unwrap();
            assert_eq!(provider.hash(), None, "{fragment}");
            assert_eq!(provider.request_url().as_str(), "https://h/x");
        }
    }

    #[test]
    fn what_is_no_usable_url_is_refused_with_a_reason() {
        let long = format!("http://h/{}", "x".repeat(MAX_URL_BYTES));
        for (bad, reason) in [
            ("", "not a URL"),
            ("plain text", "not a URL"),
            ("ftp://h/x", "neither http nor https"),
            ("file:///etc/passwd", "neither http nor https"),
            ("javascript:alert(1)", "neither http nor https"),
            ("http://", "not a URL"),
            ("http://user@h/x", "it holds credentials"),
            ("http://user:pw@h/x", "it holds credentials"),
            ("http://:pw@h/x", "it holds credentials"),
            ("http://h/\u{1b}[2J", "it holds control characters"),
            ("http://h/x\ny", "it holds control characters"),
            ("http://h/x#blake3=", "its blake3 fragment is not 64 hexadecimal digits"),
            ("http://h/x#blake3=abcd", "its blake3 fragment is not 64 hexadecimal digits"),
            (long.as_str(), "longer than any peer could publish"),
        ] {
            let error = ProviderUrl::parse(bad).unwrap_err();
            assert_eq!(error.reason, reason, "{}", error.url);
            assert!(error.to_string().len() < 400, "errors stay short");
        }
        let fitting = format!("http://h/{}", "x".repeat(MAX_URL_BYTES - 9));
        assert!(ProviderUrl::parse(&fitting).is_ok());
    }
}
