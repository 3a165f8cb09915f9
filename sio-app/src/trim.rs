//! Gives back memory that a crowd of clients has needed.

/// Gives back memory of a list that has become much shorter. This is constant work for each removed
/// entry.
pub(crate) fn trim<T>(list: &mut Vec<T>) {
    let room = list.capacity();
    if room > 1024 && list.len() < room / 4 {
        list.shrink_to(2 * list.len());
    }
}
