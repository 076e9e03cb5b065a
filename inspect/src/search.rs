//! Searches a text for many patterns at once: with Hyperscan, or with regular expressions alone.
//!
//! The second way is the obvious one, and slow: tests and fuzzers compare the first with it, and a build without the
//! feature `hyperscan` has nothing else. Both report the same: every pattern and every offset behind a match of it.

#[cfg(feature = "hyperscan")]
use crate::hs::{self, HsScratch};
use regex_automata::hybrid::dfa::{Cache, DFA, OverlappingState};
use regex_automata::nfa::thompson;
use regex_automata::util::syntax;
use regex_automata::{Input, MatchKind};
use std::ops::ControlFlow;

/// Readable bytes that must follow every scanned text: one AVX-512 vector.
pub const SCAN_PADDING: usize = 64;

/// Keeps compiled databases between runs of the program. It must give back only what it was given under the same key:
/// a database is used as it is, with no more than Hyperscan's own checksum.
pub trait DatabaseCache: std::fmt::Debug + Sync {
    /// What was stored under `key`, 64 hexadecimal digits.
    fn load(&self, key: &str) -> Option<Vec<u8>>;
    /// Keeps `bytes`, or does not.
    fn store(&self, key: &str, bytes: &[u8]);
}

/// Why patterns cannot be searched for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DatabaseError {
    /// A pattern does not compile; `index` counts in the slice given to the compiler.
    #[error("pattern {index}: {message}")]
    Pattern {
        /// Position of the pattern.
        index: usize,
        /// The compiler's own words.
        message: String,
    },
    /// The compiler failed for another reason than one pattern.
    #[error("the patterns cannot be compiled: {0}")]
    Compile(String),
    /// This CPU lacks what Hyperscan needs (SSSE3).
    #[error("this CPU is not supported by hyperscan (needs SSSE3)")]
    Platform,
    /// Another error code of Hyperscan; -2 is out of memory, -10 a scratch in use.
    #[error("hyperscan returned error {0}")]
    Code(i32),
}

/// One expression of a database.
#[derive(Debug, Clone)]
pub(crate) struct Expression<'a> {
    /// Pattern in Hyperscan's syntax.
    pub pattern: &'a str,
    /// Reported with each match.
    pub id: u32,
}

/// What a database searches with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Method {
    /// Hyperscan; regular expressions in a build without it.
    #[default]
    Fast,
    /// Regular expressions alone, in everything, for everything: the reference.
    Plain,
}

/// Compiled patterns; immutable, shared by all threads.
#[derive(Debug)]
pub(crate) enum Database {
    #[cfg(feature = "hyperscan")]
    Hyperscan(hs::Database),
    Plain(Box<Plain>),
}

impl Database {
    /// Compiles `expressions`, of which there is at least one, or takes them out of `cache`.
    pub(crate) fn new(
        expressions: &[Expression<'_>],
        method: Method,
        cache: Option<&dyn DatabaseCache>,
    ) -> Result<Database, DatabaseError> {
        #[cfg(feature = "hyperscan")]
        if method == Method::Fast {
            return hs::Database::cached(expressions, cache).map(Database::Hyperscan);
        }
        let _ = (method, cache);
        Plain::new(expressions).map(|plain| Database::Plain(Box::new(plain)))
    }

    /// Size of the compiled form in bytes.
    pub(crate) fn size_bytes(&self) -> usize {
        match self {
            #[cfg(feature = "hyperscan")]
            Database::Hyperscan(database) => database.size_bytes(),
            Database::Plain(plain) => plain.dfa.memory_usage(),
        }
    }
}

/// Working memory of one thread for some databases.
#[derive(Debug)]
pub(crate) struct Memory {
    #[cfg(feature = "hyperscan")]
    hs: HsScratch,
    /// For each database that needs one.
    plain: Vec<Option<Cache>>,
}

impl Memory {
    /// For these databases, which [`Memory::scan`] counts in this order.
    pub(crate) fn new<'a>(
        databases: impl Iterator<Item = &'a Database> + Clone,
    ) -> Result<Memory, DatabaseError> {
        let cache = |database: &Database| match database {
            #[cfg(feature = "hyperscan")]
            Database::Hyperscan(_) => None,
            Database::Plain(plain) => Some(plain.dfa.create_cache()),
        };
        Ok(Memory {
            #[cfg(feature = "hyperscan")]
            hs: HsScratch::for_databases(databases.clone().filter_map(|database| match database {
                Database::Hyperscan(database) => Some(database),
                Database::Plain(_) => None,
            }))?,
            plain: databases.map(cache).collect(),
        })
    }

