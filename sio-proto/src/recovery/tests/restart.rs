//! A naive store, and processes that go on with what another has kept.

use std::collections::BTreeMap;

use super::*;

/// What a store knows: rows, as it was told them.
#[derive(Debug, Default)]
pub(super) struct Saved {
    namespaces: BTreeMap<u32, SavedNamespace>,
    last: BTreeMap<u32, u64>,
    pruned: BTreeMap<(u32, Option<ByteString>), u64>,
    records: BTreeMap<u64, SavedRecord>,
    stays: BTreeMap<(u64, u32), SavedStay>,
    messages: BTreeMap<(u32, u64), (Time, Time, Audience, u32)>,
}

impl Saved {
    /// Takes what has changed, and the message that was sent last.
    pub(super) fn follow(&mut self, kept: &mut Kept) {
        let changes: Vec<Change> = kept.take_changes().collect();
        for (namespace, entry) in kept.messages() {
            let row = (entry.at, entry.until, entry.audience().clone(), entry.message);
            self.messages.insert((namespace, entry.sequence), row);
        }
        for change in changes {
            self.apply(change);
        }
    }

    fn apply(&mut self, change: Change) {
        match change {
            Change::Namespace(saved) => {
                self.namespaces.insert(saved.number, saved);
            }
            Change::NamespaceGone { namespace } => {
                self.namespaces.remove(&namespace);
                self.last.remove(&namespace);
                self.pruned.retain(|(known, _), _| *known != namespace);
            }
            Change::Counted { namespace, last } => {
                self.last.insert(namespace, last);
            }
            Change::Dropped { namespace, sequence } => {
                self.messages.remove(&(namespace, sequence));
            }
            Change::Pruned {
                namespace,
                room,
                sequence: 0,
            } => {
                self.pruned.remove(&(namespace, room));
            }
            Change::Pruned {
                namespace,
                room,
                sequence,
            } => {
                self.pruned.insert((namespace, room), sequence);
            }
            Change::Record(saved) => {
                self.records.insert(saved.number, saved);
            }
            Change::RecordGone { record } => {
                self.records.remove(&record);
            }
            Change::Stay(saved) => {
                self.stays.insert((saved.record, saved.ordinal), saved);
            }
            Change::StayGone { record, ordinal } => {
                self.stays.remove(&(record, ordinal));
            }
        }
    }

    /// What a store has that is told everything at once.
    pub(super) fn of_snapshot(kept: &Kept) -> Self {
        let mut saved = Self::default();
        kept.snapshot(|change| {
            let is_idle = matches!(change, Change::Pruned { sequence: 0, .. });
            assert!(!is_idle, "{change:?} says nothing");
            saved.apply(change);
        });
        for (namespace, entry) in kept.messages() {
            let row = (entry.at, entry.until, entry.audience().clone(), entry.message);
            saved.messages.insert((namespace, entry.sequence), row);
        }
        saved
    }

    /// The last number of each namespace: that of its newest message, if none is noted.
    pub(super) fn counted(&self) -> Vec<u64> {
        let counted = self.namespaces.keys().map(|namespace| {
            let messages = self.messages.range((*namespace, 0)..=(*namespace, u64::MAX));
            let newest = messages.map(|((_, number), _)| *number).max();
            newest.max(self.last.get(namespace).copied()).unwrap_or(0)
        });
        counted.collect()
    }

    /// Whether nothing is kept.
    pub(super) fn is_empty(&self) -> bool {
        self.namespaces.is_empty() && self.records.is_empty() && self.stays.is_empty() && self.messages.is_empty()
    }

    /// A process that goes on. Clients that were there are waited for from now on.
    pub(super) fn restart(&self, limits: RecoveryConfig, epoch: u32, now: Time) -> Kept {
        let window = limits.window;
        let mut kept = Kept::new(limits, [7; 16], epoch);
        kept.note_changes();
        for saved in self.namespaces.values() {
            let last = self.last.get(&saved.number).copied().unwrap_or(0);
            kept.restore_namespace(saved.clone(), last);
        }
        let name = |number: u32| &*self.namespaces[&number].name;
        for saved in self.records.values() {
            let stays = self.stays.range((saved.number, 0)..=(saved.number, u32::MAX));
            let stays = stays.map(|(_, stay)| stay.clone()).collect();
            let until = saved.away_until.unwrap_or(now + window);
            let data = u32::from(saved.secret[0]);
            let key = kept.restore_record(name(saved.namespace), saved, until, stays, (data, 0), &mut vec![]);
            assert!(key.is_some());
        }
        for ((namespace, room), sequence) in &self.pruned {
            kept.restore_pruned(name(*namespace), room.as_ref(), *sequence);
        }
        for ((namespace, sequence), (at, until, audience, message)) in &self.messages {
            let place = (name(*namespace), *sequence);
            kept.restore_message(place, (*at, *until), audience.clone(), 10, *message);
        }
        kept.go_on();
        kept
    }
}

impl PartialEq for Saved {
    /// Whether the same is kept, apart from [`Saved::counted`].
    fn eq(&self, other: &Self) -> bool {
        (&self.namespaces, &self.pruned, &self.records) == (&other.namespaces, &other.pruned, &other.records)
            && (&self.stays, &self.messages) == (&other.stays, &other.messages)
    }
}

