//! What may be typed, and what of it is told apart.

use clap::CommandFactory;

use super::*;

fn parse(line: &str) -> Result<Cli, clap::Error> {
    Cli::try_parse_from(line.split_whitespace())
}

#[test]
fn the_command_line_is_sound() {
    Cli::command().debug_assert();
}

#[test]
fn every_verb_has_an_example() {
    for verb in Cli::command().get_subcommands() {
        let help = verb.get_after_help().map(ToString::to_string).unwrap_or_default();
        let line = format!("kad-actor {}", verb.get_name());
        assert!(help.contains(&line), "{}", verb.get_name());
        let example = help.lines().last().unwrap_or_default().replace('\'', "");
        let words = example.replace("good morning", "good-morning");
        assert!(parse(&words).is_ok(), "the example of {} is wrong: {words}", verb.get_name());
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
        ("kad-actor download x --newst", "--newest"),
        ("kad-actor --timeout soon status", "--timeout"),
    ] {
        let error = parse(line).unwrap_err();
        assert_eq!(error.exit_code(), 2, "{line}");
        let message = one_line(&error);
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
