//! The registry of namespaces: it finds the handlers for a client that asks for a namespace, by
//! names, patterns and functions.
//!
//! ```text
//!   name ──► registered by name, before any rule that covers it ──────────► its own table
//!        ├─► registered by name, after a rule that covers it ─────────────► the rule's table, and its own over it
//!        ├─► the first rule that covers it ───────────────────────────────► the rule's table
//!        └─► none of these ───────────────────────────────────────────────► refused
//! ```
//! The registry keeps what the application registers. It keeps a name that a client chose only as
//! long as a client is connected to this namespace ([`Names`]).
//!
//! Handlers belong to the user: no handler is called or dropped under a lock of this file.

use std::any::{TypeId, type_name};
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytestring::ByteString;
use parking_lot::RwLock;

use crate::error::RegisterError;
use crate::lock::Mutex;
use crate::turn::policy::Policy;
use crate::turn::states::States;
#[cfg(feature = "redis")]
use crate::turn::table::ServerSideFn;
use crate::turn::table::{Names, OutgoingFn, Table};
use crate::user::handler::Needs;
use crate::user::socket::Socket;
use crate::wildcard;

/// The handlers of one namespace, or of all namespaces of a rule. The table is replaced as a whole.
/// So a socket can keep the table that it began with, and read it without a lock.
#[derive(Default)]
pub(crate) struct Behaviour {
    table: RwLock<Arc<Table>>,
    /// Allows only one change at a time.
    changing: Mutex<()>,
    /// How many rules existed when something was first registered for this name. These rules may
    /// cover the name.
    rules_before: usize,
    /// The last table that was combined with a rule's table.
    layered: Mutex<Option<Layered>>,
    /// The namespaces of a rule that have members now.
    names: Arc<Names>,
}

/// Two tables, one above the other, and their combination.
struct Layered {
    below: Arc<Table>,
    above: Arc<Table>,
    whole: Arc<Table>,
}

pub(crate) type RuleFn = Arc<dyn Fn(&str, &Socket) -> bool + Send + Sync>;

impl Behaviour {
    fn of_name(rules_before: usize, states: Arc<States>) -> Self {
        let table = Table {
            states,
            ..Table::default()
        };
        Self {
            table: RwLock::new(Arc::new(table)),
            rules_before,
            ..Self::default()
        }
    }

    fn of_rule(states: Arc<States>) -> Self {
        let names = Arc::<Names>::default();
        let table = Table {
            names: Some(Arc::clone(&names)),
            states,
            ..Table::default()
        };
        Self {
            table: RwLock::new(Arc::new(table)),
            names,
            ..Self::default()
        }
    }

    /// Returns the names of the rule's namespaces.
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
            // The replaced handlers stay in the old table until no lock is held.
            change(&mut new);
            (self.put(Arc::new(new)), self.layered.lock().take())
        };
        drop((old, layered));
    }

    fn put(&self, table: Arc<Table>) -> Arc<Table> {
        std::mem::replace(&mut *self.table.write(), table)
    }

    /// Returns this table above the table of the rule that covers its name. The combination is made
    /// once, and all sockets share it.
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

    /// Drops all handlers.
    fn clear(&self) {
        let table = Table {
            names: self.table().names.clone(),
            ..Table::default()
        };
        let old = (self.put(Arc::new(table)), self.layered.lock().take());
        drop(old);
    }
}

/// Everything that has been registered, by name and by rule.
#[derive(Default)]
pub(crate) struct Namespaces {
    registered: RwLock<Registered>,
    /// Whether any namespace has a function that is called for sent events.
    watched: AtomicBool,
    /// Whether a namespace has a policy for an event.
    policed: AtomicBool,
}

#[derive(Default)]
struct Registered {
    named: HashMap<ByteString, Arc<Behaviour>>,
    rules: Arc<Vec<Rule>>,
    states: Arc<States>,
    /// The states that handlers ask for, once for each type, with the name of one such handler.
    needs: Vec<(TypeId, RegisterError)>,
    /// The first thing that could not be registered.
    mistake: Option<RegisterError>,
}

#[derive(Clone)]
struct Rule {
    /// The pattern, if the rule is a pattern.
    pattern: Option<ByteString>,
    matches: RuleFn,
    behaviour: Arc<Behaviour>,
}

impl Namespaces {
    /// Returns the namespace with this name. It is created if it does not exist.
    pub(crate) fn named(&self, name: &ByteString) -> Arc<Behaviour> {
        let mut registered = self.registered.write();
        let (rules, states) = (registered.rules.len(), Arc::clone(&registered.states));
        let behaviour = registered.named.entry(name.clone());
        Arc::clone(behaviour.or_insert_with(|| Arc::new(Behaviour::of_name(rules, states))))
    }

