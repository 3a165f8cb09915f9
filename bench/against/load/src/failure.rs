//! Why a measurement has no result.

use std::fmt;
use std::io;

#[derive(Debug)]
pub(crate) struct Failure(String);

pub(crate) type Outcome<T = ()> = Result<T, Failure>;

impl Failure {
    pub(crate) fn new(words: impl Into<String>) -> Self {
        Self(words.into())
    }

    /// The server has sent something else than was due.
    pub(crate) fn unexpected(due: &str, bytes: &[u8]) -> Self {
        let shown = &bytes[..bytes.len().min(120)];
        Self(format!(
            "{due} was due, and this came: {}",
            String::from_utf8_lossy(shown).escape_debug()
        ))
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self(error.to_string())
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
