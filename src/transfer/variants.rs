//! A name may stand for several contents: groups its providers by what they say they serve, and
//! picks one.
//!
//! Always holds: providers of one hash are one variant; a provider that names no hash is a variant
//! of its own, since nobody can say what it serves. Never: mixes two hashes in one download.
//!
//! Providers without a hash also stand in as last sources of another choice: what they give is
//! checked against the hash, or taken whole where there is none.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use thiserror::Error;

use super::{MAX_PROBES, MAX_SOURCES, ProviderUrl};
use crate::content::ContentHash;

/// Why no variant can be taken.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum VariantError {
    /// Strict, and there are so many.
    #[error(
        "there are {0} variants: `find` shows their hashes, --hash takes one; or drop --strict"
    )]
    Ambiguous(usize),
    /// None has the hash that was asked for.
    #[error("no provider has the content {0}")]
    NoSuchHash(ContentHash),
    /// There is no provider at all.
    #[error("there is no provider")]
    Empty,
}

/// What the user said about which variant to take.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Wanted {
    /// This content and no other.
    pub hash: Option<ContentHash>,
    /// The one published last.
    pub newest: bool,
    /// Refuse when there are several.
    pub strict: bool,
}

/// One content of a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Variant {
    /// What it is; none for a provider that doesn't say.
    pub hash: Option<ContentHash>,
    /// Who has it, newest first.
    pub providers: Vec<ProviderUrl>,
}

/// A variant that was picked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Choice {
    /// What the content must be, if anybody said.
    pub hash: Option<ContentHash>,
    /// Those that promise it; they may be asked in any order.
    pub sources: Vec<ProviderUrl>,
    /// Those that don't say what they have; asked last.
    pub stand_ins: Vec<ProviderUrl>,
    /// Variants that were not taken.
    pub others: usize,
}

/// Puts providers in the order of how new what they have is, with the time since each was first
/// published, where that is known. A content is as old as its oldest provider: whoever downloads it
/// publishes it once more, which makes it no newer. What nobody dates comes last, in its order.
pub fn newest_first(mut dated: Vec<(ProviderUrl, Option<Duration>)>) -> Vec<ProviderUrl> {
    let mut ages: BTreeMap<String, Duration> = BTreeMap::new();
    for (provider, age) in &dated {
        if let (Some(hash), Some(age)) = (provider.hash(), age) {
            let known = ages.entry(hash.to_string()).or_default();
            *known = (*known).max(*age);
        }
    }
    dated.sort_by_cached_key(|(provider, age)| {
        let own = age.unwrap_or(Duration::MAX);
        let content = provider.hash().and_then(|hash| ages.get(&hash.to_string()).copied());
        (content.unwrap_or(own), own)
    });
    dated.into_iter().map(|(provider, _)| provider).collect()
}

/// All variants of a name, the one published last first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Variants(Vec<Variant>);

impl Variants {
    /// Groups providers, which come newest first. Those beyond [`MAX_SOURCES`], and those that are
    /// listed twice, are left out.
    pub fn group(providers: &[ProviderUrl]) -> Self {
        let mut seen = BTreeSet::new();
        let mut variants: Vec<Variant> = Vec::new();
        for provider in providers {
            if seen.len() == MAX_SOURCES {
                break;
            }
            if !seen.insert((provider.request_url().as_str(), provider.hash())) {
                continue;
            }
            let known = provider
                .hash()
                .and_then(|hash| variants.iter_mut().find(|variant| variant.hash == Some(hash)));
            match known {
                Some(variant) => variant.providers.push(provider.clone()),
                None => variants
                    .push(Variant { hash: provider.hash(), providers: vec![provider.clone()] }),
            }
        }
        Self(variants)
    }

    /// The variants, the one published last first.
    pub fn all(&self) -> &[Variant] {
        &self.0
    }