    /// Adds a rule that is a function, after the other rules.
    pub(crate) fn ruled(&self, matches: RuleFn) -> Arc<Behaviour> {
        self.add_rule(None, matches)
    }

    /// Returns the rule of a pattern. If there is none yet, it is added after the other rules.
    pub(crate) fn patterned(&self, pattern: ByteString) -> Arc<Behaviour> {
        let wanted = pattern.clone();
        self.add_rule(
            Some(pattern),
            Arc::new(move |name: &str, _: &Socket| fits(&wanted, name)),
        )
    }

    fn add_rule(&self, pattern: Option<ByteString>, matches: RuleFn) -> Arc<Behaviour> {
        let (behaviour, old) = {
            let mut registered = self.registered.write();
            let known = registered
                .rules
                .iter()
                .find(|rule| pattern.is_some() && rule.pattern == pattern);
            if let Some(known) = known {
                return Arc::clone(&known.behaviour);
            }
            let behaviour = Arc::new(Behaviour::of_rule(Arc::clone(&registered.states)));
            let rule = Rule {
                pattern,
                matches,
                behaviour: Arc::clone(&behaviour),
            };
            let rules = registered.rules.iter().cloned().chain([rule]).collect();
            let old = std::mem::replace(&mut registered.rules, Arc::new(rules));
            (behaviour, old)
        };
        drop(old);
        behaviour
    }

