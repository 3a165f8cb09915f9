//! Which handlers a client meets that asks for a namespace: names, patterns, functions, and the
//! tables behind them.
//!
//! ```text
//!   name ──► registered by name, before any rule that covers it ──────────► its own table
//!        ├─► registered by name, after a rule that covers it ─────────────► the rule's table, and its own over it
//!        ├─► the first rule that covers it ───────────────────────────────► the rule's table
//!        └─► none of these ───────────────────────────────────────────────► refused
//! ```
//! Only what the application registers is kept here. Names that clients choose are kept as long as
//! a client is connected to them ([`Names`]).
//!
//! Handlers are the user's: none is called or dropped under a lock of this file.

use std::collections::HashMap;
use std::sync::Arc;

use bytestring::ByteString;
use parking_lot::RwLock;

use crate::lock::Mutex;
use crate::turn::table::{Names, Table};
use crate::user::socket::Socket;

/// Handlers of one namespace, or of all namespaces of a rule. The table is replaced as a whole, so
/// that sockets can keep the one they began with and look things up in it without any lock.
#[derive(Default)]
pub(crate) struct Behaviour {
    table: RwLock<Arc<Table>>,
    /// One change at a time.
    changing: Mutex<()>,
    /// How many rules there were when the first thing was registered for this name: those may cover
    /// it.
    rules_before: usize,
    /// The last table that was put together with a rule's.
    layered: Mutex<Option<Layered>>,
    /// The namespaces of a rule that have members.
    names: Arc<Names>,
}

/// A table over another, and what both make together.
struct Layered {
    below: Arc<Table>,
    above: Arc<Table>,
    whole: Arc<Table>,
}

pub(crate) type RuleFn = Arc<dyn Fn(&str, &Socket) -> bool + Send + Sync>;

impl Behaviour {
    fn of_name(rules_before: usize) -> Self {
        Self {
            rules_before,
            ..Self::default()
        }
    }

    fn of_rule() -> Self {
        let names = Arc::<Names>::default();
        let table = Table {
            names: Some(Arc::clone(&names)),
            ..Table::default()
        };
        Self {
            table: RwLock::new(Arc::new(table)),
            names,
            ..Self::default()
        }
    }

    /// The names of the rule's namespaces.
    pub(crate) fn names(&self) -> &Arc<Names> {
        &self.names
    }

    fn table(&self) -> Arc<Table> {
        Arc::clone(&self.table.read())
    }

    /// Replaces the table by a changed copy.
    pub(crate) fn change(&self, change: impl FnOnce(&mut Table)) {
        let (old, layered) = {
            let _changing = self.changing.lock();
            let old = self.table();
            let mut new = Table::clone(&old);
            // What this replaces lives on in the old table until no lock is held.
            change(&mut new);
            (self.put(Arc::new(new)), self.layered.lock().take())
        };
        drop((old, layered));
    }

    fn put(&self, table: Arc<Table>) -> Arc<Table> {
        std::mem::replace(&mut *self.table.write(), table)
    }

    /// This one's table over that of the rule that covers its name. It is put together once, and
    /// shared by all sockets.
    fn over(&self, below: Arc<Table>) -> Arc<Table> {
        let above = self.table();
        if let Some(known) = &*self.layered.lock()
            && Arc::ptr_eq(&known.below, &below)
            && Arc::ptr_eq(&known.above, &above)
        {
            return Arc::clone(&known.whole);
        }
        let whole = Arc::new(below.with_over(&above));
        let layered = Layered {
            below,
            above,
            whole: Arc::clone(&whole),
        };
        let old = self.layered.lock().replace(layered);
        drop(old);
        whole
    }

    /// Lets go of all handlers.
    fn clear(&self) {
        let table = Table {
            names: self.table().names.clone(),
            ..Table::default()
        };
        let old = (self.put(Arc::new(table)), self.layered.lock().take());
        drop(old);
    }
}

/// All that has been registered, by name and by rule.
#[derive(Default)]
pub(crate) struct Namespaces(RwLock<Registered>);

#[derive(Default)]
struct Registered {
    named: HashMap<ByteString, Arc<Behaviour>>,
    rules: Arc<Vec<Rule>>,
}

#[derive(Clone)]
struct Rule {
    matches: RuleFn,
    behaviour: Arc<Behaviour>,
}

impl Namespaces {
    /// The namespace of this name, made if there is none.
    pub(crate) fn named(&self, name: &ByteString) -> Arc<Behaviour> {
        let mut registered = self.0.write();
        let rules = registered.rules.len();
        let behaviour = registered.named.entry(name.clone());
        Arc::clone(behaviour.or_insert_with(|| Arc::new(Behaviour::of_name(rules))))
    }

    /// One more rule, behind the others.
    pub(crate) fn ruled(&self, matches: RuleFn) -> Arc<Behaviour> {
        let behaviour = Arc::new(Behaviour::of_rule());
        let rule = Rule {
            matches,
            behaviour: Arc::clone(&behaviour),
        };
        let old = {
            let mut registered = self.0.write();
            let rules = registered.rules.iter().cloned().chain([rule]).collect();
            std::mem::replace(&mut registered.rules, Arc::new(rules))
        };
        drop(old);
        behaviour
    }

    /// The handlers for a socket, if there is a namespace for it. Rules are the user's code: they
    /// run under no lock.
    pub(crate) fn find(&self, socket: &Socket) -> Option<Arc<Table>> {
        let name = socket.namespace();
        let (named, rules) = {
            let registered = self.0.read();
            (registered.named.get(name).cloned(), Arc::clone(&registered.rules))
        };
        let asked = named.as_ref().map_or(rules.len(), |named| named.rules_before);
        let rule = rules[..asked].iter().find(|rule| (rule.matches)(name, socket));
        let below = rule.map(|rule| rule.behaviour.table());
        match (named, below) {
            (Some(named), Some(below)) => Some(named.over(below)),
            (Some(named), None) => Some(named.table()),
            (None, below) => below,
        }
    }

    /// Lets go of all handlers and rules.
    pub(crate) fn clear(&self) {
        let Registered { named, rules } = std::mem::take(&mut *self.0.write());
        named.values().for_each(|behaviour| behaviour.clear());
        rules.iter().for_each(|rule| rule.behaviour.clear());
    }
}

/// A name as it travels: `chat` means `/chat`.
pub(crate) fn normalized(name: &str) -> ByteString {
    if name.starts_with('/') {
        name.into()
    } else {
        format!("/{name}").into()
    }
}

/// Whether `name` fits `pattern`, in which each `*` stands for any text without a slash. It takes
/// time in proportion to the length of the name, which clients choose.
pub(crate) fn fits(pattern: &str, name: &str) -> bool {
    // No star passes a slash, so each part of the name meets one part of the pattern.
    let (mut patterns, mut names) = (pattern.split('/'), name.split('/'));
    loop {
        match (patterns.next(), names.next()) {
            (None, None) => return true,
            (Some(pattern), Some(name)) if fits_part(pattern, name) => {}
            _ => return false,
        }
    }
}

/// The same for texts without slashes. What stands between two stars is best taken where it comes
/// first: that leaves the most for the stars behind it, so nothing has to be tried again.
fn fits_part(pattern: &str, name: &str) -> bool {
    let Some((head, pattern)) = pattern.split_once('*') else {
        return pattern == name;
    };
    let (between, tail) = pattern.rsplit_once('*').unwrap_or(("", pattern));
    let middle = name.strip_prefix(head).and_then(|rest| rest.strip_suffix(tail));
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

#[cfg(test)]
mod tests;
