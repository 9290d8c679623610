//! What makes a node handle a message of each kind.
//!
//! Always holds: whoever asks does it as users and peers do: over the socket and by HTTP.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::path::Path;

use serde_json::{Value, json};

use crate::support::{PATIENCE, http, make_file};
use crate::{Heard, Scene};

pub(crate) fn get(scene: &Scene) -> Heard {
    scene.ask(&json!({"op": "get", "key": "kept"}))
}

pub(crate) fn set(scene: &Scene) -> Heard {
    scene.ask(&json!({"op": "set", "key": "k", "value": "v"}))
}

pub(crate) fn peers(scene: &Scene) -> Heard {
    scene.ask(&json!({"op": "peers"}))
}

pub(crate) fn lookup(scene: &Scene) -> Heard {
    scene.ask(&json!({"op": "lookup", "key": "kept"}))
}

pub(crate) fn audit(scene: &Scene) -> Heard {
    scene.ask(&json!({"op": "audit", "name": "kept"}))
}

pub(crate) fn values(scene: &Scene) -> Heard {
    scene.ask(&json!({"op": "values"}))
}

pub(crate) fn status(scene: &Scene) -> Heard {
    scene.ask(&json!({"op": "status"}))
}

pub(crate) fn upload(scene: &Scene) -> Heard {
    scene.ask(&json!({"op": "upload", "path": scene.file("mine.bin")}))
}

/// A content that comes in one part.
pub(crate) fn upload_stream(scene: &Scene) -> Heard {
    let request = r#"{"op":"upload_stream","name":"streamed.bin"}"#;
    ask_in(&scene.node.ready.socket, &format!("{request}\n{{\"content\":3}}\nabc{{\"content\":0}}"))
}

pub(crate) fn upload_copy(scene: &Scene) -> Heard {
    let path = scene.file("theirs.bin");
    scene.ask(&json!({"op": "upload", "path": path, "name": "copied.bin", "copy": true}))
}

pub(crate) fn ls(scene: &Scene) -> Heard {
    scene.ask(&json!({"op": "ls"}))
}

pub(crate) fn unshare(scene: &Scene) -> Heard {
    scene.ask(&json!({"op": "unshare", "name": "spare.bin"}))
}

pub(crate) fn unset(scene: &Scene) -> Heard {
    let pair = |op| json!({"op": op, "key": "passing", "value": "v"});
    scene.ask(&pair("set"));
    scene.ask(&pair("unset"))
}

pub(crate) fn transfers(scene: &Scene) -> Heard {
    scene.ask(&json!({"op": "transfers"}))
}

pub(crate) fn cancel(scene: &Scene) -> Heard {
    scene.ask(&json!({"op": "cancel", "id": 1}))
}

pub(crate) fn find(scene: &Scene) -> Heard {
    scene.ask(&json!({"op": "find", "name": "theirs.bin"}))
}

pub(crate) fn download(scene: &Scene) -> Heard {
    let output = scene.file("fetched.bin");
    let mut download = json!({"op": "download", "name": "theirs.bin", "output": output});
    download["on_conflict"] = json!("overwrite");
    download["no_share"] = json!(true);
    scene.ask(&download)
}

pub(crate) fn request(scene: &Scene) -> Heard {
    Heard::Status(http::request(&scene.node.ready.files, "GET /files/mine.bin HTTP/1.1").0)
}

pub(crate) fn look(scene: &Scene) -> Heard {
    let admin = scene.node.ready.admin.as_ref().unwrap();
    Heard::Status(http::request(admin, "GET /api/v1/peers HTTP/1.1").0)
}

/// Asks for a file that has changed since it was shared.
pub(crate) fn request_changed(scene: &Scene) -> Heard {
    make_file(scene.home.path(), "changed.bin", 10);
    let path = scene.file("changed.bin");
    scene.ok(&json!({"op": "upload", "path": path}));
    make_file(scene.home.path(), "changed.bin", 11);
    Heard::Status(http::request(&scene.node.ready.files, "GET /files/changed.bin HTTP/1.1").0)
}

pub(crate) fn connect(scene: &Scene) -> Heard {
    let address = scene.node.ready.files.trim_start_matches("http://");
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let _ = write!(stream, "GET /files/mine.bin HTTP/1.1\r\nHost: node\r\n\r\n");
    match stream.read(&mut [0; 1]) {
        Ok(0) | Err(_) => Heard::Cut,
        Ok(_) => Heard::Nothing,
    }
}

pub(crate) fn script(scene: &Scene) -> Heard {
    let mut stream = UnixStream::connect(&scene.node.ready.socket).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.write_all(b"get kept").unwrap();
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    if answer.is_empty() { Heard::Cut } else { Heard::Nothing }
}

pub(crate) fn wait(_: &Scene) -> Heard {
    Heard::Nothing
}

pub(crate) fn ask(socket: &Path, request: &Value) -> Heard {
    ask_in(socket, &request.to_string())
}

fn ask_in(socket: &Path, request: &str) -> Heard {
    let Ok(mut stream) = UnixStream::connect(socket) else { return Heard::Cut };
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    if writeln!(stream, "{request}").is_err() {
        return Heard::Cut;
    }
    for line in BufReader::new(stream).lines() {
        let Ok(line) = line else { return Heard::Cut };
        let mut reply: Value = serde_json::from_str(&line).unwrap();
        if reply.get("ok").is_some() {
            return Heard::Answer(Ok(reply["ok"].take()));
        }
        if reply.get("error").is_some() {
            return Heard::Answer(Err(reply["error"].take()));
        }
    }
    Heard::Cut
}
