//! Messages between clients: in groups, of which the first client sends, and all get what is sent.
//! In an echo each client is a group, in a broadcast all clients are one.
//!
//! A group has as many places as messages may be in flight. When all clients of the group have got
//! the message of a place, the next one is sent in the same place.

use std::thread;
use std::time::{Duration, Instant};

use crate::arguments::{Options, Scenario};
use crate::clients;
use crate::clock;
use crate::failure::{Failure, Outcome};
use crate::frames::{self, Other};
use crate::handshake::Greeting;
use crate::histogram::Histogram;
use crate::messages::{self, Message};
use crate::report::Report;
use crate::turns::{Moment, Stopwatch, Turns};

/// A message that is in flight for so long when the measurement ends is called stalled.
const STALLED: Duration = Duration::from_secs(1);

/// So many clients come at the same time.
const AT_ONCE: usize = 50;

/// The time in which servers handle the joins, which they do not answer.
const JOINING: Duration = Duration::from_millis(500);

struct Group {
    /// The two messages of each place, one group's or all groups'.
    messages: usize,
    /// A bit for each place: which of its two messages is in flight.
    turn: u32,
    places: Vec<Place>,
}

struct Place {
    /// So many clients have not got the message yet.
    missing: usize,
    sent: Instant,
}

/// A client, as it receives.
#[derive(Clone, Default)]
struct Member {
    /// A bit for each place: if it differs from the group's bit, the message is due.
    seen: u32,
    /// The place whose message is expected next.
    next: usize,
}

#[derive(Default)]
struct Counts {
    got: u64,
    pings: u64,
    reordered: u64,
}

pub(crate) fn run(options: &Options) -> Outcome<String> {
    let size = match options.scenario {
        Scenario::Cast => options.clients,
        Scenario::Rooms => 10,
        _ => 1,
    };
    let mut turns = Turns::new()?;
    let is_rooms = options.scenario == Scenario::Rooms;
    let mut links = clients::open(options, &mut turns, AT_ONCE, |id| Greeting {
        frames: if is_rooms {
            messages::join(id / size)
        } else {
            Vec::new()
        },
        proof: Vec::new(),
    })?;
    if is_rooms {
        #[expect(clippy::disallowed_methods, reason = "nothing else is to be done meanwhile")]
        thread::sleep(JOINING);
    }
    let mut groups = groups(options, size);
    // Only rooms have messages of their own, because a message names its room.
    let books: Vec<Vec<[Message; 2]>> = (0..if is_rooms { groups.len() } else { 1 })
        .map(|room| {
            (0..options.in_flight)
                .map(|place| messages::of_place(options, room, place))
                .collect()
        })
        .collect();
    let mut members = vec![Member::default(); options.clients];
    let (mut counts, mut waits) = (Counts::default(), Histogram::new());
    let (mut done, mut again) = (Vec::new(), Vec::new());

    turns.has_heard();
    let mut watch = Stopwatch::new(options);
    for (index, group) in groups.iter_mut().enumerate() {
        done.extend(0..options.in_flight);
        group.send(&books[group.messages], size, &mut done, clock::now(), &mut again);
        links[index * size].send(&again)?;
    }
    let measured = loop {
        turns.wait()?;
        for event in &turns.events {
            let id = event.token().0;
            let (Some(link), Some(member)) = (links.get_mut(id), members.get_mut(id)) else {
                continue;
            };
            let group = &mut groups[id / size];
            let book = &books[group.messages];
            let now = clock::now();
            turns
                .buffers
                .serve(link, event, |bytes, out| {
                    let used = member.take(bytes, group, book, out, &mut done, &mut counts)?;
                    for place in &done {
                        waits.add(now - group.places[*place].sent);
                    }
                    Ok(used)
                })
                .map_err(|failure| Failure::new(format!("client {id}: {failure}")))?;
            if !done.is_empty() {
                group.send(book, size, &mut done, now, &mut again);
                links[id / size * size].send(&again)?;
            }
        }
        match watch.look()? {
            Moment::Goes => {}
            Moment::Begins => {
                counts = Counts::default();
                waits.clear();
            }
            Moment::Ends(measured) => break measured,
        }
    };
    let now = clock::now();
    let places = groups.iter().flat_map(|group| &group.places);
    let stalled = places.filter(|place| now - place.sent > STALLED).count();
    let mut report = Report::new(options);
    report.operations(counts.got, &measured, &waits);
    report.number("pings", counts.pings as f64);
    report.number("reordered", counts.reordered as f64);
    report.number("stalled", stalled as f64);
    Ok(report.finish())
}

