//! The source of unpredictable bytes, which the caller always provides.
//!
//! Session ids, masks and jitter are drawn through this trait and from nowhere else. So one seed
//! gives one run, byte for byte.

/// A source of unpredictable bytes.
///
/// In production, the source must be a cryptographically secure generator, because session ids are
/// bearer secrets. In tests and simulations, the source is a seeded generator.
pub trait Entropy: Send {
    /// Fills `out` completely. An implementation that cannot do this must panic: if bytes stay as
    /// they were, the id that is made of them can be guessed by anybody.
    fn fill(&mut self, out: &mut [u8]);
}

impl<F: FnMut(&mut [u8]) + Send> Entropy for F {
    fn fill(&mut self, out: &mut [u8]) {
        self(out);
    }
}
