//! Settings with the real binary: which of several wins, where each comes from, and what is wrong with
//! a settings file, by its line.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};
use support::node::{Node, clean_command, node_command};
use support::{Finished, run};

struct Home(tempfile::TempDir);

impl Home {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self) -> PathBuf {
        self.0.path().canonicalize().unwrap()
    }

    /// The settings file where such files lie.
    fn config(&self) -> PathBuf {
        self.path().join("config/kad-actor/config.toml")
    }

    fn write(&self, text: &str) -> PathBuf {
        fs::create_dir_all(self.config().parent().unwrap()).unwrap();
        fs::write(self.config(), text).unwrap();
        self.config()
    }

    fn node(&self, flags: &[&str]) -> Command {
        let mut command = clean_command(&self.path());
        command.args(["node", "--print-config"]).args(flags);
        command
    }

    fn print(&self, flags: &[&str], variables: &[(&str, &str)]) -> Finished {
        run(self.node(flags).envs(variables.iter().copied()))
    }

    fn json(&self, flags: &[&str], variables: &[(&str, &str)]) -> Value {
        self.print(&[flags, &["--json"]].concat(), variables).json()
    }
}

/// A value of each setting that none has by default.
const ODD: [(&str, &str); 12] = [
    ("data_dir", "/nowhere/data"),
    ("socket", "/nowhere/socket"),
    ("listen", "10.1.2.3:4"),
    ("admin_listen", "off"),
    ("bootstrap", "a:1"),
    ("advertise", "files.example:80"),
    ("dialect", "scalar"),
    ("profile", "public"),
    ("store_quota", "1MiB"),
    ("disk_quota", "10GiB"),
    ("serve_limit", "10MiB"),
    ("limit_rate", "20MiB"),
];

fn as_toml(settings: &[(&str, &str)]) -> String {
    let line = |(key, value): &(&str, &str)| match *key {
        "bootstrap" => format!("{key} = [\"{value}\"]\n"),
        _ => format!("{key} = \"{value}\"\n"),
    };
    settings.iter().map(line).collect()
}

#[test]
fn a_flag_goes_before_a_variable_before_the_file_before_the_default() {
    let home = Home::new();
    let config = home.write(&as_toml(&ODD));
    for (line, (key, value)) in (1..).zip(ODD) {
        let flag = format!("--{}", key.replace('_', "-"));
        let variable = format!("KAD_ACTOR_{}", key.to_uppercase());
        let listed = |value: &str| if key == "bootstrap" { json!([value]) } else { json!(value) };
        let expected = |value: &str, origin: &str, place: String| json!({ "value": listed(value), "origin": origin, "place": place });
        // What differs from the file, and from each other.
        let (near, nearer) = match key {
            "listen" => ("10.1.2.3:5", "10.1.2.3:6"),
            "admin_listen" => ("127.0.0.1:5", "127.0.0.1:6"),
            "bootstrap" => ("b:1", "c:1"),
            "dialect" => ("list", "scalar"),
            "profile" => ("lan", "public"),
            "store_quota" | "disk_quota" | "serve_limit" | "limit_rate" => ("2MiB", "3MiB"),
            _ => ("/nowhere/else", "/nowhere/at/all"),
        };
        let (near, nearer) =
            if key == "advertise" { ("one.example", "two.example") } else { (near, nearer) };
        let shown = |flags: &[&str], variables: &[(&str, &str)]| {
            home.json(flags, variables)["settings"][key].clone()
        };
        let place = format!("{}:{line}", config.display());
        assert_eq!(shown(&[], &[]), expected(value, "file", place));
        assert_eq!(shown(&[], &[(&variable, "")])["origin"], "file", "an empty one is unset");
        let variables = [(variable.as_str(), near)];
        assert_eq!(shown(&[], &variables), expected(near, "environment", variable.clone()));
        let flags = [flag.as_str(), nearer];
        assert_eq!(shown(&flags, &variables), expected(nearer, "flag", flag.clone()));
    }
    fs::remove_file(&config).unwrap();
    let defaults = home.json(&[], &[]);
    assert_eq!(defaults["config"], Value::Null);
    for (key, value) in ODD {
        let setting = &defaults["settings"][key];
        assert_eq!((&setting["origin"], &setting["place"]), (&json!("default"), &Value::Null));
        assert_ne!(setting["value"], value, "{key}");
    }
}

#[test]
fn what_is_printed_can_be_saved_and_is_the_same_again() {
    let home = Home::new();
    let odd = "/nowhere/\\ \"quoted\" ü\u{7f}";
    let flags = ["--bootstrap", "a:1", "--bootstrap", "b:2,c:3", "--data-dir", odd];
    let printed = home.print(&flags, &[("KAD_ACTOR_ADMIN_LISTEN", "off")]);
    assert_eq!(printed.code, Some(0), "{}", printed.stderr);
    let text = String::from_utf8(printed.stdout).unwrap();
    assert!(text.contains("bootstrap = [\"a:1\",\"b:2\",\"c:3\"]  # --bootstrap"), "{text}");
    assert!(text.contains("admin_listen = \"off\"  # KAD_ACTOR_ADMIN_LISTEN"), "{text}");
    assert!(text.contains("listen = \"0.0.0.0:8468\"  # default"), "{text}");

    let saved = home.path().join("saved.toml");
    fs::write(&saved, &text).unwrap();
    let values = |document: Value| -> Vec<(String, Value)> {
        let settings = document["settings"].as_object().unwrap().clone();
        settings.into_iter().map(|(key, setting)| (key, setting["value"].clone())).collect()
    };
    let before = values(home.json(&flags, &[("KAD_ACTOR_ADMIN_LISTEN", "off")]));
    let again = home.json(&["--config", saved.to_str().unwrap()], &[]);
    assert_eq!(again["config"], saved.to_str().unwrap());
    assert_eq!(values(again), before);
    let by_variable = home.json(&[], &[("KAD_ACTOR_CONFIG", saved.to_str().unwrap())]);
    assert_eq!(values(by_variable), before);
}

