//! What a request path leads to: the share, pieces of a download under way, a tree, and what is told
//! of them.
//!
//! Always holds: a file is opened anew for each request, and only if it is the very one that was
//! shared; what has changed or gone away is reported. Never: has the worker wait for a disk.

use std::fs::File;
use std::io;
use std::ops::ControlFlow;
use std::rc::Rc;
use std::sync::Arc;

use actix_web::http::StatusCode;
use actix_web::http::header::{self, EntityTag, HeaderName, HeaderValue};
use actix_web::mime::{self, Mime};
use actix_web::{HttpResponse, web};
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;

use super::answer::{Representation, Source};
use super::{Links, Target, refusal, unavailable};
use crate::actors::messages::{Blob, FindServed, OfferPieces, ServedShare, Wanted, Withdraw};
use crate::content::{
    ContentHash, FileName, Have, OpenError, Sha256Digest, ShareEntry, Tree, Trees, hash_file,
};

/// A name may mean another content tomorrow: caches are to ask, with the entity tag.
const MAY_CHANGE: HeaderValue = HeaderValue::from_static("no-cache");
/// A hash always means the same.
const NEVER_CHANGES: HeaderValue = HeaderValue::from_static("public, max-age=31536000, immutable");
/// What a download has grows by the second.
const GROWS: HeaderValue = HeaderValue::from_static("no-store");

/// Saved, under whatever name.
const NAMELESS: HeaderValue = HeaderValue::from_static("attachment");

const DIGEST: HeaderName = HeaderName::from_static("digest");
const REPR_DIGEST: HeaderName = HeaderName::from_static("repr-digest");

/// The content, or the answer that says why there is none.
pub(super) async fn find(
    links: &Links,
    target: Target,
    path: &str,
) -> Result<Representation, HttpResponse> {
    let now = links.known.moment();
    if let Some(share) = links.known.find(path, now) {
        return share_of(links, &target, &share).await;
    }
    let wanted = match &target {
        Target::Name(name) => Wanted::Name(name.as_str().to_owned()),
        Target::Blob(hash) | Target::Tree(hash) | Target::Have(hash) => Wanted::Content(*hash),
    };
    match links.find.send(FindServed(wanted)).await {
        Ok(Some(Blob::Share(share))) => {
            let share = Rc::new(*share);
            links.known.remember(path, &share, now);
            share_of(links, &target, &share).await
        }
        Ok(Some(Blob::Pieces(offer))) => {
            pieces_of(&target, *offer).ok_or_else(|| refusal(StatusCode::NOT_FOUND, "not found"))
        }
        Ok(None) => Err(refusal(StatusCode::NOT_FOUND, "not found")),
        Err(_) => Err(unavailable()),
    }
}

/// What is wanted of a share.
async fn share_of(
    links: &Links,
    target: &Target,
    share: &ServedShare,
) -> Result<Representation, HttpResponse> {
    let (mime, disposition, caching) = match target {
        Target::Tree(_) => return tree(links, &share.entry).await,
        Target::Have(hash) => {
            return Ok(have_of(*hash, &Have::all(share.entry.verified.size())));
        }
        Target::Name(name) => (mime_of(name), attachment(name), MAY_CHANGE),
        Target::Blob(_) => (mime::APPLICATION_OCTET_STREAM, Some(NAMELESS), NEVER_CHANGES),
    };
    let (hash, size) = (share.entry.verified.hash(), share.entry.verified.size());
    let file = open(links, &share.entry).await?;
    let mut headers = vec![(header::CACHE_CONTROL, caching)];
    headers.extend(disposition.map(|it| (header::CONTENT_DISPOSITION, it)));
    if let Some(sha256) = share.sha256 {
        headers.extend(digests(&sha256));
        // Without a digest, a tool that reads from several could not tell what is right.
        headers.extend(links_to(&share.mirrors));
    }
    Ok(Representation {
        source: Source::File(file),
        size,
        entity_tag: EntityTag::new_strong(hash.to_string()),
        mime,
        headers,
        have: None,
    })
}

