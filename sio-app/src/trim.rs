//! Memory that a crowd has left behind.

/// Gives back what a crowd has left of a list that has become much shorter: constant work for each
/// that went.
pub(crate) fn trim<T>(list: &mut Vec<T>) {
    let room = list.capacity();
    if room > 1024 && list.len() < room / 4 {
        list.shrink_to(2 * list.len());
    }
}
