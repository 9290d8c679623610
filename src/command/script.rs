//! The protocol of the Python scripts on the Unix socket: `get K` and `set K V` without framing,
//! answered by pickles. `docs/wire.md` describes it.
//!
//! Always holds: what is written is what Python writes at protocol 3, byte for byte, and never
//! longer than a script reads. Never: reads a pickle.

/// The scripts read once, at most so many bytes.
pub const MAX_SCRIPT_REPLY_BYTES: usize = 1_024;

/// What a script asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ScriptRequest {
    /// All values of a key.
    Get {
        /// The key's name.
        key: String,
    },
    /// One more value of a key; nothing is answered.
    Set {
        /// The key's name.
        key: String,
        /// The value, with its spaces.
        value: String,
    },
}

/// Reads a command: up to the first newline, words parted by single spaces, in this case only.
/// None for anything else, which gets no answer.
pub fn parse_script(bytes: &[u8]) -> Option<ScriptRequest> {
    let line = bytes.split(|byte| *byte == b'\n').next()?;
    let line = str::from_utf8(line).ok()?;
    let (verb, rest) = line.split_once(' ')?;
    match verb {
        "get" => {
            // Further words are ignored.
            let key = rest.split(' ').next()?.to_owned();
            Some(ScriptRequest::Get { key })
        }
        "set" => {
            let (key, value) = rest.split_once(' ')?;
            Some(ScriptRequest::Set { key: key.to_owned(), value: value.to_owned() })
        }
        _ => None,
    }
}

/// The answer to `get`: a list of as many values as fit, oldest first. None fits or none is there:
/// the text `Not found.`.
pub fn script_reply<'v>(values_oldest_first: impl IntoIterator<Item = &'v str>) -> Vec<u8> {
    const HEAD: &[u8] = b"\x80\x03]q\x00";
    // MARK, APPENDS and STOP.
    const REST: usize = 3;
    let mut items: Vec<u8> = Vec::new();
    let mut count: u8 = 0;
    for value in values_oldest_first {
        let taken = 1 + 4 + value.len() + 2;
        if HEAD.len() + items.len() + taken + REST > MAX_SCRIPT_REPLY_BYTES {
            continue;
        }
        // Items of at least 7 bytes: fewer than 256 fit, so one byte numbers them in the memo.
        count += 1;
        push_text(&mut items, value, count);
    }
    let mut reply = HEAD.to_vec();
    match count {
        0 => return not_found(),
        1 => {
            reply.extend(items);
            reply.push(b'a');
        }
        _ => {
            reply.push(b'(');
            reply.extend(items);
            reply.push(b'e');
        }
    }
    reply.push(b'.');
    reply
}

fn not_found() -> Vec<u8> {
    let mut reply = b"\x80\x03".to_vec();
    push_text(&mut reply, "Not found.", 0);
    reply.push(b'.');
    reply
}

/// `BINUNICODE`, its length as 4 bytes little-endian, its bytes, and its place in the memo.
fn push_text(out: &mut Vec<u8>, text: &str, memo: u8) {
    out.push(b'X');
    out.extend((text.len() as u32).to_le_bytes());
    out.extend(text.as_bytes());
    out.extend([b'q', memo]);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn get(key: &str) -> ScriptRequest {
        ScriptRequest::Get { key: key.to_owned() }
    }

    fn set(key: &str, value: &str) -> ScriptRequest {
        ScriptRequest::Set { key: key.to_owned(), value: value.to_owned() }
    }

    #[test]
    fn commands_read_as_the_scripts_mean_them() {
        for (bytes, expected) in [
            ("get song", get("song")),
            ("get song extra words", get("song")),
            ("get nl\n", get("nl")),
            ("get ", get("")),
            ("set song http://a/1", set("song", "http://a/1")),
            ("set title hello big world", set("title", "hello big world")),
            ("set nl v\n", set("nl", "v")),
            ("set  k v", set("", "k v")),
            ("set k ", set("k", "")),
            ("set x 1\nset y 2", set("x", "1")),
            ("set clé ñandú€", set("clé", "ñandú€")),
        ] {
            assert_eq!(parse_script(bytes.as_bytes()), Some(expected), "{bytes:?}");
        }
        let nothing: [&[u8]; 8] =
            [b"", b"get", b"set k", b"del song", b"GET song", b"get \xff\xfe", b" get k", b"\n"];
        for bytes in nothing {
            assert_eq!(parse_script(bytes), None, "{bytes:?}");
        }
    }

    #[test]
    fn replies_are_what_cpython_writes() {
        for (values, expected) in [
            (&[][..], "8003580a0000004e6f7420666f756e642e71002e"),
            (&["http://a/1"][..], "80035d7100580a000000687474703a2f2f612f317101612e"),
            (
                &["http://a/1", "http://b/2"][..],
                "80035d710028580a000000687474703a2f2f612f317101580a000000687474703a2f2f622f327102\
                 652e",
            ),
            (&["ñandú€𝄞"][..], "80035d7100580e000000c3b1616e64c3bae282acf09d849e7101612e"),
            (
                &["a", "b", "c"][..],
                "80035d7100285801000000617101580100000062710258010000006371036\
                 52e",
            ),
        ] {
            assert_eq!(hex::encode(script_reply(values.iter().copied())), expected, "{values:?}");
        }
    }

    #[test]
    fn the_oldest_that_fit_are_sent() {
        let long = "x".repeat(500);
        let longer = "y".repeat(900);
        let reply = script_reply([long.as_str(), longer.as_str(), "short"]);
        let reply = String::from_utf8_lossy(&reply).into_owned();
        assert!(reply.contains(&long) && reply.contains("short") && !reply.contains('y'));
        assert_eq!(script_reply(["z".repeat(2_000).as_str()]), not_found());
    }

    proptest! {
        #[test]
        fn any_bytes_are_a_request_or_none(bytes: Vec<u8>) {
            if let Some(ScriptRequest::Set { key, .. }) = parse_script(&bytes) {
                prop_assert!(!key.contains(' '));
            }
        }

        #[test]
        fn a_reply_is_never_longer_than_a_script_reads(values: Vec<String>) {
            let reply = script_reply(values.iter().map(String::as_str));
            prop_assert!(reply.len() <= MAX_SCRIPT_REPLY_BYTES);
        }
    }
}