fn groups(options: &Options, size: usize) -> Vec<Group> {
    let now = clock::now();
    (0..options.clients / size)
        .map(|index| Group {
            messages: if options.scenario == Scenario::Rooms { index } else { 0 },
            turn: 0,
            places: (0..options.in_flight)
                .map(|_| Place { missing: 0, sent: now })
                .collect(),
        })
        .collect()
}

impl Group {
    /// Writes the next messages of these places.
    fn send(&mut self, book: &[[Message; 2]], size: usize, done: &mut Vec<usize>, now: Instant, out: &mut Vec<u8>) {
        out.clear();
        for place in done.drain(..) {
            self.turn ^= 1 << place;
            self.places[place].missing = size;
            self.places[place].sent = now;
            out.extend(&book[place][turn(self.turn, place)].sent);
        }
    }
}

fn turn(bits: u32, place: usize) -> usize {
    (bits >> place & 1) as usize
}

impl Member {
    /// Takes what has come. The places whose message all have got are added to `done`.
    fn take(
        &mut self,
        bytes: &[u8],
        group: &mut Group,
        book: &[[Message; 2]],
        out: &mut Vec<u8>,
        done: &mut Vec<usize>,
        counts: &mut Counts,
    ) -> Outcome<usize> {
        let mut used = 0;
        while used < bytes.len() {
            let rest = &bytes[used..];
            let due = |skipped: &usize| {
                let place = (self.next + skipped) % book.len();
                let is_due = turn(group.turn ^ self.seen, place) == 1;
                is_due.then(|| (place, &book[place][turn(group.turn, place)].due))
            };
            let found = (0..book.len()).find_map(|skipped| {
                due(&skipped)
                    .filter(|(_, due)| rest.starts_with(due))
                    .map(|found| (skipped, found))
            });
            if let Some((skipped, (place, due))) = found {
                used += due.len();
                self.seen ^= 1 << place;
                self.next = (place + 1) % book.len();
                counts.got += 1;
                counts.reordered += u64::from(skipped > 0);
                let missing = &mut group.places[place].missing;
                *missing -= 1;
                if *missing == 0 {
                    done.push(place);
                }
                continue;
            }
            let is_beginning = |skipped| due(&skipped).is_some_and(|(_, due)| due.starts_with(rest));
            if (0..book.len()).any(is_beginning) {
                break;
            }
            let Some(frame) = frames::next(rest)? else { break };
            match frames::other(&frame) {
                Other::Ping => {
                    frames::pong(out);
                    counts.pings += 1;
                }
                Other::Nothing => {}
                Other::Unknown => return Err(self.unexpected(group, book, rest)),
            }
            used += frame.length;
        }
        Ok(used)
    }

    fn unexpected(&self, group: &Group, book: &[[Message; 2]], rest: &[u8]) -> Failure {
        let due = (0..book.len()).find(|place| turn(group.turn ^ self.seen, *place) == 1);
        let due = due.map_or_else(
            || "nothing".into(),
            |place| {
                let due = &book[place][turn(group.turn, place)].due;
                String::from_utf8_lossy(&due[..due.len().min(60)]).into_owned()
            },
        );
        Failure::unexpected(&format!("{due:?}"), rest)
    }
}
