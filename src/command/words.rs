//! Small words for people.
//!
//! Always holds: what is counted agrees with its number. Never: knows what it is about.

/// `1 peer`, `2 peers`.
pub fn counted(count: usize, what: &str) -> String {
    let plural = if count == 1 { "" } else { "s" };
    format!("{count} {what}{plural}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_is_singular_and_none_is_plural() {
        assert_eq!([0, 1, 2].map(|n| counted(n, "peer")), ["0 peers", "1 peer", "2 peers"]);
    }
}
