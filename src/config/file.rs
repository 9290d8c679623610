//! The settings file: TOML, one key a setting.
//!
//! Always holds: whatever is wrong with it is an error that names the file, and the line where there
//! is one. Never: writes it, or reads more of it than any such file has.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use toml::de::{DeTable, DeValue};

use super::ConfigError;
use super::sources::{Kind, Origin, SETTINGS, Setting, Word, suggestion};

/// Longest settings file that is read, in bytes: every setting at its longest stays far below.
const MAX_FILE_BYTES: u64 = 64 * 1024;

/// A settings file whose keys are all known.
#[derive(Debug)]
pub(super) struct SettingsFile {
    path: PathBuf,
    entries: Vec<Entry>,
}

/// What it says of one setting.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    pub(super) key: &'static str,
    pub(super) words: Vec<Word>,
    pub(super) origin: Origin,
}

impl SettingsFile {
    /// Reads a file that has to be there.
    pub(super) fn read(path: &Path) -> Result<Self, ConfigError> {
        let unreadable =
            |error: io::Error| ConfigError::FileUnreadable { path: path.to_owned(), error };
        let path = std::path::absolute(path).map_err(unreadable)?;
        let mut bytes = Vec::new();
        let file = File::open(&path).map_err(unreadable)?;
        file.take(MAX_FILE_BYTES + 1).read_to_end(&mut bytes).map_err(unreadable)?;
        if bytes.len() as u64 > MAX_FILE_BYTES {
            let reason = format!("it is longer than {MAX_FILE_BYTES} bytes");
            return Err(ConfigError::FileWrong { place: path.display().to_string(), reason });
        }
        let text = String::from_utf8(bytes).map_err(|error| {
            let line = line_of(error.as_bytes(), error.utf8_error().valid_up_to());
            at(&path, line, "not UTF-8")
        })?;
        Self::parse(path, &text)
    }

    /// The same, but for a file that need not be there.
    pub(super) fn read_if_there(path: &Path) -> Result<Option<Self>, ConfigError> {
        match Self::read(path) {
            Err(ConfigError::FileUnreadable { error, .. })
                if matches!(
                    error.kind(),
                    io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
                ) =>
            {
                Ok(None)
            }
            other => other.map(Some),
        }
    }

    fn parse(path: PathBuf, text: &str) -> Result<Self, ConfigError> {
        let line = |start: usize| line_of(text.as_bytes(), start);
        let table = DeTable::parse(text).map_err(|error| {
            let start = error.span().map_or(0, |span| span.start);
            // The parser's own words may go over several lines.
            let words: Vec<&str> = error.message().split_whitespace().collect();
            at(&path, line(start), words.join(" "))
        })?;
        let mut entries = Vec::new();
        for (key, value) in table.get_ref() {
            let name: &str = key.get_ref();
            let Some(setting) = SETTINGS.iter().find(|setting| setting.key == name) else {
                let known: Vec<String> =
                    SETTINGS.iter().map(|setting| setting.key.to_owned()).collect();
                let reason = format!("unknown key '{name}': {}", suggestion(name, &known));
                return Err(at(&path, line(key.span().start), reason));
            };
            let origin = |start| Origin::File { path: path.clone(), line: line(start) };
            let wanted = || {
                let what = match setting.kind {
                    Kind::Text | Kind::Path => "one text in quotes",
                    Kind::List => "texts in quotes, such as [\"a\", \"b\"]",
                };
                at(&path, line(value.span().start), format!("{name} takes {what}"))
            };
            let word = |value: &toml::Spanned<DeValue<'_>>| {
                let text = text_of(value.get_ref()).ok_or_else(wanted)?;
                let origin = origin(value.span().start);
                let text = place(&path, *setting, text)
                    .map_err(|reason| at(&path, line(value.span().start), reason))?;
                Ok(Word { text, origin })
            };
            let words = match (setting.kind, value.get_ref()) {
                (Kind::List, DeValue::Array(items)) => {
                    items.iter().map(word).collect::<Result<Vec<_>, ConfigError>>()?
                }
                _ => vec![word(value)?],
            };
            entries.push(Entry { key: setting.key, words, origin: origin(key.span().start) });
        }
        Ok(Self { path, entries })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn entry(&self, key: &str) -> Option<&Entry> {
        self.entries.iter().find(|entry| entry.key == key)
    }
}

/// A text, or a number that stands for one (of bytes, say).
fn text_of(value: &DeValue<'_>) -> Option<String> {
    match value {
        DeValue::String(text) => Some(text.clone().into_owned()),
        DeValue::Integer(number) => Some(number.as_str().to_owned()),
        _ => None,
    }
}

/// A path counts from the file's folder; any other text stays as it is.
fn place(file: &Path, setting: Setting, text: String) -> Result<OsString, String> {
    if setting.kind != Kind::Path {
        return Ok(text.into());
    }
    if text.is_empty() {
        return Err(format!("{}: the path is empty", setting.key));
    }
    if text.starts_with('~') {
        return Err(format!(
            "{} '{text}': '~' means nothing here, write the whole path",
            setting.key
        ));
    }
    Ok(file.parent().unwrap_or(Path::new("/")).join(text).into())
}

fn at(path: &Path, line: usize, reason: impl Into<String>) -> ConfigError {
    let place = format!("{}:{line}", path.display());
    ConfigError::FileWrong { place, reason: reason.into() }
}

/// Lines count from 1.
fn line_of(text: &[u8], position: usize) -> usize {
    1 + text.iter().take(position).filter(|byte| **byte == b'\n').count()
}
