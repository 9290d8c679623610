//! Laws of names, and the hostile ones.

use std::path::{Component, Path};

use proptest::prelude::*;

use super::*;

fn reason(name: &str) -> &'static str {
    FileName::parse(name).expect_err(name).reason
}

/// A word of the reason, and names that are refused for it.
const HOSTILE: &[(&str, &[&str])] = &[
    ("empty", &[""]),
    ("folder", &[".", ".."]),
    ("separator", &["a/b", "/", "/etc/passwd", "../x", "a\\b", "..\\x", "C:\\x", "x/", "//host/x"]),
    (
        "control",
        &[
            "a\0b",
            "\0",
            "a\nb",
            "a\r\nb",
            "\x1b[2J",
            "a\x7f",
            "a\u{80}",
            "a\u{9f}b",
            "a\u{2028}b",
            "a\u{2029}",
        ],
    ),
    ("direction", &["a\u{202e}txt.exe", "\u{2066}a", "a\u{2069}b", "\u{200f}a", "a\u{61c}b"]),
    ("invisible", &["a\u{200b}b", "\u{feff}a", "a\u{ad}b", "a\u{2060}", "a\u{e0041}b"]),
    ("dot or a space", &["a.", "a..", "a ", "a\u{a0}", "...", " ", "a. "]),
    (
        "device",
        &[
            "CON",
            "con",
            "Nul",
            "nul.txt",
            "aux.tar.gz",
            "COM1",
            "com9.log",
            "LPT¹",
            "CON .txt",
            "conin$",
        ],
    ),
    ("unfinished", &[".x.partial", ".partial"]),
];

#[test]
fn hostile_names_are_refused_for_the_right_reason() {
    for (expected, names) in HOSTILE {
        for name in *names {
            assert!(reason(name).contains(expected), "{name:?}: {}", reason(name));
        }
    }
}

#[test]
fn ordinary_names_are_taken_as_they_are() {
    for name in [
        "a",
        "a.txt",
        "a b.txt",
        " a",
        ".bashrc",
        "..a",
        "a..b",
        "x.partial",
        "12:30.log",
        "a?b*c<d>|\"e\"",
        "~",
        "-rf",
        "100%",
        "%2e%2e%2f",
        "CONSOLE",
        "COM",
        "COM0",
        "COM10",
        "COMÉ",
        "communication.doc",
        "ñandú.iso",
        "日本語.txt",
        "ملف.pdf",
        "می\u{200c}خواهم.txt",
        "👩\u{200d}🚀.png",
        "#a&b=c+d;e",
        "con-fig",
    ] {
        assert_eq!(FileName::parse(name).map(|name| name.0).as_deref(), Ok(name));
    }
}

#[test]
fn length_is_counted_in_bytes_of_the_composed_form() {
    assert!(FileName::parse(&"a".repeat(255)).is_ok());
    assert!(reason(&"a".repeat(256)).contains("255"));
    assert!(reason(&"é".repeat(128)).contains("255"));
    // 127 letters of two bytes once they are composed, of three before.
    assert!(FileName::parse(&"e\u{301}".repeat(127)).is_ok());
}

#[test]
fn both_forms_of_a_letter_are_one_name() {
    let composed = FileName::parse("caf\u{e9}").unwrap();
    assert_eq!(FileName::parse("cafe\u{301}"), Ok(composed.clone()));
    assert_eq!(composed.percent_encoded(), "caf%C3%A9");
}

#[test]
fn a_segment_is_decoded_once() {
    let parse = |segment| FileName::from_url_segment(segment).map(|name| name.0);
    assert_eq!(parse("a%20b").as_deref(), Ok("a b"));
    assert_eq!(parse("a+b").as_deref(), Ok("a+b"));
    assert_eq!(parse("%252e%252e%252f").as_deref(), Ok("%2e%2e%2f"));
    for bad in [
        "%2e%2e",
        "%2e%2e%2fx",
        "a%2Fb",
        "a%5cb",
        "%00",
        "a%00.txt",
        "%ff",
        "%c0%ae%c0%ae",
        "",
        "%ED%A0%80",
    ] {
        assert!(parse(bad).is_err(), "{bad}");
    }
}

proptest! {
    #[test]
    fn a_name_survives_parsing_again_and_a_url(name in any_name()) {
        if let Ok(name) = FileName::parse(&name) {
            prop_assert_eq!(FileName::parse(name.as_str()), Ok(name.clone()));
            let encoded = name.percent_encoded();
            prop_assert!(encoded.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._~%".contains(&b)));
            prop_assert_eq!(FileName::from_url_segment(&encoded), Ok(name));
        }
    }

    #[test]
    fn a_name_never_leaves_its_folder(name in any_name()) {
        if let Ok(name) = FileName::parse(&name) {
            let folder = Path::new("/srv/files");
            let joined = folder.join(name.as_str());
            prop_assert_eq!(joined.parent(), Some(folder));
            let components: Vec<_> = Path::new(name.as_str()).components().collect();
            prop_assert_eq!(components, vec![Component::Normal(name.as_str().as_ref())]);
            prop_assert!(name.as_str().len() <= MAX_NAME_BYTES);
        }
    }
}

/// Any text, with what is dangerous far more often than chance would have it.
fn any_name() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        "[a-z]{1,4}",
        any::<char>().prop_map(String::from),
        prop::sample::select(vec![
            "..", ".", "/", "\\", "\0", "%2f", "%2e", "%", " ", "nul", "e\u{301}", "\u{202e}",
            "\u{338}", "C:", "~",
        ])
        .prop_map(String::from),
    ];
    prop::collection::vec(piece, 0..8).prop_map(|pieces| pieces.concat())
}
