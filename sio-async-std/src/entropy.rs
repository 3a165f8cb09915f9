//! The one place that draws random bytes.

/// Fills `out` from the operating system's generator.
///
/// # Panics
/// If the operating system has none. There is no safe way to go on without: session ids are bearer
/// secrets.
pub(crate) fn fill(out: &mut [u8]) {
    getrandom::fill(out).expect("the operating system gives random bytes");
}
