//! Uploads by multipart.

use kad_actor::command::Command;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::http::Answer;
use super::node::{Admin, Node, Upload, assert_guarded, bearer, error_code};

const FORM: &str = "multipart/form-data; boundary=XyZ";

fn part(about: &str, content: &[u8]) -> Vec<u8> {
    let head = format!("--XyZ\r\nContent-Disposition: form-data; {about}\r\n\r\n");
    [head.as_bytes(), content, b"\r\n"].concat()
}

fn form(parts: &[(&str, &[u8])]) -> Vec<u8> {
    let mut body: Vec<u8> =
        parts.iter().flat_map(|(about, content)| part(about, content)).collect();
    body.extend(b"--XyZ--\r\n");
    body
}

async fn upload(admin: &Admin, body: &[u8]) -> Answer {
    admin.send("POST", "/api/v1/upload", FORM, body).await
}

fn came(admin: &Admin) -> Vec<Upload> {
    std::mem::take(&mut admin.uploads.lock().unwrap())
}

#[actix::test]
async fn a_file_flows_through_to_the_node() {
    let admin = Admin::start(Node::default());
    let long: Vec<u8> = (0..3_000_017_u32).map(|n| (n % 251) as u8).collect();
    // Content that looks like the form's own marks.
    let sly = b"\r\n--XyQ\r\n--Xy\r\n\r\n--".to_vec();
    for content in [long, Vec::new(), sly, b"x".to_vec()] {
        for (parts, name) in [
            (vec![("name=\"file\"; filename=\"own.bin\"", &content[..])], "own.bin"),
            (
                vec![
                    ("name=\"name\"", "ñ b".as_bytes()),
                    ("name=\"file\"; filename=\"x\"", &content),
                ],
                "ñ b",
            ),
            (vec![("name=\"name\"", b"n"), ("name=\"file\"", &content)], "n"),
        ] {
            let answer = upload(&admin, &form(&parts)).await;
            assert_eq!(answer.status, 201, "{}", answer.text());
            assert_eq!(answer.json()["name"], name);
            assert_guarded(&answer);
            assert_eq!(admin.asked(), [Command::UploadStream { name: name.to_owned() }]);
            assert!(came(&admin) == [Upload::Whole(content.clone())], "other bytes");
        }
    }
    admin.stop().await;
}

#[actix::test]
async fn forms_that_are_wrong_leave_nothing_behind() {
    let admin = Admin::start(Node::default());
    let file = ("name=\"file\"; filename=\"f\"", &b"content"[..]);
    let name = ("name=\"name\"", &b"n"[..]);
    let mut broken_off = form(&[file]);
    broken_off.truncate(broken_off.len() - 14);
    for (what, body) in [
        ("no file", form(&[name])),
        ("nothing", form(&[])),
        ("another field", form(&[("name=\"path\"", b"/etc/passwd"), file])),
        ("the name behind the file", form(&[file, name])),
        ("two files", form(&[file, file])),
        ("two names", form(&[name, name, file])),
        ("no name", form(&[("name=\"file\"", b"x")])),
        ("an empty name", form(&[("name=\"name\"", b""), ("name=\"file\"", b"x")])),
        ("a long name", form(&[("name=\"name\"", &[b'n'; 1_025]), file])),
        ("a name that is no text", form(&[("name=\"name\"", b"\xff"), file])),
        ("no form", b"content".to_vec()),
        ("broken off", broken_off),
        ("an endless head", [b"--XyZ\r\nA: ".to_vec(), vec![b'a'; 200_000]].concat()),
        ("many heads", [b"--XyZ\r\n".to_vec(), b"A: a\r\n".repeat(100), b"\r\n".to_vec()].concat()),
    ] {
        let answer = upload(&admin, &body).await;
        assert_eq!(answer.status, 400, "{what}: {}", answer.text());
        assert_eq!(error_code(&answer), "usage", "{what}");
        assert_guarded(&answer);
        super::limits::until(|| {
            came(&admin).iter().all(|upload| matches!(upload, Upload::CutOff(_)))
        })
        .await;
    }
    admin.stop().await;
}

#[actix::test]
async fn over_quota_is_said_though_more_was_to_come() {
    let admin = Admin::start(Node { quota: Some(100_000), ..Node::default() });
    let content = vec![7; 20_000_000];
    let answer = upload(&admin, &form(&[("name=\"file\"; filename=\"f\"", &content)])).await;
    assert_eq!((answer.status, error_code(&answer).as_str()), (507, "no_space"));
    assert_guarded(&answer);
    admin.stop().await;
}

#[actix::test]
async fn a_client_that_leaves_half_way_is_cut_off() {
    let admin = Admin::start(Node::default());
    let body = form(&[("name=\"file\"; filename=\"f\"", &vec![7; 500_000])]);
    let head = format!(
        "POST /api/v1/upload HTTP/1.1\r\nHost: {}\r\n{}\r\nContent-Type: {FORM}\r\n\
         Content-Length: {}\r\n\r\n",
        admin.address,
        bearer(),
        body.len()
    );
    let mut stream = TcpStream::connect(admin.address).await.unwrap();
    stream.write_all(head.as_bytes()).await.unwrap();
    stream.write_all(&body[..400_000]).await.unwrap();
    super::limits::until(|| !admin.asked().is_empty()).await;
    drop(stream);
    super::limits::until(|| match &came(&admin)[..] {
        [] => false,
        [Upload::CutOff(bytes)] => *bytes < 500_000,
        other => panic!("{other:?}"),
    })
    .await;
    admin.stop().await;
}

#[actix::test]
async fn without_the_token_an_upload_is_not_even_read() {
    let admin = Admin::start(Node::default());
    let mut stream = TcpStream::connect(admin.address).await.unwrap();
    let head = format!(
        "POST /api/v1/upload HTTP/1.1\r\nHost: {}\r\nContent-Type: {FORM}\r\n\
         Content-Length: 1000000000\r\n\r\n",
        admin.address
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut answer = vec![0; 16];
    stream.read_exact(&mut answer).await.unwrap();
    assert!(answer.starts_with(b"HTTP/1.1 401"), "{}", String::from_utf8_lossy(&answer));
    assert_eq!(admin.asked(), []);
    admin.stop().await;
}
