//! What may be typed, and what of it is told apart.

use std::path::PathBuf;
use std::time::Duration;

use clap::CommandFactory;

use super::*;

fn parse(line: &str) -> Result<Cli, clap::Error> {
    let matches = help::command().try_get_matches_from(line.split_whitespace())?;
    Cli::from_arg_matches(&matches)
}

#[test]
fn the_command_line_is_sound() {
    Cli::command().debug_assert();
}

#[test]
fn every_verb_has_examples_that_work() {
    for verb in Cli::command().get_subcommands() {
        let help = verb.get_after_help().map(ToString::to_string).unwrap_or_default();
        let line = format!("kad-actor {}", verb.get_name());
        assert!(help.contains(&line), "{}", verb.get_name());
        // Before them may stand what its columns are.
        let (_, examples) = help.split_once("Example").unwrap();
        for example in examples.lines().filter_map(|line| line.strip_prefix("  ")) {
            // Of a pipeline the part that is ours, without what a shell does with it.
            let ours = example.split(" | ").find(|part| part.starts_with("kad-actor "));
            let ours = ours.unwrap_or_else(|| panic!("of what is this an example: {example}"));
            let words = ours.split(" > ").next().unwrap_or_default().replace('\'', "");
            let words = words.replace("good morning", "good-morning");
            assert!(parse(&words).is_ok(), "the example of {} is wrong: {words}", verb.get_name());
        }
    }
}

#[test]
fn every_verb_stands_under_one_heading() {
    let text = help::command().render_help().to_string();
    for verb in Cli::command().get_subcommands() {
        let (name, about) = (verb.get_name(), verb.get_about().unwrap().to_string());
        let line = format!("\n  {name:<11} {about}\n");
        assert_eq!(text.matches(&line).count(), 1, "{line} in {text}");
        assert!(line.chars().count() <= 82, "fits a terminal: {line}");
    }
    assert!(!text.contains("Commands:"), "{text}");
}

#[test]
fn the_manual_names_every_exit_code() {
    let long = help::command().render_long_help().to_string();
    for code in ErrorCode::ALL {
        let word = serde_json::to_value(code).unwrap();
        let line = format!("\n{:>5}  {}", code.exit_code(), word.as_str().unwrap());
        assert!(long.contains(&line), "{line} in {long}");
    }
}

#[test]
fn defaults_that_the_help_names_are_in_force() {
    let help = Cli::command().find_subcommand_mut("node").unwrap().render_help().to_string();
    let help: String = help.split_whitespace().collect::<Vec<_>>().join(" ");
    let locations = crate::config::LocationFlags {
        data_dir: Some(PathBuf::from("/nowhere")),
        config: Some(PathBuf::from("/dev/null")),
        ..Default::default()
    };
    let (_, in_force) = Config::read(&locations, &NodeFlags::default(), false).unwrap();
    for (key, setting) in in_force.to_json()["settings"].as_object().unwrap() {
        let (default, value) = (setting["origin"] == "default", setting["value"].as_str());
        if let (true, Some(value), true) = (default, value, key != "socket") {
            let flag = key.replace('_', "-");
            let rest = help.split(&format!("--{flag} <")).nth(1).unwrap();
            let own = rest.split(" --").next().unwrap();
            assert!(own.contains(&format!("[default: {value}]")), "{flag}: {own}");
        }
    }
}

#[test]
fn global_flags_stand_before_or_after_the_verb() {
    for line in [
        "kad-actor --json --data-dir /d --timeout 2m -vv --color never get k",
        "kad-actor get k --json --data-dir /d --timeout 2m -vv --color never",
        "kad-actor --json --timeout 2m get --color=never -v -v k --data-dir=/d",
    ] {
        let globals = parse(line).unwrap().globals;
        assert!(globals.json && !globals.quiet, "{line}");
        assert_eq!(globals.locations.data_dir, Some(PathBuf::from("/d")), "{line}");
        assert_eq!(globals.timeout, Some(Duration::from_mins(2)), "{line}");
        assert_eq!((globals.verbose, globals.color), (2, Color::Never), "{line}");
    }
}

#[test]
fn impossible_lines_are_refused_in_one_line() {
    for (line, part) in [
        ("kad-actor fly", "'fly'"),
        ("kad-actor upload", "<PATH>"),
        ("kad-actor get", "<KEY>"),
        ("kad-actor get a b", "'b'"),
        ("kad-actor demo --nodes 2", "3..=50"),
        ("kad-actor demo --nodes 51", "3..=50"),
        ("kad-actor download x --on-conflict ask", "overwrite"),
        ("kad-actor download x --on-conflict ask", "see 'kad-actor download --help'"),
        ("kad-actor get a b", "see 'kad-actor get --help'"),
        ("kad-actor --timeout soon fly", "see 'kad-actor --help'"),
        ("kad-actor download x --newst", "--newest"),
        ("kad-actor --timeout soon status", "--timeout"),
    ] {
        let error = parse(line).unwrap_err();
        assert_eq!(error.exit_code(), 2, "{line}");
        let args: Vec<OsString> = line.split_whitespace().map(OsString::from).collect();
        let message = one_line(&error, &args);
        assert!(message.contains(part), "{message}");
        assert!(!message.contains('\n') && !message.starts_with("error"), "{message}");
    }
}

#[test]
fn flags_that_shape_errors_are_seen_before_parsing() {
    let early = |line: &str| {
        let args: Vec<OsString> = line.split_whitespace().map(OsString::from).collect();
        let early = EarlyFlags::find(&args);
        (early.json, early.color)
    };
    assert_eq!(early("kad-actor fly"), (false, Color::Auto));
    assert_eq!(early("kad-actor fly --json --color never"), (true, Color::Never));
    assert_eq!(early("kad-actor --events --color=always fly"), (true, Color::Always));
    assert_eq!(early("kad-actor set -- k --json"), (false, Color::Auto));
}