#[test]
fn what_is_wrong_with_the_file_is_named_by_its_line() {
    let home = Home::new();
    for (line, text, part) in [
        (2, "listen = \"10.0.0.1:1\"\nbotstrap = [\"a:1\"]\n", "did you mean 'bootstrap'?"),
        (1, "admin-listen = \"off\"", "did you mean 'admin_listen'?"),
        (1, "[node]\nlisten = \"10.0.0.1:1\"", "unknown key 'node': there are data_dir, socket"),
        (3, "# a\n\nlisten = \"nowhere\"", "listen 'nowhere': not an IPv4 address and port"),
        (4, "bootstrap = [\n\"a:1\",\n# b\n\"b\",\n]", "bootstrap 'b': not HOST:PORT"),
        (1, "listen = true", "listen takes one text in quotes"),
        (1, "listen = [\"10.0.0.1:1\"]", "listen takes one text in quotes"),
        (2, "\nbootstrap = [1.5]", "bootstrap takes texts in quotes"),
        (2, "dialect = \"list\"\ndialect = \"scalar\"", "duplicate key"),
        (1, "listen = 10.0.0.1", ""),
        (1, "store_quota = 7", "store_quota '7': less than"),
        (1, "disk_quota = \"much\"", "disk_quota 'much': not a size"),
        (1, "data_dir = \"~/kad\"", "'~' means nothing here"),
        (1, "data_dir = \"\"", "the path is empty"),
        (1, "advertise = \"0.0.0.0\"", "a wildcard is nobody's address"),
    ] {
        let config = home.write(text);
        let failed = home.print(&[], &[]);
        assert_eq!(failed.code, Some(2), "{text}: {}", failed.stderr);
        let place = format!("kad-actor: {}:{line}: ", config.display());
        assert!(failed.stderr.starts_with(&place), "{text}: {}", failed.stderr);
        assert!(failed.stderr.contains(part), "{text}: {}", failed.stderr);
        assert_eq!(failed.stderr.lines().count(), 1, "{}", failed.stderr);
        // The node itself says the same.
        let mut command = clean_command(&home.path());
        assert_eq!(run(command.arg("node")).stderr, failed.stderr);
    }
    fs::write(home.config(), b"# \xff").unwrap();
    assert!(home.print(&[], &[]).stderr.contains(":1: not UTF-8"));
    fs::write(home.config(), "#".repeat(70_000)).unwrap();
    assert!(home.print(&[], &[]).stderr.contains("longer than"));
    let missing = home.print(&["--config", "/nowhere/c.toml"], &[]);
    assert_eq!(missing.code, Some(2));
    assert!(missing.stderr.contains("/nowhere/c.toml cannot be read"), "{}", missing.stderr);
    let stray = run(clean_command(&home.path())
        .args(["node", "--print-config", "--config"])
        .args([Path::new("/dev/null")])
        .env("KAD_ACTOR_LISTN", "x"));
    assert_eq!(stray.code, Some(0), "a warning: {}", stray.stderr);
    assert!(stray.stderr.contains("did you mean 'KAD_ACTOR_LISTEN'?"), "{}", stray.stderr);
    let other = run(clean_command(&home.path())
        .args(["node", "--print-config", "--config", "/dev/null"])
        .env("KAD_ACTOR_TIMEOUT", "1s"));
    assert!(other.stderr.contains("KAD_ACTOR_TIMEOUT is no setting"), "{}", other.stderr);
    assert!(!other.stderr.contains("did you mean"), "it is like none: {}", other.stderr);
}

#[test]
fn a_setting_that_is_wrong_is_named_by_where_it_was_given() {
    let home = Home::new();
    let variable = home.print(&[], &[("KAD_ACTOR_DIALECT", "both")]);
    assert!(variable.stderr.contains("KAD_ACTOR_DIALECT 'both': "), "{}", variable.stderr);
    let flag = home.print(&["--dialect", "both"], &[("KAD_ACTOR_DIALECT", "list")]);
    assert!(flag.stderr.contains("--dialect 'both': "), "{}", flag.stderr);
}

#[test]
fn a_node_and_its_clients_find_each_other_through_the_file() {
    let home = Home::new();
    let data = home.path().join("config/kad-actor/state");
    let text = "data_dir = \"state\"\nsocket = \"state/own.sock\"\n";
    home.write(text);
    let mut command = node_command(&home.path(), Path::new("unused"), &[]);
    // Without the flag for the data dir, which would go before the file.
    let program = command.get_program().to_owned();
    let variables: Vec<_> =
        command.get_envs().map(|(k, v)| (k.to_owned(), v.map(ToOwned::to_owned))).collect();
    command = Command::new(program);
    command.args(["node", "--json"]);
    for (name, value) in variables {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
    let node = Node::start_command(&home.path(), &data, command);
    assert_eq!(node.ready.socket, data.join("own.sock"), "from the file's folder on");
    let status = run(clean_command(&home.path()).args(["status", "--json"])).json();
    assert_eq!(status["id"], node.ready.id.as_str());
    // Whoever names another data dir means another node, whatever socket the file names.
    let mut other = clean_command(&home.path());
    let other = run(other.args(["status", "--json", "--data-dir"]).arg(home.path().join("other")));
    assert_eq!(other.code, Some(69), "{}", other.stderr);
}