    /// Calls `on_match(id, end)` for every match of `database`, the one with this `index`, in the first `len` bytes of
    /// `padded`; breaks when it does.
    ///
    /// # Panics
    /// When fewer than [`SCAN_PADDING`] bytes follow `len` (the caller's bug, never the input's), or when the callback
    /// panics.
    pub(crate) fn scan(
        &mut self,
        database: &Database,
        index: usize,
        padded: &[u8],
        len: usize,
        mut on_match: impl FnMut(u32, u32) -> ControlFlow<()>,
    ) -> Result<ControlFlow<()>, DatabaseError> {
        match database {
            #[cfg(feature = "hyperscan")]
            Database::Hyperscan(database) => hs::scan(database, &mut self.hs, padded, len, on_match),
            Database::Plain(plain) => {
                let Some(cache) = self.plain.get_mut(index).and_then(Option::as_mut) else {
                    return Err(DatabaseError::Code(-1));
                };
                plain.scan(cache, &padded[..len], &mut on_match)
            }
        }
    }
}

/// A lazily built automaton of all patterns.
#[derive(Debug)]
pub(crate) struct Plain {
    dfa: DFA,
    ids: Vec<u32>,
}

/// Bytes of states that a scan keeps; with less it builds them again and again.
const STATES_BYTES: usize = 32 << 20;

impl Plain {
    fn new(expressions: &[Expression<'_>]) -> Result<Plain, DatabaseError> {
        let nfa = |patterns: &[&str]| {
            thompson::NFA::compiler()
                .configure(thompson::Config::new().utf8(false).nfa_size_limit(None))
                .syntax(syntax::Config::new().unicode(false).utf8(false))
                .build_many(patterns)
                .map_err(|e| e.to_string())
        };
        let patterns: Vec<&str> = expressions.iter().map(|e| e.pattern).collect();
        let all = nfa(&patterns).map_err(|message| {
            let wrong = patterns.iter().enumerate().find_map(|(index, p)| Some((index, nfa(&[*p]).err()?)));
            let (index, message) = wrong.unwrap_or((0, message));
            DatabaseError::Pattern { index, message }
        })?;
        let config = DFA::config()
            .match_kind(MatchKind::All)
            .cache_capacity(STATES_BYTES)
            .skip_cache_capacity_check(true)
            .minimum_cache_clear_count(None);
        let dfa = DFA::builder()
            .configure(config)
            .build_from_nfa(all)
            .map_err(|e| DatabaseError::Compile(e.to_string()))?;
        Ok(Plain { dfa, ids: expressions.iter().map(|e| e.id).collect() })
    }

    fn scan(
        &self,
        cache: &mut Cache,
        text: &[u8],
        on_match: &mut impl FnMut(u32, u32) -> ControlFlow<()>,
    ) -> Result<ControlFlow<()>, DatabaseError> {
        let input = Input::new(text);
        let mut state = OverlappingState::start();
        loop {
            self.dfa
                .try_search_overlapping_fwd(cache, &input, &mut state)
                .map_err(|e| DatabaseError::Compile(e.to_string()))?;
            let Some(found) = state.get_match() else { return Ok(ControlFlow::Continue(())) };
            let id = self.ids.get(found.pattern().as_usize()).copied().unwrap_or(u32::MAX);
            if on_match(id, found.offset() as u32).is_break() {
                return Ok(ControlFlow::Break(()));
            }
        }
    }
}
