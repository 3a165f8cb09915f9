//! Recovery: the records of clients that may come back, the logs of what they have missed, and the
//! store that another process goes on from. The input is a list of operations: sockets come, join,
//! leave, are lost and come back; messages are sent; time passes; the process ends, with or without
//! having written its last changes; and all limits can be reached.
//!
//! A naive model beside it writes down, for each message, who was to hear it. What must always
//! hold:
//!
//! * a client that comes back hears exactly what it has missed, in order, or is told why not; the
//!   reason is true: a message that is said to be gone is not kept, was sent behind what the client
//!   has seen, and was for somebody in a room that the client was in;
//! * [`check`](sio_proto::recovery::Recovery::check) says what `claim` then does;
//! * logs, records and clients that are away stay within their limits, in bytes and in number, also
//!   while a process takes over what another has kept;
//! * a record that ends is reported once, and only if its time is over or a limit is exceeded; the
//!   one that ends is the one that was away for longest;
//! * no offset is given out twice, in no process;
//! * after a deadline was handled, the next one is in the future; in the end nothing is left,
//!   neither in memory nor in the store.

mod model;
mod store;

use std::collections::BTreeSet;
use std::time::Duration;

use bytestring::ByteString;
use sio_proto::recovery::{Audience, Entry, Expired, Log, NotRecovered, Opening, Recipients, Recovery, Room};
use sio_proto::{RecoveryConfig, Sid, Time};

use crate::cursor::Cursor;
use model::{Known, Model, NAMESPACES, ROOMS, Sent};
use store::Store;

type Kept = Recovery<Said, u32>;

/// A message, and what it takes in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Said {
    number: u32,
    bytes: usize,
}

const MAX_OPERATIONS: usize = 300;

/// Each restart is an epoch of a namespace, and the oldest of 64 are forgotten.
const MAX_RESTARTS: u32 = 40;

/// More than any input can need.
const PLENTY: usize = 1 << 30;

struct Run {
    kept: Kept,
    limits: RecoveryConfig,
    now: Time,
    model: Model,
    store: Store,
    /// What the store has, as the model knows it.
    saved: Model,
    /// Whether changes are written at once.
    writes: bool,
    epoch: u32,
    opened: u32,
    sent: u32,
    /// Every offset, with its namespace, epoch and number.
    offsets: Vec<(usize, u32, u64, ByteString)>,
    given: BTreeSet<(usize, ByteString)>,
}

/// See the [module](self).
pub fn recovery(data: &[u8]) {
    let mut input = Cursor::new(data);
    let limits = limits(&mut input);
    let mut kept = Kept::new(limits.clone(), [1; 16], 1);
    kept.note_changes();
    let mut run = Run {
        kept,
        limits,
        now: Time::ZERO,
        model: Model::default(),
        store: Store::default(),
        saved: Model::default(),
        writes: true,
        epoch: 1,
        opened: 0,
        sent: 0,
        offsets: Vec::new(),
        given: BTreeSet::new(),
    };
    for _ in 0..MAX_OPERATIONS {
        if input.is_empty() {
            break;
        }
        run.step(&mut input);
        if run.writes {
            run.write();
        }
        run.check();
    }
    run.finish();
}

/// Limits that a short input can reach, and limits that it cannot reach.
fn limits(input: &mut Cursor<'_>) -> RecoveryConfig {
    let (first, second) = (input.byte(), input.byte());
    let pick = |bits: u8, choices: [usize; 4]| choices[usize::from(bits & 3)];
    RecoveryConfig::default()
        .window(Duration::from_secs(pick(first, [10, 1, 60, 600]) as u64))
        .max_log_packets(pick(first >> 2, [40, 1, 5, PLENTY]))
        .max_log_bytes(pick(first >> 4, [PLENTY, 300, 1200, 5000]))
        .max_total_log_bytes(pick(first >> 6, [PLENTY, 400, 2000, 6000]))
        .max_record_bytes(pick(second, [PLENTY, 70, 200, 1000]))
        .max_away(pick(second >> 2, [PLENTY, 1, 3, 6]))
        .max_away_per_address(pick(second >> 4, [PLENTY, 1, 2, 4]))
        .max_away_bytes(pick(second >> 6, [PLENTY, 400, 1000, 3000]))
}

