//! Hostile URLs by the hundred, and legal ones that must keep working.

use std::collections::BTreeSet;

use super::*;

const ADMIN_PORT: u16 = 8469;

fn admin() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], ADMIN_PORT))
}

/// A node that is open to others.
fn lan() -> UrlPolicy {
    let own = vec![IpAddr::from([192, 168, 1, 7])];
    UrlPolicy::new(false, Some(admin()), own)
}

/// A node that is itself on loopback.
fn local() -> UrlPolicy {
    UrlPolicy::new(true, Some(admin()), Vec::new())
}

/// Whether anything would be connected to. Names are resolved as a hostile DNS would.
fn lets_through(policy: &UrlPolicy, url: &str, resolved: &[SocketAddr]) -> bool {
    let Ok(url) = Url::parse(url) else {
        return false;
    };
    match policy.target(&url) {
        Ok(Target::Address(_)) => true,
        Ok(Target::Name(..)) => policy.vet_all(resolved.iter().copied()).is_ok(),
        Err(_) => false,
    }
}

/// Addresses that no node may ask when it is not on loopback.
const FORBIDDEN_V4: &[[u8; 4]] = &[
    [127, 0, 0, 1],
    [127, 0, 1, 1],
    [127, 255, 255, 254],
    [0, 0, 0, 0],
    [0, 1, 2, 3],
    [169, 254, 169, 254],
    [169, 254, 0, 1],
    [169, 254, 170, 2],
    [100, 100, 100, 200],
    [168, 63, 129, 16],
    [224, 0, 0, 1],
    [239, 255, 255, 250],
    [255, 255, 255, 255],
    [240, 0, 0, 1],
    [192, 0, 0, 192],
    [192, 88, 99, 1],
    [192, 0, 0, 8],
    [0, 1, 2, 3],
    [250, 1, 2, 3],
    [169, 254, 0, 1],
];

const FORBIDDEN_V6: &[&str] = &[
    "::",
    "::1",
    "fe80::1",
    "fe80::a9fe:a9fe",
    "febf::1",
    "fec0::1",
    "ff02::1",
    "ff0e::1",
    "fd00:ec2::254",
    "fd00:ec2::23",
    "fd20:ce::254",
    "100::1",
    "64:ff9b:1::7f00:1",
    "2001:db8::1",
    "2001:2::1",
    "2001:10::1",
    "2001:20::1",
    "3fff::1",
    "5f00::1",
    "4000::1",
];

/// Every way known here to write an IPv4 address in a URL's host.
fn spellings(ip: [u8; 4]) -> Vec<String> {
    let [a, b, c, d] = ip;
    let number = u32::from_be_bytes(ip);
    let (high, low) = (number >> 16, number & 0xffff);
    let turned = !number;
    vec![
        format!("{a}.{b}.{c}.{d}"),
        format!("{a}.{b}.{c}.{d}."),
        format!("{number}"),
        format!("0x{number:x}"),
        format!("0{number:o}"),
        format!("0x{a:x}.0x{b:x}.0x{c:x}.0x{d:x}"),
        format!("0{a:o}.0{b:o}.0{c:o}.0{d:o}"),
        format!("{a}.{b}.{low}"),
        format!("{a}.{}", number & 0x00ff_ffff),
        format!("%{:02x}{}", b'0' + a / 100, &format!("{a:03}.{b}.{c}.{d}")[1..]),
        format!("[::ffff:{a}.{b}.{c}.{d}]"),
        format!("[::ffff:{high:x}:{low:x}]"),
        format!("[0:0:0:0:0:ffff:{high:x}:{low:x}]"),
        format!("[::ffff:0:{a}.{b}.{c}.{d}]"),
        format!("[::{high:x}:{low:x}]"),
        format!("[64:ff9b::{a}.{b}.{c}.{d}]"),
        format!("[2002:{high:x}:{low:x}::1]"),
        format!("[2001:0:{high:x}:{low:x}::1]"),
        format!("[2001:0:808:808::{:x}:{:x}]", turned >> 16, turned & 0xffff),
        format!("[2001:470:1f0b::5efe:{high:x}:{low:x}]"),
    ]
}

/// At least 300 URLs, none of which a node that is open to others may ask.
fn hostile_urls() -> BTreeSet<String> {
    let mut urls = BTreeSet::new();
    for ip in FORBIDDEN_V4 {
        for (index, host) in spellings(*ip).into_iter().enumerate() {
            let scheme = ["http", "https"][index % 2];
            urls.insert(format!("{scheme}://{host}:8000/latest/meta-data"));
        }
    }
    for ip in FORBIDDEN_V6 {
        urls.insert(format!("http://[{ip}]/"));
        urls.insert(format!("https://[{ip}]:8443/files/x"));
    }
    let full_width = ["http://127。0。0。1/", "http://①②⑦.0.0.1/", "http://０/"];
    let schemes = ["ftp://10.0.0.1/x", "file:///etc/passwd", "gopher://10.0.0.1:70/_x", "unix:/x"];
    let credentials = ["http://a@10.0.0.1/", "http://10.0.0.1:80@127.0.0.1/", "http://:b@h/"];
    let broken = ["http://10.0.0.1:0/", "http://", "http://[::1", "http://1.2.3.4.5/", "//h/x"];
    let all = [&full_width[..], &schemes, &credentials, &broken];
    urls.extend(all.into_iter().flatten().map(|url| (*url).to_owned()));
    urls
}

