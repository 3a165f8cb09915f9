//! Patterns with stars, for names of rooms and for parts of names of namespaces.

/// Whether a text fits a pattern in which each `*` stands for any text. The text between two stars
/// is matched at its first occurrence. This leaves the longest rest for the later stars, so nothing
/// has to be tried again.
pub(crate) fn fits(pattern: &str, text: &str) -> bool {
    let Some((head, pattern)) = pattern.split_once('*') else {
        return pattern == text;
    };
    let (between, tail) = pattern.rsplit_once('*').unwrap_or(("", pattern));
    let middle = text.strip_prefix(head).and_then(|rest| rest.strip_suffix(tail));
    let Some(mut rest) = middle else { return false };
    between.split('*').all(|piece| match rest.split_once(piece) {
        _ if piece.is_empty() => true,
        Some((_, behind)) => {
            rest = behind;
            true
        }
        None => false,
    })
}