fn sid(number: u32) -> Sid {
    Sid::parse(&format!("{number:0width$}", width = Sid::BASE64_LEN)).expect("an id of digits")
}

impl Run {
    fn step(&mut self, input: &mut Cursor<'_>) {
        match input.byte() % 16 {
            0 => self.open(input),
            1 | 2 => self.join(input),
            3 => self.leave(input),
            4 | 5 => self.lose(input),
            6 => self.close(input),
            7 | 8 => self.send(input),
            9 => self.send_to_one(input),
            10 | 11 => self.claim(input),
            12 => self.pass(input),
            // The clock is late: nobody calls the machine meanwhile.
            13 => self.now = self.now + Duration::from_millis(u64::from(input.byte()) * 100),
            14 => match input.byte() & 1 {
                0 => self.writes = false,
                _ => self.writes = true,
            },
            _ => self.restart(input),
        }
    }

    /// Picks a record that is known, if there is one.
    fn pick(&self, input: &mut Cursor<'_>) -> Option<usize> {
        let count = self.model.known.len();
        let choice = usize::from(input.byte());
        (count > 0).then(|| choice % count)
    }

    fn open(&mut self, input: &mut Cursor<'_>) {
        self.opened += 1;
        let number = self.opened;
        let choice = input.byte();
        let namespace = usize::from(choice & 1);
        let network = u128::from(choice >> 1 & 3);
        let mut random = [0; 18];
        random[..4].copy_from_slice(&number.to_be_bytes());
        let opening = || Opening {
            namespace: NAMESPACES[namespace].into(),
            sid: sid(number),
            network,
            random,
            data: number,
        };
        let (key, pid) = self.kept.open(opening()).expect("the bytes are new");
        assert!(self.kept.open(opening()).is_none(), "a secret is used twice");
        let last = self.last(namespace);
        let epochs = &mut self.model.epochs[namespace];
        if epochs.is_empty() {
            epochs.push((self.epoch, last));
        }
        self.model
            .known
            .push(Known::new(key, pid, sid(number), number, namespace, network, last));
    }

    fn last(&self, namespace: usize) -> u64 {
        self.kept
            .log(NAMESPACES[namespace])
            .expect("a namespace with a record")
            .last()
    }

    fn join(&mut self, input: &mut Cursor<'_>) {
        let Some(at) = self.pick(input) else { return };
        let room = input.index(ROOMS.len());
        let last = self.last(self.model.known[at].namespace);
        let one = &mut self.model.known[at];
        let mut expired = Vec::new();
        self.kept.join(one.key, &ROOMS[room].into(), &mut expired);
        let is_in = self.kept.rooms(one.key).iter().any(|name| *name == ROOMS[room]);
        match is_in || expired.iter().any(|gone| gone.data == one.number) {
            true => one.join(room, last),
            false if one.is_spoilt && one.away.is_some() => {}
            false => {
                let more = ROOMS[room].len() + 64;
                let (bytes, alone) = (one.names() + more, one.away_bytes().map(|bytes| bytes + more));
                let is_too_much = alone.is_some_and(|alone| alone > self.limits.max_away_bytes);
                assert!(
                    bytes > self.limits.max_record_bytes || is_too_much,
                    "{bytes} bytes, {alone:?} while it is away, are not too many"
                );
                one.is_spoilt = true;
            }
        }
        self.pushed_out(expired, true);
    }

    fn leave(&mut self, input: &mut Cursor<'_>) {
        let Some(at) = self.pick(input) else { return };
        let room = input.index(ROOMS.len());
        let last = self.last(self.model.known[at].namespace);
        let one = &mut self.model.known[at];
        self.kept.leave(one.key, ROOMS[room]);
        one.leave(room, last);
    }

    fn lose(&mut self, input: &mut Cursor<'_>) {
        let Some(at) = self.pick(input) else { return };
        let bytes = usize::from(input.byte());
        let key = self.model.known[at].key;
        let mut expired = Vec::new();
        self.kept.lost(self.now, key, bytes, &mut expired);
        if !self.model.known[at].is_spoilt {
            let until = self.now + self.limits.window;
            self.model.wait_for(at, until, bytes);
        }
        self.pushed_out(expired, true);
    }

