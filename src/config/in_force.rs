//! Every setting in force and where it comes from, for `--print-config`.
//!
//! Always holds: what it writes as TOML can be saved, and is read back as the same settings. Never:
//! decides what is in force.

use std::fmt::Write as _;
use std::path::PathBuf;

use serde_json::{Map, Value, json};

use super::sources::{Given, Kind};

/// The settings a node would run with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InForce {
    pub(super) file: Option<PathBuf>,
    pub(super) settings: Vec<Given>,
}

impl InForce {
    /// As a settings file, with comments.
    pub fn to_toml(&self) -> String {
        let mut text = "# The settings in force; behind each, where it comes from.\n".to_owned();
        for given in &self.settings {
            let key = given.setting.key;
            // A string takes everything that is written to it.
            let _ = match value(given) {
                Value::Null => writeln!(text, "# {key} is not set"),
                value => writeln!(text, "{key} = {}  # {}", toml(&value), comment(given)),
            };
        }
        text
    }

    /// As one JSON document.
    pub fn to_json(&self) -> Value {
        let settings = self.settings.iter().map(|given| {
            let entry = json!({
                "value": value(given),
                "origin": given.origin.kind(),
                "place": (given.origin.kind() != "default").then(|| given.origin.to_string()),
            });
            (given.setting.key.to_owned(), entry)
        });
        json!({ "config": self.file, "settings": settings.collect::<Map<_, _>>() })
    }
}

/// The origin on the rest of the line.
fn comment(given: &Given) -> String {
    given.origin.to_string().replace(char::is_control, "?")
}

fn value(given: &Given) -> Value {
    let mut texts = given.words.iter().map(|word| word.text.to_string_lossy().into_owned());
    match given.setting.kind {
        Kind::List => texts.collect(),
        Kind::Text | Kind::Path => texts.next().map_or(Value::Null, Value::String),
    }
}

/// JSON's strings and lists of them are TOML's, but for one character.
fn toml(value: &Value) -> String {
    value.to_string().replace('\u{7f}', "\\u007f")
}
