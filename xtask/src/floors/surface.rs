//! Checks the names that each adapter exports for users. Every adapter must export the same names:
//! all names that `sio-app` has for users. An explicit list cannot export a name by accident, but
//! it can become incomplete, so this check compares the lists.

use super::imports;
use crate::failure::{Outcome, While};
use crate::workspace::Workspace;
use std::collections::BTreeSet;

const APP: &str = "sio-app/src/lib.rs";

const ADAPTERS: [&str; 2] = ["sio-tokio/src/lib.rs", "sio-async-std/src/lib.rs"];

/// The module of `sio-app` that is only for adapters.
const FOR_ADAPTERS: &str = "adapter";

/// The names in [`FOR_ADAPTERS`] that users need too, because an adapter's server returns them.
const FOR_USERS_TOO: [&str; 1] = ["Serve"];

/// Compares the lists of the adapters with the names of `sio-app`.
pub(super) fn complaints(tree: &Workspace) -> Outcome<Vec<String>> {
    let read = |file: &str| std::fs::read_to_string(tree.root.join(file)).when(file);
    let app = read(APP)?;
    let mut complaints = Vec::new();
    for adapter in ADAPTERS {
        complaints.extend(compare(&app, adapter, &read(adapter)?));
    }
    Ok(complaints)
}

fn compare(app: &str, adapter: &str, text: &str) -> Vec<String> {
    let for_users = names_for_users(app);
    let listed: BTreeSet<String> = imports::exported(text)
        .into_iter()
        .filter(|path| path[0] == "sio_app")
        .filter_map(|path| path.last().cloned())
        .collect();
    let missing = for_users.difference(&listed).map(|name| {
        format!(
            "{adapter}: does not export `{name}`, which `sio-app` has for users: add it to the list of every adapter"
        )
    });
    let extra = listed.difference(&for_users).map(|name| {
        format!(
            "{adapter}: exports `{name}`, which `sio-app` does not have for users: its root, or this list, is wrong"
        )
    });
    missing.chain(extra).collect()
}

/// Returns the names at the root of `sio-app` that are for users.
fn names_for_users(app: &str) -> BTreeSet<String> {
    let modules = app
        .lines()
        .filter_map(|line| line.strip_prefix("pub mod ")?.strip_suffix(';'));
    let exported = imports::exported(app)
        .into_iter()
        .filter_map(|path| path.last().cloned());
    modules
        .filter(|module| *module != FOR_ADAPTERS)
        .chain(FOR_USERS_TOO)
        .map(str::to_owned)
        .chain(exported)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const APP: &str =
        "pub mod adapter;\npub mod args;\npub use bytes::Bytes;\npub use user::{io::Io, socket::Socket};\n";

    #[test]
    fn what_is_missing_or_too_much_is_named() {
        let good =
            "pub use server::Server;\npub use sio_app::adapter::Serve;\npub use sio_app::{Bytes, Io, Socket, args};\n";
        assert_eq!(compare(APP, "lib.rs", good), [""; 0]);
        let missing = compare(APP, "lib.rs", &good.replace("Io, ", ""));
        assert_eq!(missing.len(), 1, "{missing:?}");
        assert!(missing[0].starts_with("lib.rs: does not export `Io`"), "{missing:?}");
        let extra = compare(APP, "lib.rs", &good.replace("Serve", "{Outlet, Serve}"));
        assert_eq!(extra.len(), 1, "{extra:?}");
        assert!(extra[0].starts_with("lib.rs: exports `Outlet`"), "{extra:?}");
    }

    #[test]
    fn a_glob_is_no_list() {
        let found = compare(APP, "lib.rs", "pub use sio_app::*;\n");
        assert!(
            found.iter().any(|complaint| complaint.contains("exports `*`")),
            "{found:?}"
        );
    }
}