    /// Some records have ended because a limit is exceeded, or because they are good for nothing.
    /// The oldest end, of all or of the network that keeps the most, unless a process that begins
    /// has not read all of them.
    fn pushed_out(&mut self, expired: Vec<Expired<u32>>, is_running: bool) {
        for gone in expired {
            let at = self.model.at(gone.data).expect("it ends once");
            let one = self.model.known.remove(at);
            assert_eq!(gone.sid, one.sid);
            assert_eq!(gone.namespace, NAMESPACES[one.namespace]);
            if one.is_spoilt {
                continue;
            }
            let own = one.away_bytes().expect("it was away");
            let max = self.limits.max_away_bytes;
            if own > max {
                // It alone is too much.
                continue;
            }
            let is_alone_too_much = |other: &Known| other.away_bytes().is_some_and(|bytes| bytes > max);
            assert!(
                !is_running || !self.model.known.iter().any(is_alone_too_much),
                "it goes for one that cannot stay"
            );
            let (turn, _) = one.away.expect("it was away");
            let is_oldest = |network: Option<u128>| {
                let is_near = |other: &&Known| network.is_none_or(|network| other.network == network);
                let others = self.model.known.iter().filter(is_near).filter_map(|other| other.away);
                !is_running || others.into_iter().all(|(other, _)| other > turn)
            };
            let (near, near_bytes) = self.model.away(Some(one.network));
            let near_bytes = near_bytes + own;
            let (away, bytes) = self.model.away(None);
            let others = self.model.known.iter().filter(|other| other.network != one.network);
            let others = others.map(|other| self.model.away(Some(other.network)).1).max();
            let is_heaviest = !is_running || near_bytes >= others.unwrap_or(0);
            // Who gives way if too much is kept: the network with the most, or all, if none has
            // much.
            let giving = (near_bytes.max(others.unwrap_or(0)) > max / 64).then_some(one.network);
            let by_address = near + 1 > self.limits.max_away_per_address && is_oldest(Some(one.network));
            let by_number = away + 1 > self.limits.max_away && is_oldest(None);
            let by_bytes = bytes + own > max && (is_heaviest || giving.is_none()) && is_oldest(giving);
            assert!(by_address || by_number || by_bytes, "no limit is exceeded");
        }
        let (away, bytes) = self.model.away(None);
        assert!(away <= self.limits.max_away && bytes <= self.limits.max_away_bytes);
        assert_eq!(self.kept.away(), away);
    }

    fn close(&mut self, input: &mut Cursor<'_>) {
        let Some(at) = self.pick(input) else { return };
        let one = self.model.known.remove(at);
        assert_eq!(self.kept.close(one.key), Some(one.number));
        assert_eq!(self.kept.close(one.key), None, "a goodbye is final");
        assert_eq!(self.kept.find(NAMESPACES[one.namespace], &one.pid), None);
    }

    fn send(&mut self, input: &mut Cursor<'_>) {
        let namespace = usize::from(input.byte() & 1);
        let (rooms, except, more) = (input.byte(), input.byte(), input.byte());
        let names = |bits: u8| -> Vec<ByteString> {
            let set = ROOMS
                .iter()
                .enumerate()
                .filter(|(at, _)| bits & 0x10 == 0 && bits >> at & 1 == 1);
            set.map(|(_, room)| ByteString::from(*room)).collect()
        };
        let mut audience = Audience {
            rooms: names(rooms),
            except: names(except),
        };
        // Ids of sockets are rooms, too.
        let one = self
            .model
            .known
            .get(usize::from(more & 7))
            .map(|one| ByteString::from(one.sid.to_string()));
        match more >> 3 & 3 {
            1 => audience.rooms.extend(one),
            2 => audience.except.extend(one),
            _ => {}
        }
        self.post(
            namespace,
            Recipients::Audience(audience.clone()),
            &audience,
            usize::from(more),
        );
    }

    fn send_to_one(&mut self, input: &mut Cursor<'_>) {
        let Some(at) = self.pick(input) else { return };
        let one = &self.model.known[at];
        let audience = Audience {
            rooms: vec![one.sid.to_string().into()],
            except: Vec::new(),
        };
        self.post(one.namespace, Recipients::Record(one.key), &audience, 10);
    }