    /// Providers to probe before [`Variants::choose`]: none unless the choice hangs on who
    /// answers; at most [`MAX_PROBES`], spread over the variants.
    pub fn to_probe(&self, wanted: &Wanted) -> Vec<ProviderUrl> {
        let decided = wanted.hash.is_some() || wanted.newest || wanted.strict;
        if decided || self.0.len() < 2 {
            return Vec::new();
        }
        let longest = self.0.iter().map(|it| it.providers.len()).max();
        (0..longest.unwrap_or(0))
            .flat_map(|row| self.0.iter().filter_map(move |it| it.providers.get(row)))
            .take(MAX_PROBES)
            .cloned()
            .collect()
    }

    /// Picks one. `alive` are the URLs, as published, of probed providers that offer what they say.
    pub fn choose(
        &self,
        wanted: &Wanted,
        alive: &BTreeSet<String>,
    ) -> Result<Choice, VariantError> {
        if self.0.is_empty() {
            return Err(VariantError::Empty);
        }
        if let Some(hash) = wanted.hash {
            return self.by_hash(hash);
        }
        if wanted.strict && self.0.len() > 1 {
            return Err(VariantError::Ambiguous(self.0.len()));
        }
        let picked = if wanted.newest { 0 } else { self.most_alive(alive) };
        Ok(self.take(picked))
    }

    fn by_hash(&self, hash: ContentHash) -> Result<Choice, VariantError> {
        if let Some(index) = self.0.iter().position(|it| it.hash == Some(hash)) {
            return Ok(self.take(index));
        }
        let stand_ins = self.without_hash(None);
        if stand_ins.is_empty() {
            return Err(VariantError::NoSuchHash(hash));
        }
        Ok(Choice {
            hash: Some(hash),
            sources: Vec::new(),
            others: self.0.len() - stand_ins.len(),
            stand_ins,
        })
    }

    /// The variant that most answer for; then the one that can be verified; then the one that most
    /// are published for; then the newest.
    fn most_alive(&self, alive: &BTreeSet<String>) -> usize {
        let merit = |variant: &Variant| {
            let answer = |it: &&ProviderUrl| alive.contains(it.published());
            let answering = variant.providers.iter().filter(answer).count();
            (answering, variant.hash.is_some(), variant.providers.len())
        };
        let best = self.0.iter().map(merit).max();
        let index = self.0.iter().position(|it| Some(merit(it)) == best);
        index.unwrap_or(0)
    }

    fn take(&self, index: usize) -> Choice {
        let variant = &self.0[index];
        Choice {
            hash: variant.hash,
            sources: variant.providers.clone(),
            stand_ins: self.without_hash(Some(index)),
            others: self.0.len() - 1,
        }
    }

