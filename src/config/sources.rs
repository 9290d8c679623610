//! Where settings come from, and which of several wins: a flag before a variable of the
//! environment, that before the settings file, that before the default.
//!
//! Always holds: each value knows its origin, so that an error or `--print-config` can name it.
//! Never: knows what a value means.

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::path::{Path, PathBuf};

use etcetera::BaseStrategy;

use super::ConfigError;
use super::file::SettingsFile;

/// What stands before a setting's name in the environment.
const PREFIX: &str = "KAD_ACTOR_";
/// Names the settings file, and is none of its settings.
const FILE_VARIABLE: &str = "KAD_ACTOR_CONFIG";
/// Names that are less alike than this are no suggestion, as the command line has it.
const ALIKE: f64 = 0.7;

/// How a setting is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// One text.
    Text,
    /// Texts; in a flag or a variable with commas between them.
    List,
    /// A path; in the settings file it counts from the file's folder.
    Path,
}

/// A setting by its name in the settings file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Setting {
    pub(super) key: &'static str,
    pub(super) kind: Kind,
    /// What holds when nobody says otherwise.
    pub(super) default: Option<&'static str>,
}

const fn setting(key: &'static str, kind: Kind, default: Option<&'static str>) -> Setting {
    Setting { key, kind, default }
}

pub(super) const DATA_DIR: Setting = setting("data_dir", Kind::Path, None);
pub(super) const SOCKET: Setting = setting("socket", Kind::Path, None);
pub(super) const LISTEN: Setting = setting("listen", Kind::Text, Some("0.0.0.0:8468"));
pub(super) const ADMIN_LISTEN: Setting =
    setting("admin_listen", Kind::Text, Some("127.0.0.1:8469"));
pub(super) const BOOTSTRAP: Setting = setting("bootstrap", Kind::List, None);
pub(super) const ADVERTISE: Setting = setting("advertise", Kind::Text, None);
pub(super) const DIALECT: Setting = setting("dialect", Kind::Text, Some("list"));
pub(super) const PROFILE: Setting = setting("profile", Kind::Text, Some("lan"));
pub(super) const STORE_QUOTA: Setting = setting("store_quota", Kind::Text, Some("64MiB"));
pub(super) const DISK_QUOTA: Setting = setting("disk_quota", Kind::Text, Some("off"));
pub(super) const SERVE_LIMIT: Setting = setting("serve_limit", Kind::Text, Some("off"));
pub(super) const LIMIT_RATE: Setting = setting("limit_rate", Kind::Text, Some("off"));

/// All of them, in the order in which they are shown.
pub(super) const SETTINGS: [Setting; 12] = [
    DATA_DIR,
    SOCKET,
    LISTEN,
    ADMIN_LISTEN,
    BOOTSTRAP,
    ADVERTISE,
    DIALECT,
    PROFILE,
    STORE_QUOTA,
    DISK_QUOTA,
    SERVE_LIMIT,
    LIMIT_RATE,
];

impl Setting {
    /// Its name as a flag.
    pub(super) fn flag(&self) -> String {
        format!("--{}", self.key.replace('_', "-"))
    }

    /// Its name in the environment.
    pub(super) fn variable(&self) -> String {
        format!("{PREFIX}{}", self.key.to_uppercase())
    }
}

/// Where a value was given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Origin {
    Default,
    File { path: PathBuf, line: usize },
    Variable(String),
    Flag(String),
}

impl Origin {
    /// What scripts call it.
    pub(super) const fn kind(&self) -> &'static str {
        match self {
            Self::Default => "default",
            Self::File { .. } => "file",
            Self::Variable(_) => "environment",
            Self::Flag(_) => "flag",
        }
    }

    /// Where a person finds a setting that was given here.
    pub(super) fn place(&self, setting: Setting) -> String {
        match self {
            Self::File { .. } => format!("{self}: {}", setting.key),
            _ => self.to_string(),
        }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File { path, line } => write!(f, "{}:{line}", path.display()),
            Self::Variable(name) | Self::Flag(name) => f.write_str(name),
        }
    }
}

/// One text of a setting.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Word {
    pub(super) text: OsString,
    pub(super) origin: Origin,
}

/// A setting as it was given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Given {
    pub(super) setting: Setting,
    /// One at most, unless it is a list.
    pub(super) words: Vec<Word>,
    pub(super) origin: Origin,
}

/// What is known beside the flags.
#[derive(Debug)]
pub(super) struct Sources {
    file: Option<SettingsFile>,
    variables: Vec<(&'static str, OsString)>,
}

impl Sources {
    /// Reads the environment, and the settings file that is named by `flag`, by the environment, or
    /// that lies where such files do.
    pub(super) fn read(flag: Option<&Path>) -> Result<Self, ConfigError> {
        let home = etcetera::base_strategy::Xdg::new().ok().map(|xdg| xdg.config_dir());
        Self::among(flag, home.as_deref(), |name| std::env::var_os(name))
    }