    fn post(&mut self, namespace: usize, to: Recipients, audience: &Audience, bytes: usize) {
        self.sent += 1;
        let said = Said {
            number: self.sent,
            bytes,
        };
        let before = self.kept.log(NAMESPACES[namespace]).map(Log::last);
        let offset = self
            .kept
            .post(self.now, NAMESPACES[namespace], to, |_| Some((said, bytes)), |_, _| {});
        let (Some(before), Some(offset)) = (before, offset) else {
            assert_eq!((before, offset), (None, None), "a number without a namespace");
            return;
        };
        assert_eq!((offset.epoch, offset.sequence), (self.epoch, before + 1));
        let text = offset.text();
        assert!(
            self.given.insert((namespace, text.clone())),
            "{text} is given out twice"
        );
        self.offsets.push((namespace, offset.epoch, offset.sequence, text));
        self.model.send(
            namespace,
            Sent {
                sequence: offset.sequence,
                message: said.number,
                audience: audience.clone(),
            },
        );
    }

    fn claim(&mut self, input: &mut Cursor<'_>) {
        let Some(at) = self.pick(input) else { return };
        let choice = input.byte();
        let room = match choice >> 5 {
            0 => Room {
                bytes: PLENTY,
                packets: usize::from(choice & 3),
            },
            1 => Room {
                bytes: usize::from(choice & 31) * 100,
                packets: PLENTY,
            },
            _ => Room {
                bytes: PLENTY,
                packets: PLENTY,
            },
        };
        let one = &self.model.known[at];
        let shown = match choice & 3 {
            0 => None,
            // Text of an event that looks like no offset, and one of the future.
            1 => Some((
                None,
                ByteString::from(input.pick(&["", "-", "hello", "1-", "-1", "zzzzzzzz-1", "1-1-1"])),
            )),
            2 if input.byte() & 7 == 0 => {
                let sequence = self.last(one.namespace) + 1;
                Some((
                    Some((self.epoch, sequence)),
                    ByteString::from(text(self.epoch, sequence)),
                ))
            }
            _ => {
                let given = self
                    .offsets
                    .iter()
                    .filter(|(namespace, ..)| *namespace == one.namespace)
                    .rev();
                let given = given.skip(usize::from(input.byte() % 16)).next();
                given.map(|(_, epoch, sequence, text)| (Some((*epoch, *sequence)), text.clone()))
            }
        };
        let (place, text) = shown.unzip();
        let place = place.flatten();
        let text = text.as_deref();
        let (pid, key, namespace) = (one.pid.clone(), one.key, one.namespace);
        assert_eq!(self.kept.find(NAMESPACES[namespace], &pid), Some(key));
        assert_eq!(
            self.kept.find(NAMESPACES[1 - namespace], &pid),
            None,
            "a secret of another namespace"
        );

        let last = self.last(namespace);
        let expected = self.model.missed(at, place, last);
        let number = |entry: &&Entry<Said>| entry.message.number;
        let numbers = |entries: &[&Entry<Said>]| -> Vec<u32> { entries.iter().map(number).collect() };
        let checked = self.kept.check(key, text, room).map(|entries| numbers(&entries));
        let claimed = self.kept.claim(key, text, room);
        let verdict = match &claimed {
            Ok(claimed) => {
                let (one, mut rooms) = (&self.model.known[at], claimed.rooms.clone());
                rooms.sort();
                assert_eq!((claimed.sid, rooms), (one.sid, one.rooms()));
                Ok(numbers(&claimed.missed))
            }
            Err(error) => Err(*error),
        };
        assert_eq!(verdict, checked, "a check is a claim without its effects");
        match (verdict, expected) {
            (Ok(missed), Ok((after, expected))) => {
                assert_eq!(missed, expected, "what was missed");
                assert!(missed.len() <= room.packets);
                self.model.came_back(at, after);
            }
            (Err(NotRecovered::TooMuch { packets, bytes }), Ok((_, expected))) => {
                assert_eq!(packets, expected.len());
                assert!(packets > room.packets || bytes > room.bytes);
            }
            (Err(NotRecovered::Truncated(truncated)), Ok((after, _))) => {
                let log = self.kept.log(NAMESPACES[namespace]).expect("a namespace with a record");
                assert!(
                    truncated.pruned > after && truncated.pruned <= last,
                    "{truncated} behind {after}"
                );
                assert!(
                    log.all().all(|entry| entry.sequence != truncated.pruned),
                    "{truncated} is kept"
                );
                assert!(
                    self.model.concerns(at, truncated.pruned, after),
                    "{truncated} was for others"
                );
            }
            (Err(error), Err(expected)) => assert_eq!(error, expected),
            (verdict, expected) => panic!("{verdict:?}, and not {expected:?}"),
        }
    }

