//! The one place that draws random bytes.

/// Random bytes: keys and masks of websockets, which only have to differ.
pub(crate) fn bytes<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    // Without random bytes the keys are zero, which every server takes.
    if getrandom::fill(&mut bytes).is_err() {
        bytes.fill(0);
    }
    bytes
}