    pub(super) fn among(
        flag: Option<&Path>,
        config_home: Option<&Path>,
        variable: impl Fn(&str) -> Option<OsString>,
    ) -> Result<Self, ConfigError> {
        // Emptied is how a variable is unset for one command.
        let variable = |name: &str| variable(name).filter(|value| !value.is_empty());
        let named = flag.map(Path::to_owned).or_else(|| variable(FILE_VARIABLE).map(PathBuf::from));
        let file = match named {
            Some(path) => Some(SettingsFile::read(&path)?),
            None => match config_home {
                Some(home) => SettingsFile::read_if_there(&home.join("kad-actor/config.toml"))?,
                None => None,
            },
        };
        let variables = SETTINGS
            .iter()
            .filter_map(|setting| Some((setting.key, variable(&setting.variable())?)))
            .collect();
        Ok(Self { file, variables })
    }

    /// The settings file that was read.
    pub(super) fn file(&self) -> Option<&Path> {
        self.file.as_ref().map(SettingsFile::path)
    }

    /// A setting, given what its flag says (nothing: the flag is absent).
    pub(super) fn given(&self, setting: Setting, flag: &[OsString]) -> Given {
        let variable = self.variables.iter().find(|(key, _)| *key == setting.key);
        let (words, origin) = if !flag.is_empty() {
            words(setting, flag, &Origin::Flag(setting.flag()))
        } else if let Some((_, value)) = variable {
            words(setting, std::slice::from_ref(value), &Origin::Variable(setting.variable()))
        } else if let Some(entry) = self.file.as_ref().and_then(|file| file.entry(setting.key)) {
            (entry.words.clone(), entry.origin.clone())
        } else {
            let default: Vec<OsString> = setting.default.iter().map(OsString::from).collect();
            words(setting, &default, &Origin::Default)
        };
        Given { setting, words, origin }
    }

    /// The data folder and the socket. The socket in the settings file goes with the data folder
    /// there: whoever names another folder means another node.
    pub(super) fn locations(&self, data_dir: &[OsString], socket: &[OsString]) -> [Given; 2] {
        let data_dir = self.given(DATA_DIR, data_dir);
        let mut socket = self.given(SOCKET, socket);
        let nearer = matches!(data_dir.origin, Origin::Flag(_) | Origin::Variable(_));
        if nearer && matches!(socket.origin, Origin::File { .. }) {
            socket = Given { setting: SOCKET, words: Vec::new(), origin: Origin::Default };
        }
        [data_dir, socket]
    }
}

fn words(setting: Setting, texts: &[OsString], origin: &Origin) -> (Vec<Word>, Origin) {
    let word = |text: &OsStr| Word { text: text.to_owned(), origin: origin.clone() };
    let words = texts.iter().flat_map(|text| match (setting.kind, text.to_str()) {
        (Kind::List, Some(list)) => list.split(',').map(|item| word(OsStr::new(item))).collect(),
        _ => vec![word(text)],
    });
    (words.collect(), origin.clone())
}

/// The setting somebody may have meant, or all of them, as the end of a sentence.
pub(super) fn suggestion(unknown: &str, known: &[String]) -> String {
    nearest(unknown, known, strsim::jaro_winkler)
}

fn nearest(unknown: &str, known: &[String], likeness: fn(&str, &str) -> f64) -> String {
    let alike = |name: &String| likeness(unknown, name);
    let nearest = known.iter().max_by(|a, b| alike(a).total_cmp(&alike(b)));
    match nearest {
        Some(name) if alike(name) > ALIKE => format!("did you mean '{name}'?"),
        _ => format!("there are {}", known.join(", ")),
    }
}

/// Variables that look like settings and are none, each with what may have been meant.
pub(super) fn strays(names: impl Iterator<Item = OsString>) -> Vec<String> {
    let known: Vec<String> = SETTINGS.iter().map(Setting::variable).collect();
    let alike = |name: &str, known: &str| {
        // What all of them begin with makes none of them alike.
        strsim::jaro_winkler(&name[PREFIX.len()..], &known[PREFIX.len()..])
    };
    let mut strays = Vec::new();
    for name in names.filter_map(|name| name.into_string().ok()) {
        if name.starts_with(PREFIX) && name != FILE_VARIABLE && !known.contains(&name) {
            let meant = nearest(&name, &known, alike);
            strays.push(format!("the variable {name} is no setting: {meant}"));
        }
    }
    strays
}
