//! Where unpredictable bytes come from: always from the caller.
//!
//! Session ids, masks and jitter are drawn through this trait and from nowhere else, so the same
//! seed gives the same run, byte for byte.

/// A source of unpredictable bytes.
///
/// In production this must be a cryptographically secure generator: session ids are bearer secrets.
/// In tests and simulations it is a seeded one.
pub trait Entropy: Send {
    /// Fills `out` completely. If this fails it must panic: bytes that are left as they were would
    /// be an id that anybody can guess.
    fn fill(&mut self, out: &mut [u8]);
}

impl<F: FnMut(&mut [u8]) + Send> Entropy for F {
    fn fill(&mut self, out: &mut [u8]) {
        self(out);
    }
}