    /// Returns the handlers for a socket, if its namespace exists. Rules are user code, so they run
    /// under no lock.
    pub(crate) fn find(&self, socket: &Socket) -> Option<Arc<Table>> {
        let name = socket.namespace();
        let (named, rules) = {
            let registered = self.registered.read();
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

    /// Drops all handlers and rules.
    pub(crate) fn clear(&self) {
        let Registered {
            named, rules, states, ..
        } = std::mem::take(&mut *self.registered.write());
        named.values().for_each(|behaviour| behaviour.clear());
        rules.iter().for_each(|rule| rule.behaviour.clear());
        drop(states);
    }
}

/// State, and mistakes of registration.
impl Namespaces {
    /// Gives the server a value for its handlers. Sockets that have connected before do not have
    /// it.
    pub(crate) fn give_state<T: Send + Sync + 'static>(&self, value: T) -> Result<(), RegisterError> {
        let (id, value) = (TypeId::of::<T>(), Arc::new(value));
        let (states, behaviours) = {
            let mut registered = self.registered.write();
            if registered.states.has(id) {
                drop(registered);
                return Err(RegisterError::StateTwice(type_name::<T>()));
            }
            registered.states = Arc::new(registered.states.and(id, value));
            let named = registered.named.values();
            let ruled = registered.rules.iter().map(|rule| &rule.behaviour);
            let behaviours: Vec<Arc<Behaviour>> = named.chain(ruled).cloned().collect();
            (Arc::clone(&registered.states), behaviours)
        };
        for behaviour in behaviours {
            behaviour.change(|table| table.states = Arc::clone(&states));
        }
        Ok(())
    }

    /// Notes what a registered handler needs. `handler` is the name of its event or task.
    pub(crate) fn need(&self, needs: Needs, handler: &str) {
        if needs.states.is_empty() {
            return;
        }
        let mut registered = self.registered.write();
        for (id, name) in needs.states {
            if registered.needs.iter().all(|(known, _)| *known != id) {
                let missing = RegisterError::NoState {
                    state: name,
                    handler: handler.to_owned(),
                };
                registered.needs.push((id, missing));
            }
        }
    }

    /// Notes that a function is called for sent events.
    pub(crate) fn set_watched(&self) {
        self.watched.store(true, Ordering::Relaxed);
    }

    /// Whether a function is called for sent events.
    fn is_watched(&self) -> bool {
        self.watched.load(Ordering::Relaxed)
    }

    /// Returns the functions that are called for events to the namespace with this name: those of
    /// the name, or else those of the rule through which the namespace has members.
    pub(crate) fn watchers(&self, name: &str) -> Vec<OutgoingFn> {
        if !self.is_watched() {
            return Vec::new();
        }
        let (named, rules) = {
            let registered = self.registered.read();
            (registered.named.get(name).cloned(), Arc::clone(&registered.rules))
        };
        let own = named.map_or_else(Vec::new, |named| named.table().outgoing.clone());
        if !own.is_empty() {
            return own;
        }
        let rule = rules.iter().find(|rule| rule.behaviour.names.has(name));
        rule.map_or_else(Vec::new, |rule| rule.behaviour.table().outgoing.clone())
    }

    /// Notes that a namespace has a policy for an event.
    pub(crate) fn set_policed(&self) {
        self.policed.store(true, Ordering::Relaxed);
    }

    /// Returns the policy for an event to the namespace with this name: that of the name, or else
    /// that of the rule through which the namespace has members.
    pub(crate) fn policy(&self, name: &str, event: &str) -> Option<Policy> {
        if !self.policed.load(Ordering::Relaxed) {
            return None;
        }
        let (named, rules) = {
            let registered = self.registered.read();
            (registered.named.get(name).cloned(), Arc::clone(&registered.rules))
        };
        let own = named.and_then(|named| named.table().policies.get(event).cloned());
        own.or_else(|| {
            let rule = rules.iter().find(|rule| rule.behaviour.names.has(name))?;
            rule.behaviour.table().policies.get(event).cloned()
        })
    }

    /// This node of a cluster hears the namespace with this name, or does so no longer. It may hear
    /// it longer than it has members.
    #[cfg(feature = "redis")]
    pub(crate) fn note_heard(&self, name: &ByteString, is_heard: bool) {
        let registered = self.registered.read();
        for rule in registered.rules.iter() {
            let names = &rule.behaviour.names;
            match is_heard {
                true if names.has(name) => names.remember(name),
                true => {}
                false => names.forget(name),
            }
        }
    }

    /// Returns the handlers of an event that a server has sent to the servers of the namespace with
    /// this name: those of the name, or else those of the rule through which the namespace has
    /// members. A namespace that is heard only for clients that may come back has none: then it is
    /// the rule through which it had them, or else the first pattern that covers it.
    #[cfg(feature = "redis")]
    pub(crate) fn server_side(&self, name: &str, event: &str) -> Vec<ServerSideFn> {
        let (named, rules) = {
            let registered = self.registered.read();
            (registered.named.get(name).cloned(), Arc::clone(&registered.rules))
        };
        let asked = named.as_ref().map_or(rules.len(), |named| named.rules_before);
        let own = named.and_then(|named| named.table().server_side.get(event).cloned());
        let covers = |rule: &&Rule| rule.pattern.as_ref().is_some_and(|pattern| fits(pattern, name));
        let ruled = || {
            let has = rules.iter().find(|rule| rule.behaviour.names.has(name));
            let had = || rules.iter().find(|rule| rule.behaviour.names.had(name));
            let covered = || rules.iter().take(asked).find(covers);
            let rule = has.or_else(had).or_else(covered)?;
            rule.behaviour.table().server_side.get(event).cloned()
        };
        own.or_else(ruled).unwrap_or_default()
    }

    /// Whether a namespace with this name exists: something is registered for the name, or it has
    /// members through a rule.
    #[cfg(feature = "redis")]
    pub(crate) fn exists(&self, name: &str) -> bool {
        let registered = self.registered.read();
        registered.named.contains_key(name) || registered.rules.iter().any(|rule| rule.behaviour.names.has(name))
    }

    /// Returns the names of all namespaces that exist ([`Self::exists`]).
    #[cfg(feature = "redis")]
    pub(crate) fn existing(&self) -> Vec<ByteString> {
        let registered = self.registered.read();
        let ruled = registered.rules.iter().flat_map(|rule| rule.behaviour.names.all());
        registered.named.keys().cloned().chain(ruled).collect()
    }

    /// Notes a mistake of registration. Only the first one is kept.
    pub(crate) fn note_mistake(&self, mistake: RegisterError) {
        self.registered.write().mistake.get_or_insert(mistake);
    }

    /// Returns the first mistake of registration, or the first state that a handler needs and the
    /// server was not given.
    pub(crate) fn mistake(&self) -> Option<RegisterError> {
        let registered = self.registered.read();
        let missing = || {
            let mut needs = registered.needs.iter();
            needs
                .find(|(id, _)| !registered.states.has(*id))
                .map(|(_, missing)| missing)
        };
        registered.mistake.as_ref().or_else(missing).cloned()
    }
}

/// Returns the name of a namespace as it is on the wire: `chat` means `/chat`.
pub(crate) fn normalized(name: &str) -> ByteString {
    if name.starts_with('/') {
        name.into()
    } else {
        format!("/{name}").into()
    }
}

/// Whether `name` fits `pattern`, in which each `*` stands for any text without a slash. Clients
/// choose the name, so the time is proportional to the length of the name.
pub(crate) fn fits(pattern: &str, name: &str) -> bool {
    // No star matches a slash. So each part of the name is compared with one part of the pattern.
    let (mut patterns, mut names) = (pattern.split('/'), name.split('/'));
    loop {
        match (patterns.next(), names.next()) {
            (None, None) => return true,
            (Some(pattern), Some(name)) if wildcard::fits(pattern, name) => {}
            _ => return false,
        }
    }
}

#[cfg(test)]
mod tests;