/// Recovery F6: the last number is known to the next process even if its message is not kept.
#[test]
fn numbers_do_not_go_back_where_the_newest_message_is_thrown_away() {
    let mut saved = Saved::default();
    let mut kept = Kept::new(config(), [1; 16], 5);
    kept.note_changes();
    let (gone, _) = open(&mut kept, "/", 1);
    send(&mut kept, at(0), to(&[], &[]), 1);
    saved.follow(&mut kept);
    // Nobody is left who could ask for the message.
    kept.close(gone);
    let (_, pid) = open(&mut kept, "/", 2);
    saved.follow(&mut kept);
    let mut kept = saved.restart(config(), 6, at(1));
    let key = kept.find("/", &pid).expect("it was kept");
    send(&mut kept, at(2), to(&[], &[]), 2);
    assert_eq!(missed(&mut kept, key, None), Ok(vec![2]));
}

/// Recovery F6: what another process has kept is good in this one, and the offsets of both are.
#[test]
fn the_next_process_goes_on() {
    let mut saved = Saved::default();
    let mut kept = Kept::new(config(), [1; 16], 5);
    kept.note_changes();
    let (key, pid) = open(&mut kept, "/", 1);
    kept.join(key, &"red".into(), &mut vec![]);
    let seen = send(&mut kept, at(0), to(&[], &[]), 1);
    send(&mut kept, at(1), to(&["red"], &[]), 2);
    saved.follow(&mut kept);
    let mut next = saved.restart(config(), 6, at(2));
    let key = next.find("/", &pid).expect("the secret is known");
    assert!(next.is_away(key));
    assert_eq!(missed(&mut next, key, Some(&seen)), Ok(vec![2]));
    let later = send(&mut next, at(3), to(&["red"], &[]), 3);
    assert_eq!(later, "6-3");
    next.lost(at(3), key, 0, &mut vec![]);
    assert_eq!(missed(&mut next, key, Some("5-2")), Ok(vec![3]));
    // The other process cannot have said more than it has kept, unless its disk has lost it.
    let lost = NotRecovered::Truncated(Truncated { pruned: 9 });
    assert_eq!(missed(&mut next, key, Some("5-9")), Err(lost));
    // The third process knows the offsets of both.
    saved.follow(&mut next);
    let mut third = saved.restart(config(), 7, at(4));
    let key = third.find("/", &pid).expect("the secret is known");
    assert_eq!(missed(&mut third, key, Some("5-2")), Ok(vec![3]));
    assert_eq!(missed(&mut third, key, Some(&later)), Ok(vec![]));
    // A client never has less than it has said to have.
    assert_eq!(missed(&mut third, key, Some("1-1")), Ok(vec![]));
}

/// Bounds hold while a process takes over what another one with larger bounds has kept.
#[test]
fn limits_hold_for_what_was_kept_before() {
    let mut saved = Saved::default();
    let mut kept = Kept::new(config(), [1; 16], 5);
    kept.note_changes();
    for number in 0..20 {
        let (key, _) = open(&mut kept, "/", number);
        kept.lost(at(u64::from(number)), key, 0, &mut vec![]);
        send(&mut kept, at(u64::from(number)), to(&[], &[]), u32::from(number));
    }
    saved.follow(&mut kept);
    let limits = RecoveryConfig {
        max_log_packets: 3,
        max_away: 4,
        window: Duration::from_secs(100),
        ..RecoveryConfig::default()
    };
    let mut next = saved.restart(limits, 6, at(20));
    assert_eq!((next.len(), next.away(), next.log("/").map(Log::len)), (4, 4, Some(3)));
    // What was dropped goes from the store, too.
    saved.follow(&mut next);
    assert_eq!((saved.records.len(), saved.messages.len()), (4, 3));
    next.handle_timeout(at(1_000), &mut vec![]);
    saved.follow(&mut next);
    assert!(saved.is_empty());
}

/// A namespace whose records are all given up while they are read keeps nothing for ever: neither
/// in memory, nor in the store.
#[test]
fn a_namespace_that_nobody_comes_back_to_keeps_no_bytes() {
    let mut saved = Saved::default();
    let mut kept = Kept::new(config(), [1; 16], 5);
    kept.note_changes();
    for namespace in ["/", "/chat"] {
        let (key, _) = open(&mut kept, namespace, namespace.len() as u8);
        kept.join(key, &"a room with a long name".into(), &mut vec![]);
        for number in 0..5 {
            let everybody = Recipients::Audience(to(&[], &[]));
            kept.post(at(0), namespace, everybody, |_| Some((number, 10)), |_, _| {});
        }
    }
    saved.follow(&mut kept);
    // The next process takes no record with such a room.
    let limits = RecoveryConfig {
        max_record_bytes: 1,
        ..config()
    };
    let mut next = saved.restart(limits, 6, at(1));
    assert_eq!((next.len(), next.log_bytes), (0, bytes_of_logs(&next)));
    next.handle_timeout(at(2), &mut vec![]);
    assert_eq!((next.log_bytes, next.namespaces.len()), (0, 0));
    saved.follow(&mut next);
    assert!(saved.is_empty());
}