/// What is wanted of a download under way, unless that has just ended. It grows in one file, each
/// piece at its place.
fn pieces_of(target: &Target, offer: OfferPieces) -> Option<Representation> {
    let OfferPieces { tree, file, have } = offer;
    let file = file.upgrade()?;
    Some(match target {
        Target::Name(_) => return None,
        // It may be long, and many may take it slowly.
        Target::Tree(hash) => tree_of(*hash, in_memory(tree.encoded())),
        Target::Have(hash) => have_of(*hash, &have),
        Target::Blob(hash) => Representation {
            source: Source::File(file),
            size: tree.size(),
            entity_tag: EntityTag::new_strong(hash.to_string()),
            mime: mime::APPLICATION_OCTET_STREAM,
            headers: vec![
                (header::CONTENT_DISPOSITION, NAMELESS),
                (header::CACHE_CONTROL, NEVER_CHANGES),
            ],
            have: Some(have),
        },
    })
}

/// The tree of a share. One that is missing is made meanwhile.
async fn tree(links: &Links, entry: &ShareEntry) -> Result<Representation, HttpResponse> {
    let verified = entry.verified;
    let (hash, size) = (verified.hash(), verified.size());
    if !Trees::are_kept_for(size) {
        let file = open(links, entry).await?;
        let made = web::block(move || hash_file(&file, |_| ControlFlow::Continue(())));
        return match made.await {
            Ok(Ok(Some((made, tree)))) if made == verified => {
                Ok(tree_of(hash, in_memory(tree.encode())))
            }
            // It is written to just now: the next request finds it changed.
            _ => Err(unavailable()),
        };
    }
    let trees = links.trees.clone();
    let kept = web::block(move || trees.open(verified)).await;
    match kept.unwrap_or_else(|error| Err(io::Error::other(error))) {
        Ok(Some(file)) => {
            let file = Source::File(Arc::new(file));
            Ok(tree_of(hash, (file, Tree::encoded_len(size))))
        }
        Ok(None) => {
            let _ = links.find.send(FindServed(Wanted::MissingTree(hash))).await;
            Err(unavailable())
        }
        Err(_) => Err(unavailable()),
    }
}

fn in_memory(bytes: impl Into<Bytes>) -> (Source, u64) {
    let bytes = bytes.into();
    let size = bytes.len() as u64;
    (Source::Bytes(bytes), size)
}

fn tree_of(hash: ContentHash, (source, size): (Source, u64)) -> Representation {
    Representation {
        source,
        size,
        entity_tag: EntityTag::new_strong(format!("{hash}.tree")),
        mime: mime::APPLICATION_OCTET_STREAM,
        headers: vec![(header::CACHE_CONTROL, NEVER_CHANGES)],
        have: None,
    }
}

fn have_of(hash: ContentHash, have: &Have) -> Representation {
    let (source, size) = in_memory(have.encode().to_vec());
    Representation {
        source,
        size,
        // It only grows: how much there is says what there is.
        entity_tag: EntityTag::new_strong(format!("{hash}.have.{}", have.count())),
        mime: mime::APPLICATION_OCTET_STREAM,
        headers: vec![(header::CACHE_CONTROL, GROWS)],
        have: None,
    }
}

/// Opens a share: at once if the kernel knows the way by heart, else off this thread, since a disk
/// or a file server may take its time.
async fn open(links: &Links, entry: &ShareEntry) -> Result<Arc<File>, HttpResponse> {
    if let Some(file) = entry.open_cached() {
        return Ok(Arc::new(file));
    }
    let entry = entry.clone();
    let opened = web::block(move || {
        let file = entry.open();
        (entry, file)
    });
    match opened.await {
        Ok((_, Ok(file))) => Ok(Arc::new(file)),
        Ok((entry, Err(error))) => Err(unopened(links, entry, &error).await),
        Err(_) => Err(unavailable()),
    }
}

