//! Tables of settings that must pass and of settings that must be refused by name.

use std::path::Path;

use super::*;

fn build(change: impl FnOnce(&mut NodeFlags)) -> Result<Config, ConfigError> {
    let mut flags = NodeFlags::default();
    change(&mut flags);
    let nothing = Sources::among(None, None, |_| None).unwrap();
    let data_dir = Some(PathBuf::from("/nowhere/data"));
    let locations = LocationFlags { data_dir, ..LocationFlags::default() };
    Config::among(&nothing, &locations, &flags, false).map(|(config, _)| config)
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
    assert_eq!((config.disk_quota, config.serve_limit), (None, None));
    assert_eq!(config.limit_rate, None);
}

#[test]
fn what_is_right_is_taken() {
    let config = build(|flags| {
        flags.listen = Some("127.0.0.1:0".to_owned());
        flags.admin_listen = Some("off".to_owned());
        flags.bootstrap = vec!["Node1.example:8468".to_owned(), "10.0.0.1:1".to_owned()];
        flags.advertise = Some("files.example".to_owned());
        flags.dialect = Some("scalar".to_owned());
        flags.profile = Some("public".to_owned());
        flags.store_quota = Some("1 GiB".to_owned());
        flags.disk_quota = Some("10GB".to_owned());
        flags.serve_limit = Some("2MB".to_owned());
        flags.limit_rate = Some("3MB".to_owned());
    })
    .unwrap();
    assert_eq!(config.admin_listen, None);
    let bootstrap: Vec<_> = config.bootstrap.iter().map(ToString::to_string).collect();
    assert_eq!(bootstrap, ["node1.example:8468", "10.0.0.1:1"]);
    assert_eq!((config.store_quota, config.disk_quota), (1 << 30, Some(10_000_000_000)));
    assert_eq!(config.serve_limit.unwrap().get(), 2_000_000);
    assert_eq!(config.limit_rate.unwrap().get(), 3_000_000);
    assert_eq!((config.dialect, config.profile), (Dialect::Scalar, Profile::Public));
    for (text, host, port) in [
        ("files.example", "files.example", None),
        ("files.example:80", "files.example", Some(80)),
        ("10.0.0.1:8468", "10.0.0.1", Some(8468)),
        ("[2001:db8::1]", "[2001:db8::1]", None),
        ("[2001:db8::1]:80", "[2001:db8::1]", Some(80)),
    ] {
        let host = host.to_owned();
        assert_eq!(parse::advertise(text, false), Ok(Advertise { host, port }), "{text}");
    }
    assert!(parse::advertise("127.0.0.1", true).is_ok(), "a node on loopback may say so");
    for address in ["127.0.0.1:0", "[::1]:8469", "0.0.0.0:8469", "10.0.0.1:8469"] {
        assert!(parse::admin_listen(address).is_ok(), "{address}");
    }
}

const WRONG: [(&str, &[&str]); 11] = [
    ("listen", &["", "8468", "localhost:8468", "[::1]:8468", "1.2.3.4:70000", "224.0.0.1:1"]),
    ("admin-listen", &["", "on", "localhost:8469", "1.2.3.4:70000", "224.0.0.1:1", "[ff02::1]:1"]),
    (
        "bootstrap",
        &["", "host", "host:", "host:0", "host:65536", ":1", "[::1]:1", "0.0.0.0:1", "a b:1"],
    ),
    ("advertise", &["", "0.0.0.0", "[::]:80", "host:0", "host:x", "::1", "http://x", "a/b"]),
    ("advertise", &["127.0.0.1", "LOCALHOST:80", "localhost.", "[::1]:80", "[::ffff:127.0.0.1]"]),
    ("dialect", &["", "List", "both"]),
    ("profile", &["", "wan"]),
    ("store-quota", &["", "lots", "-1", "1KiB"]),
    ("disk-quota", &["", "lots", "-1", "on"]),
    ("serve-limit", &["", "lots", "-1", "on", "0", "1KiB"]),
    ("limit-rate", &["", "lots", "-1", "on", "0", "1KiB"]),
];

#[test]
fn what_is_wrong_is_named() {
    let set = |flag: &'static str, value: &str| {
        build(|flags| {
            let value = value.to_owned();
            match flag {
                "listen" => flags.listen = Some(value),
                "admin-listen" => flags.admin_listen = Some(value),
                "bootstrap" => flags.bootstrap.push(value),
                "advertise" => flags.advertise = Some(value),
                "dialect" => flags.dialect = Some(value),
                "profile" => flags.profile = Some(value),
                "store-quota" => flags.store_quota = Some(value),
                "disk-quota" => flags.disk_quota = Some(value),
                "serve-limit" => flags.serve_limit = Some(value),
                _ => flags.limit_rate = Some(value),
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
