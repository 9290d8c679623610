//! Tables of settings that must pass and of settings that must be refused by name.

use std::path::Path;

use super::*;

fn flags() -> NodeFlags {
    NodeFlags {
        listen: "0.0.0.0:8468".to_owned(),
        admin_listen: "127.0.0.1:8469".to_owned(),
        bootstrap: Vec::new(),
        advertise: None,
        dialect: "list".to_owned(),
        profile: "lan".to_owned(),
        store_quota: "64MiB".to_owned(),
        disk_quota: None,
    }
}

fn build(change: impl FnOnce(&mut NodeFlags)) -> Result<Config, ConfigError> {
    let mut flags = flags();
    change(&mut flags);
    let locations = LocationFlags { data_dir: Some(PathBuf::from("/nowhere/data")), socket: None };
    Config::new(&locations, &flags, false)
}

#[test]
fn the_defaults_are_the_contract() {
    let config = build(|_| ()).unwrap();
    assert_eq!(config.listen, "0.0.0.0:8468".parse().unwrap());
    assert_eq!(config.admin_listen, Some("127.0.0.1:8469".parse().unwrap()));
    assert_eq!(config.store_quota, 64 * 1024 * 1024);
    assert_eq!((config.dialect, config.profile), (Dialect::List, Profile::Lan));
    assert_eq!(config.socket, Path::new("/nowhere/data/node.sock"));
    assert!(config.bootstrap.is_empty() && config.advertise.is_none());
}

#[test]
fn what_is_right_is_taken() {
    let config = build(|flags| {
        flags.listen = "127.0.0.1:0".to_owned();
        flags.admin_listen = "off".to_owned();
        flags.bootstrap = vec!["Node1.example:8468".to_owned(), "10.0.0.1:1".to_owned()];
        flags.advertise = Some("files.example".to_owned());
        flags.dialect = "scalar".to_owned();
        flags.profile = "public".to_owned();
        flags.store_quota = "1 GiB".to_owned();
    })
    .unwrap();
    assert_eq!(config.admin_listen, None);
    let bootstrap: Vec<_> = config.bootstrap.iter().map(ToString::to_string).collect();
    assert_eq!(bootstrap, ["node1.example:8468", "10.0.0.1:1"]);
    assert_eq!(config.store_quota, 1 << 30);
    assert_eq!((config.dialect, config.profile), (Dialect::Scalar, Profile::Public));
    for (text, host, port) in [
        ("files.example", "files.example", None),
        ("files.example:80", "files.example", Some(80)),
        ("10.0.0.1:8468", "10.0.0.1", Some(8468)),
        ("[2001:db8::1]", "[2001:db8::1]", None),
        ("[2001:db8::1]:80", "[2001:db8::1]", Some(80)),
    ] {
        let host = host.to_owned();
        assert_eq!(parse_advertise(text, false), Ok(Advertise { host, port }), "{text}");
    }
    assert!(parse_advertise("127.0.0.1", true).is_ok(), "a node on loopback may say so");
    for loopback in ["127.0.0.1:0", "127.9.9.9:1", "[::1]:8469"] {
        assert!(parse_admin_listen(loopback).is_ok(), "{loopback}");
    }
}

const WRONG: [(&str, &[&str]); 8] = [
    ("listen", &["", "8468", "localhost:8468", "[::1]:8468", "1.2.3.4:70000", "224.0.0.1:1"]),
    ("admin-listen", &["", "on", "0.0.0.0:8469", "10.0.0.1:8469", "[::]:1", "[::ffff:1.2.3.4]:1"]),
    (
        "bootstrap",
        &["", "host", "host:", "host:0", "host:65536", ":1", "[::1]:1", "0.0.0.0:1", "a b:1"],
    ),
    ("advertise", &["", "0.0.0.0", "[::]:80", "host:0", "host:x", "::1", "http://x", "a/b"]),
    ("advertise", &["127.0.0.1", "LOCALHOST:80", "localhost.", "[::1]:80", "[::ffff:127.0.0.1]"]),
    ("dialect", &["", "List", "both"]),
    ("profile", &["", "wan"]),
    ("store-quota", &["", "lots", "-1", "1KiB"]),
];

#[test]
fn what_is_wrong_is_named() {
    let set = |flag: &'static str, value: &str| {
        build(|flags| {
            let value = value.to_owned();
            match flag {
                "listen" => flags.listen = value,
                "admin-listen" => flags.admin_listen = value,
                "bootstrap" => flags.bootstrap.push(value),
                "advertise" => flags.advertise = Some(value),
                "dialect" => flags.dialect = value,
                "profile" => flags.profile = value,
                _ => flags.store_quota = value,
            }
        })
    };
    for (flag, values) in WRONG {
        for value in values {
            let error = set(flag, value).expect_err(&format!("--{flag} {value:?}"));
            let message = error.to_string();
            assert!(message.starts_with(&format!("--{flag} '{value}': ")), "{message}");
            assert!(!message.contains('\n'), "{message}");
        }
    }
}

#[test]
fn bootstrap_addresses_are_limited() {
    let many = |count| build(|flags| flags.bootstrap = vec!["10.0.0.1:1".to_owned(); count]);
    assert!(many(MAX_BOOTSTRAP).is_ok());
    assert!(many(MAX_BOOTSTRAP + 1).is_err());
}
