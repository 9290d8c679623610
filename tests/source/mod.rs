//! Reads Rust source as far as the house rules need it: which words and paths the program uses.
//!
//! Always holds: comments, strings and test modules are no code. Never: understands macros.

/// The code alone: comments and the content of literals are blanked, test modules cut out.
pub(crate) fn program_code(text: &str) -> String {
    without_tests(&without_comments(text))
}

fn without_comments(text: &str) -> String {
    let mut code = String::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let skipped = if rest.starts_with("//") {
            rest.find('\n').unwrap_or(rest.len())
        } else if rest.starts_with("/*") {
            block_comment(rest)
        } else if first == '"' {
            code.push_str("\"\"");
            string(rest)
        } else if let Some(length) = raw_string(rest) {
            code.push_str("\"\"");
            length
        } else if let Some(length) = character(rest) {
            code.push_str("' '");
            length
        } else if first.is_alphanumeric() || first == '_' {
            // A whole word at once: the `r` that ends one opens no raw string.
            let word = rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len());
            code.push_str(&rest[..word]);
            word
        } else {
            code.push(first);
            first.len_utf8()
        };
        rest = &rest[skipped..];
    }
    code
}

fn block_comment(rest: &str) -> usize {
    let mut depth = 0;
    let mut at = 0;
    while at < rest.len() {
        if rest[at..].starts_with("/*") {
            depth += 1;
            at += 2;
        } else if rest[at..].starts_with("*/") {
            depth -= 1;
            at += 2;
            if depth == 0 {
                return at;
            }
        } else {
            at += rest[at..].chars().next().map_or(1, char::len_utf8);
        }
    }
    rest.len()
}

fn string(rest: &str) -> usize {
    let mut escaped = false;
    for (at, c) in rest.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => return at + 1,
            _ => {}
        }
    }
    rest.len()
}

fn raw_string(rest: &str) -> Option<usize> {
    let after = rest.strip_prefix("br").or_else(|| rest.strip_prefix('r'))?;
    let hashes = after.len() - after.trim_start_matches('#').len();
    let body = after[hashes..].strip_prefix('"')?;
    let end = format!("\"{}", "#".repeat(hashes));
    let opened = rest.len() - body.len();
    Some(body.find(&end).map_or(rest.len(), |at| opened + at + end.len()))
}

/// A character literal; a lifetime is none.
fn character(rest: &str) -> Option<usize> {
    let body = rest.strip_prefix('\'')?;
    if body.starts_with('\\') {
        return body[2..].find('\'').map(|at| at + 4);
    }
    let length = body.chars().next()?.len_utf8();
    body[length..].starts_with('\'').then_some(length + 2)
}

/// Cuts every item that follows `#[cfg(test)]`: up to its `;`, or to the brace that closes it.
fn without_tests(code: &str) -> String {
    const MARK: &str = "#[cfg(test)]";
    let mut kept = String::new();
    let mut rest = code;
    while let Some(at) = rest.find(MARK) {
        kept.push_str(&rest[..at]);
        rest = &rest[at + MARK.len()..];
        let mut depth = 0_usize;
        let end = rest.char_indices().find(|(_, c)| {
            depth += usize::from(*c == '{');
            let closes = *c == '}' && depth == 1;
            depth -= usize::from(*c == '}' && depth > 0);
            closes || (*c == ';' && depth == 0)
        });
        rest = end.map_or("", |(at, _)| &rest[at + 1..]);
    }
    kept + rest
}

/// Every identifier, one after the other.
pub(crate) fn words(code: &str) -> impl Iterator<Item = &str> {
    code.split(|c: char| !c.is_alphanumeric() && c != '_').filter(|word| !word.is_empty())
}

/// Every path inside the crate that the code of a module names, from the crate's root on.
pub(crate) fn crate_paths(code: &str, module: &[&str]) -> Vec<Vec<String>> {
    let dense: String = code.chars().filter(|c| !c.is_whitespace()).collect();
    let mut paths = Vec::new();
    for start in ["crate::", "kad_actor::", "super::"] {
        for (at, _) in dense.match_indices(start) {
            let within = dense[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_');
            // In dense code `usecrate::` and `insuper::` are words grown together.
            let keyword = ["use", "in", "pub", "dyn", "impl", "as", "return", "mut"];
            if within && !keyword.iter().any(|word| dense[..at].ends_with(word)) {
                continue;
            }
            let mut base: Vec<String> = Vec::new();
            let mut rest = &dense[at..];
            if start == "super::" {
                // Counted from the first of a chain only.
                if dense[..at].ends_with("super::") {
                    continue;
                }
                base = module.iter().map(ToString::to_string).collect();
                while let Some(after) = rest.strip_prefix("super::") {
                    base.pop();
                    rest = after;
                }
            } else {
                rest = &rest[start.len()..];
            }
            expand(rest, &base, &mut paths);
        }
    }
    paths.retain(|path| !path.is_empty());
    paths
}

/// Follows a path, into every branch of its braces; returns what comes after it.
fn expand<'a>(rest: &'a str, base: &[String], paths: &mut Vec<Vec<String>>) -> &'a str {
    let Some(mut inside) = rest.strip_prefix('{') else {
        let end = rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len());
        let (word, after) = rest.split_at(end);
        let mut path = base.to_vec();
        if !word.is_empty() {
            path.push(word.to_owned());
        }
        if let Some(deeper) = after.strip_prefix("::") {
            return expand(deeper, &path, paths);
        }
        paths.push(path);
        return after;
    };
    loop {
        let after = expand(inside, base, paths);
        // `name as other`, dense, stays one word: only the path before it matters.
        if let Some(next) = after.strip_prefix(',') {
            inside = next;
        } else {
            return after.strip_prefix('}').unwrap_or(after);
        }
        if let Some(after) = inside.strip_prefix('}') {
            return after;
        }
    }
}