async fn unopened(links: &Links, entry: ShareEntry, error: &OpenError) -> HttpResponse {
    let Some(loss) = error.loss() else {
        log::debug!("{} cannot be served for now: {error}", entry.name);
        return unavailable();
    };
    // Without the actor there is nothing left to withdraw it from.
    let _ = links.withdraw.send(Withdraw { entry, loss }).await;
    refusal(StatusCode::GONE, "the file has changed or gone away")
}

/// The SHA-256 as other tools ask for it: RFC 9530, and RFC 3230, which aria2 reads.
fn digests(sha256: &Sha256Digest) -> impl Iterator<Item = (HeaderName, HeaderValue)> {
    let text = BASE64.encode(sha256);
    let digests = [(REPR_DIGEST, format!("sha-256=:{text}:")), (DIGEST, format!("SHA-256={text}"))];
    digests.into_iter().filter_map(|(name, text)| Some((name, text.parse().ok()?)))
}

/// Other providers, one header each, unquoted (RFC 6249): aria2 reads no other form.
fn links_to(mirrors: &[String]) -> impl Iterator<Item = (HeaderName, HeaderValue)> {
    mirrors.iter().zip(1..).filter_map(|(url, priority)| {
        let link = format!("<{url}>; rel=duplicate; pri={priority}");
        Some((header::LINK, link.parse().ok()?))
    })
}

fn mime_of(name: &FileName) -> Mime {
    let extension = name.as_str().rsplit_once('.').map_or("", |(_, extension)| extension);
    actix_files::file_extension_to_mime(extension)
}

/// Always saved, never shown: a page from here must not run in a browser (RFC 6266, RFC 8187).
fn attachment(name: &FileName) -> Option<HeaderValue> {
    // Hexadecimal digits and escaped names are always valid in a header.
    disposition(name).parse().ok()
}

fn disposition(name: &FileName) -> String {
    let encoded = name.percent_encoded();
    if encoded == name.as_str() {
        return format!("attachment; filename=\"{encoded}\"");
    }
    // For those that read the plain form only, and decode what looks percent-encoded in it.
    let safe = |c: char| c.is_ascii() && !matches!(c, '"' | '%');
    let fallback = name.as_str().replace(|c| !safe(c), "_");
    format!("attachment; filename=\"{fallback}\"; filename*=UTF-8''{encoded}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_in_headers_cannot_be_misread() {
        let header = |name| disposition(&FileName::parse(name).unwrap());
        for (name, expected) in [
            ("a-b.txt", r#"attachment; filename="a-b.txt""#),
            ("a\"b", r#"attachment; filename="a_b"; filename*=UTF-8''a%22b"#),
            ("a%41", r#"attachment; filename="a_41"; filename*=UTF-8''a%2541"#),
            ("ñ;x=1", r#"attachment; filename="_;x=1"; filename*=UTF-8''%C3%B1%3Bx%3D1"#),
        ] {
            assert_eq!(header(name), expected);
        }
    }

    #[test]
    fn digests_are_written_as_the_rfcs_say() {
        // RFC 9530, appendix B.1: the digest of {"hello": "world"}, in its own words.
        let sha256: [u8; 32] = BASE64
            .decode("RK/0qy18MlBSVnWgjwz6lZEWjP/lF5HF9bvEF8FabDg=")
            .unwrap()
            .try_into()
            .unwrap();
        let headers: Vec<_> = digests(&sha256).collect();
        assert_eq!(headers[0].1, "sha-256=:RK/0qy18MlBSVnWgjwz6lZEWjP/lF5HF9bvEF8FabDg=:");
        assert_eq!(headers[1].1, "SHA-256=RK/0qy18MlBSVnWgjwz6lZEWjP/lF5HF9bvEF8FabDg=");
        let mirrors = ["http://10.0.0.1:1/files/a".to_owned(), "bad\nurl".to_owned()];
        let headers: Vec<_> = links_to(&mirrors).collect();
        assert_eq!(headers.len(), 1);
        assert_eq!(headers[0].1, "<http://10.0.0.1:1/files/a>; rel=duplicate; pri=1");
    }
}