#[test]
fn no_hostile_url_is_let_through() {
    let urls = hostile_urls();
    assert!(urls.len() >= 300, "only {} URLs", urls.len());
    let through: Vec<_> = urls.iter().filter(|url| lets_through(&lan(), url, &[])).collect();
    assert!(through.is_empty(), "let through: {through:?}");
}

#[test]
fn a_name_is_judged_by_what_it_resolves_to() {
    for ip in FORBIDDEN_V4 {
        for host in ["localhost", "metadata.google.internal", "127.0.0.1.nip.io"] {
            let url = format!("http://{host}/");
            let resolved = [SocketAddr::from((*ip, 80))];
            assert!(!lets_through(&lan(), &url, &resolved), "{url} -> {ip:?}");
        }
    }
    for ip in FORBIDDEN_V6 {
        let ip: Ipv6Addr = ip.parse().unwrap();
        assert!(!lets_through(&lan(), "http://h/", &[SocketAddr::from((ip, 80))]));
    }
    assert_eq!(lan().vet_all([]), Err(Denied::NoAddress));
    let mixed = [
        SocketAddr::from(([127, 0, 0, 1], 80)),
        SocketAddr::from(([10, 0, 0, 1], 80)),
        SocketAddr::from(([10, 0, 0, 2], 80)),
        SocketAddr::from(([10, 0, 0, 3], 80)),
    ];
    assert_eq!(lan().vet_all(mixed), Ok(mixed[1..3].to_vec()));
}

#[test]
fn legal_urls_work() {
    let legal = [
        "http://10.0.0.1:8468/files/x",
        "http://10.255.255.254/",
        "http://172.16.0.1:8468/files/x",
        "http://172.31.255.1/",
        "http://192.168.1.20:8468/files/a%20b",
        "http://192.168.0.1/",
        "http://100.64.0.1:8468/files/x",
        "http://8.8.8.8/x",
        "https://1.1.1.1/x",
        "http://192.0.1.1/x",
        "http://198.20.0.1/x",
        "http://[2606:4700::1111]:8468/files/x",
        "http://[fd12:3456:789a::1]:8468/files/x",
        "http://[2a00:1450:4001::1]/",
        "http://[::ffff:10.0.0.1]:8468/files/x",
        "http://[64:ff9b::8.8.8.8]/x",
        "http://node7:8468/files/x",
        "http://node7.cluster.local:8468/files/x",
        "https://example.org/files/x?y=z",
        "http://xn--bcher-kva.example/x",
        "http://192.168.1.20:8469/files/x",
    ];
    let resolved = [SocketAddr::from(([10, 0, 0, 9], 80))];
    for url in legal {
        assert!(lets_through(&lan(), url, &resolved), "{url}");
        assert!(lets_through(&local(), url, &resolved), "{url}");
    }
}

#[test]
fn a_node_on_loopback_may_ask_loopback_but_nothing_else_more() {
    for url in ["http://127.0.0.1:9000/x", "http://127.8.8.8:1/x", "http://[::1]:9000/x"] {
        assert!(lets_through(&local(), url, &[]), "{url}");
        assert!(!lets_through(&lan(), url, &[]), "{url}");
    }
    for ip in FORBIDDEN_V4.iter().filter(|ip| ip[0] != 127) {
        for host in spellings(*ip) {
            let url = format!("http://{host}:9000/x");
            assert!(!lets_through(&local(), &url, &[]), "{url}");
        }
    }
}

#[test]
fn the_admin_port_is_never_asked() {
    for host in spellings([127, 0, 0, 1]).iter().chain(&spellings([127, 3, 2, 1])) {
        let url = format!("http://{host}:{ADMIN_PORT}/api/v1/files");
        assert!(!lets_through(&local(), &url, &[]), "{url}");
    }
    assert!(!lets_through(&local(), "http://localhost:8469/", &[admin()]));
    let v6 = SocketAddr::from((Ipv6Addr::LOCALHOST, ADMIN_PORT));
    assert_eq!(local().vet(v6), Err(Denied::Admin));

    let own = IpAddr::from([192, 168, 1, 7]);
    let everywhere = SocketAddr::from(([0, 0, 0, 0], ADMIN_PORT));
    let open = UrlPolicy::new(false, Some(everywhere), vec![own]);
    assert_eq!(open.vet(SocketAddr::new(own, ADMIN_PORT)), Err(Denied::Admin));
    assert_eq!(open.vet(SocketAddr::new(own, 8468)), Ok(()));
}

#[test]
fn redirects_are_vetted_and_never_lose_their_cipher() {
    let secure = Url::parse("https://h/a").unwrap();
    let plain = Url::parse("http://10.0.0.1/a").unwrap();
    assert_eq!(lan().redirect(&secure, "http://h/b"), Err(Denied::Downgrade));
    let to = lan().redirect(&plain, "/b#frag").unwrap();
    assert_eq!(to.as_str(), "http://10.0.0.1/b");
    assert!(lan().redirect(&plain, "https://h/b").is_ok());
    for location in hostile_urls() {
        // A relative reference stays on the host it came from.
        if Url::parse(&location).is_ok() {
            assert!(lan().redirect(&plain, &location).is_err(), "{location}");
        }
    }
    assert_eq!(lan().redirect(&plain, "//127.0.0.1/"), Err(Denied::Loopback));
    assert_eq!(lan().redirect(&plain, "http://["), Err(Denied::BadRedirect));
}