    fn without_hash(&self, but: Option<usize>) -> Vec<ProviderUrl> {
        let unknown = self.0.iter().enumerate();
        unknown
            .filter(|(index, variant)| variant.hash.is_none() && Some(*index) != but)
            .flat_map(|(_, variant)| variant.providers.iter().cloned())
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hash(n: u8) -> ContentHash {
        ContentHash::new([n; 32])
    }

    /// `a1` is host a with hash 1, `b` is host b without a hash; newest first.
    fn providers(list: &str) -> Vec<ProviderUrl> {
        let url = |item: &str| match item.split_at(1) {
            (host, "") => format!("http://{host}/x"),
            (host, n) => format!("http://{host}/x#blake3={}", hash(n.parse().unwrap())),
        };
        let urls = list.split_whitespace().map(url);
        urls.map(|it| ProviderUrl::parse(&it).unwrap()).collect()
    }

    fn hosts(list: &[ProviderUrl]) -> String {
        list.iter().filter_map(|it| it.request_url().host_str()).collect()
    }

    fn choose(list: &str, wanted: Wanted, alive: &str) -> Result<Choice, VariantError> {
        let all = providers(list);
        let answers = |it: &&ProviderUrl| {
            it.request_url().host_str().is_some_and(|host| alive.contains(host))
        };
        let alive = all.iter().filter(answers).map(|it| it.published().to_owned()).collect();
        Variants::group(&all).choose(&wanted, &alive)
    }

    #[test]
    fn equal_hashes_are_one_variant_and_unknown_contents_are_each_their_own() {
        let variants = Variants::group(&providers("a1 b c2 d1 e a1"));
        let groups: Vec<_> = variants.all().iter().map(|it| hosts(&it.providers)).collect();
        assert_eq!(groups, ["ad", "b", "c", "e"], "doubles are dropped");
    }

    #[test]
    fn what_a_key_can_hold_is_enough() {
        let many: Vec<_> =
            (0..2 * MAX_SOURCES).map(|n| format!("http://h/{n}#blake3={}", hash(1))).collect();
        let many: Vec<_> = many.iter().map(|it| ProviderUrl::parse(it).unwrap()).collect();
        assert_eq!(Variants::group(&many).all()[0].providers, many[..MAX_SOURCES]);
    }

    #[test]
    fn the_hash_names_the_variant() {
        let wanted = |n| Wanted { hash: Some(hash(n)), strict: true, ..Wanted::default() };
        let choice = choose("a1 b2 c d2", wanted(2), "").unwrap();
        assert_eq!((hosts(&choice.sources), hosts(&choice.stand_ins)), ("bd".into(), "c".into()));
        let choice = choose("a1 c", wanted(2), "").unwrap();
        assert_eq!((hosts(&choice.sources), hosts(&choice.stand_ins)), (String::new(), "c".into()));
        assert_eq!(choice.hash, Some(hash(2)), "a stand-in is checked too");
        assert_eq!(choose("a1 b3", wanted(2), ""), Err(VariantError::NoSuchHash(hash(2))));
    }

    #[test]
    fn otherwise_the_variant_that_most_answer_for() {
        let free = Wanted::default();
        for (list, alive, taken) in [
            ("a1 b2 c2", "abc", "bc"),
            ("a1 b2 c2", "a", "a"),
            ("a1 b2 c2", "", "bc"),
            ("a1 b2", "ab", "a"),
            ("a b1", "ab", "b"),
            ("a b", "b", "b"),
            ("a b", "ab", "a"),
        ] {
            let choice = choose(list, free, alive).unwrap();
            assert_eq!(hosts(&choice.sources), taken, "{list} with {alive} alive");
        }
        assert_eq!(choose("", free, ""), Err(VariantError::Empty));
    }

    #[test]
    fn newest_and_strict_do_as_they_say() {
        let newest = Wanted { newest: true, ..Wanted::default() };
        let choice = choose("a1 b2 c2", newest, "bc").unwrap();
        assert_eq!((hosts(&choice.sources).as_str(), choice.others), ("a", 1));
        let strict = Wanted { strict: true, ..Wanted::default() };
        assert_eq!(choose("a1 b2", strict, "ab"), Err(VariantError::Ambiguous(2)));
        assert_eq!(choose("a1 b", strict, "ab"), Err(VariantError::Ambiguous(2)));
        assert!(choose("a1 b1", strict, "").is_ok());
    }

    #[test]
    fn a_content_is_as_old_as_its_oldest_provider() {
        let dated = |list: &str, ages: &[Option<u64>]| {
            let ages = ages.iter().map(|age| age.map(Duration::from_secs));
            let sorted = newest_first(providers(list).into_iter().zip(ages).collect());
            hosts(&sorted)
        };
        assert_eq!(dated("a1 b2", &[Some(9), Some(5)]), "ba");
        // c has downloaded the old content a moment ago, and publishes it, too.
        assert_eq!(dated("a1 b2 c1", &[Some(9), Some(5), Some(1)]), "bca");
        assert_eq!(dated("a1 b2 c", &[None, Some(5), None]), "bac", "what nobody dates is last");
        assert_eq!(dated("c b1 a2", &[None, None, None]), "cba", "in its order");
        assert_eq!(dated("a1 b2 c1", &[None, Some(5), Some(1)]), "cab");
    }

    #[test]
    fn probes_are_few_and_spread_over_the_variants() {
        let free = Wanted::default();
        let probed = |list: &str| hosts(&Variants::group(&providers(list)).to_probe(&free));
        assert_eq!(probed("a1 b1 c1"), "", "nothing to decide");
        assert_eq!(probed("a1 b1 c2 d3"), "acdb");
        let many: Vec<_> = ('a'..='z').map(|host| format!("{host}1")).collect();
        assert_eq!(probed(&format!("{} A2", many.join(" "))).len(), MAX_PROBES);
    }
}