    fn pass(&mut self, input: &mut Cursor<'_>) {
        self.now = self.now + Duration::from_millis(u64::from(input.byte()) * 100);
        self.timeout();
    }

    fn timeout(&mut self) {
        let mut expired = Vec::new();
        self.kept.handle_timeout(self.now, &mut expired);
        let mut over: Vec<u32> = expired.iter().map(|gone| gone.data).collect();
        over.sort_unstable();
        assert_eq!(over, self.model.expire(self.now), "whose time is over");
        assert!(
            self.kept.next_timeout().is_none_or(|next| next > self.now),
            "time makes progress"
        );
        for namespace in 0..NAMESPACES.len() {
            let is_known = self.model.known.iter().any(|one| one.namespace == namespace);
            let log = self.kept.log(NAMESPACES[namespace]);
            assert_eq!(log.is_some(), is_known, "a namespace without records goes");
            // Messages of an earlier process, which kept them for longer, hold up newer ones.
            let oldest = log.and_then(|log| log.all().next());
            assert!(
                oldest.is_none_or(|oldest| oldest.until > self.now),
                "a message is too old"
            );
            if !is_known {
                self.model.forget(namespace);
            }
        }
    }

    fn write(&mut self) {
        self.store.follow(&mut self.kept);
        self.saved = self.model.clone();
    }

    /// The process ends, and another goes on with what the store has, perhaps with other limits.
    fn restart(&mut self, input: &mut Cursor<'_>) {
        if self.epoch > MAX_RESTARTS {
            return;
        }
        self.epoch += 1;
        if input.byte() & 3 == 0 {
            self.limits = limits(input);
        }
        let mut expired = Vec::new();
        let (kept, keys) = self.store.restart(&self.limits, self.epoch, self.now, &mut expired);
        self.kept = kept;
        self.model = self.saved.clone();
        self.writes = true;
        let last = |namespace: usize| self.kept.log(NAMESPACES[namespace]).map(Log::last);
        for namespace in 0..NAMESPACES.len() {
            self.model.goes_on(namespace, self.epoch, last(namespace));
        }
        let until = self.now + self.limits.window;
        self.model.restart(&keys, until, self.limits.max_record_bytes);
        self.pushed_out(expired, false);
        assert_eq!(
            self.kept.len(),
            self.model.known.len(),
            "each record is kept or has ended"
        );
    }

    fn check(&self) {
        let mut all = 0;
        for namespace in NAMESPACES {
            let Some(log) = self.kept.log(namespace) else { continue };
            let bytes: usize = log.all().map(Entry::bytes).sum();
            assert_eq!(log.bytes(), bytes);
            assert!(bytes <= self.limits.max_log_bytes && log.len() <= self.limits.max_log_packets);
            assert!(log.all().map(|entry| entry.sequence).is_sorted_by(|a, b| a < b));
            all += bytes;
        }
        assert!(all <= self.limits.max_total_log_bytes, "{all} bytes in all logs");
        assert_eq!(self.kept.len(), self.model.known.len());
        assert_eq!(self.kept.away(), self.model.away(None).0);
    }

    /// Nothing of anybody is left.
    fn finish(mut self) {
        self.write();
        self.now = self.now + Duration::from_secs(1000);
        self.timeout();
        for one in std::mem::take(&mut self.model.known) {
            assert_eq!(self.kept.close(one.key), Some(one.number));
        }
        self.timeout();
        assert!(self.kept.is_empty() && self.kept.away() == 0);
        assert_eq!(self.kept.next_timeout(), None);
        self.write();
        assert!(self.store.is_empty(), "something is left in the store");
    }
}

/// An offset as it stands behind arguments.
fn text(epoch: u32, sequence: u64) -> String {
    sio_proto::socket::Offset { epoch, sequence }.text().to_string()
}
