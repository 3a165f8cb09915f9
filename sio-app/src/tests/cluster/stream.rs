//! Servers with recovery over one stream: the order of events, and clients that change the server.

mod crowded;
mod histories;
mod records;
mod restarts;
mod writing;

use std::collections::BTreeMap;

use sio_proto::broker::Entry;

use super::*;
use crate::{Comeback, RecoveryConfig, StreamsConfig};

/// A model of the Redis of a stream, and of what fails there.
#[derive(Default)]
struct Model {
    entries: Vec<Entry>,
    values: BTreeMap<Bytes, Bytes>,
    /// How many entries each server has read; `None` before it reads.
    read: Vec<Option<usize>>,
    numbers: u64,
    fault: Fault,
    /// Up to which number each server may read entries now.
    readable: BTreeMap<usize, usize>,
    /// How long it takes to read a part of the stream.
    slow: Duration,
    /// How many entries were asked for.
    asked: usize,
    /// How many entries of each server have failed.
    failed: BTreeMap<usize, u64>,
    /// If set, the answers for entries that have failed wait here.
    late_failures: Option<Vec<Event>>,
    /// If set, requests for the tail of the stream wait here.
    late_tail: Option<Vec<(u64, Request)>>,
}

/// What becomes of an entry that is written.
#[derive(Clone, Copy, Default, PartialEq)]
enum Fault {
    #[default]
    None,
    /// It is refused.
    Refused,
    /// It is written, and the answer is lost.
    Unanswered,
    /// It is gone before anybody has read it.
    Trimmed,
    /// Nothing is answered in time, records included.
    Silent,
}

const WINDOW: Duration = Duration::from_secs(60);
const MILLISECOND: Duration = Duration::from_millis(1);

struct Servers {
    ios: Vec<Io>,
    model: RefCell<Model>,
}

impl Drop for Servers {
    fn drop(&mut self) {
        crate::tests::drop_tasks();
    }
}

impl Servers {
    fn new(settings: impl Fn(Cluster) -> Cluster, register: impl Fn(&Io)) -> Self {
        Self::with_recovery(&RecoveryConfig::default(), settings, register)
    }

    fn with_recovery(recovery: &RecoveryConfig, settings: impl Fn(Cluster) -> Cluster, register: impl Fn(&Io)) -> Self {
        set_now(0);
        let server = |_| server(recovery, &settings, |options| options, &register);
        let ios: Vec<Io> = (0..2).map(server).collect();
        let read = vec![None; ios.len()];
        let servers = Self {
            ios,
            model: RefCell::new(Model {
                read,
                ..Model::default()
            }),
        };
        servers.settle();
        servers.up(true);
        servers
    }

    /// One more server.
    fn add(&mut self, register: impl Fn(&Io)) {
        self.add_with(|options| options, register);
    }

    fn add_with(&mut self, options: impl Fn(Options) -> Options, register: impl Fn(&Io)) {
        let recovery = RecoveryConfig::default();
        self.ios.push(server(&recovery, |cluster| cluster, options, register));
        self.model.borrow_mut().read.push(None);
        self.settle();
        node(&self.ios[self.ios.len() - 1]).handle_events(&mut vec![Event::Up]);
        self.settle();
    }

    fn up(&self, is_up: bool) {
        self.ios.iter().for_each(|io| up(io, is_up));
        if is_up {
            self.settle();
        }
    }

    /// The server reads what has been written until now and so many entries more, and then nothing
    /// until it may read again.
    fn hold(&self, server: usize, more: usize) {
        let model = &mut *self.model.borrow_mut();
        model.readable.insert(server, model.entries.len() + more);
    }

    fn release(&self, server: usize) {
        self.model.borrow_mut().readable.remove(&server);
        self.settle();
    }

    fn fail(&self, fault: Fault) {
        self.model.borrow_mut().fault = fault;
    }

    /// Carries commands and events until nothing happens any more.
    fn settle(&self) {
        loop {
            let mut is_quiet = true;
            run_tasks();
            for (number, io) in self.ios.iter().enumerate() {
                let mut events = Vec::new();
                for command in node(io).take_commands() {
                    is_quiet = false;
                    events.extend(self.handle(number, command));
                }
                events.extend(self.read_on(number));
                is_quiet &= events.is_empty();
                node(io).handle_events(&mut events);
            }
            if is_quiet {
                return;
            }
        }
    }

    fn read_on(&self, server: usize) -> Vec<Event> {
        let model = &mut *self.model.borrow_mut();
        let Some(read) = &mut model.read[server] else {
            return Vec::new();
        };
        let to = model.readable.get(&server).map_or(model.entries.len(), |to| *to);
        let to = to.max(*read);
        let from = std::mem::replace(read, to);
        let event = |Entry { id, fields }| Event::Entry {
            stream: "socket.io".into(),
            id,
            fields,
        };
        model.entries[from..to].iter().cloned().map(event).collect()
    }

    fn handle(&self, from: usize, command: Command) -> Option<Event> {
        let model = &mut *self.model.borrow_mut();
        let (tag, request) = match command {
            Command::Subscribe { channel, sharded } => return Some(Event::Subscribed { channel, sharded }),
            Command::ReadStream { stream, .. } => {
                model.read[from] = Some(model.entries.len());
                let after = model
                    .entries
                    .last()
                    .map_or_else(|| "784111776000-0".into(), |last| last.id.clone());
                return Some(Event::Reading { stream, after });
            }
            Command::Request { tag, request } => (tag, request),
            _ => return None,
        };
        let answer = match request {
            Request::AddEntry {
                fields, known_failures, ..
            } => {
                let failed = model.failed.entry(from).or_default();
                let is_in_order = known_failures.is_none_or(|known| known == *failed);
                if !is_in_order || matches!(model.fault, Fault::Refused | Fault::Unanswered) {
                    *failed += 1;
                }
                let failed = *failed;
                model.numbers += 1;
                let id = Bytes::from(format!("{}-{}", 784_111_777_000 + now() / 1000, model.numbers));
                let entry = Entry { id: id.clone(), fields };
                if is_in_order && !matches!(model.fault, Fault::Refused | Fault::Trimmed) {
                    model.entries.push(entry);
                }
                let answer = match model.fault {
                    _ if !is_in_order => Err(BrokerError::NotInOrder { failed }),
                    Fault::None | Fault::Trimmed => Ok(Answer::Added(id)),
                    Fault::Refused | Fault::Unanswered | Fault::Silent => Err(BrokerError::Closed),
                };
                if let (Some(late), Err(_)) = (&mut model.late_failures, &answer) {
                    late.push(Event::Answer { tag, answer });
                    return None;
                }
                answer
            }
            Request::Set {
                key,
                value,
                only_if_there,
                ..
            } => match only_if_there && !model.values.contains_key(&key) {
                true => Ok(Answer::Value(None)),
                false => {
                    model.values.insert(key, value);
                    Ok(Answer::Done)
                }
            },
            Request::Take { .. } if model.fault == Fault::Silent => Err(BrokerError::TimedOut),
            Request::Take { key } => Ok(Answer::Value(model.values.remove(&key))),
            Request::Delete { .. } if model.fault == Fault::Refused => Err(BrokerError::Closed),
            Request::Delete { key } => Ok(Answer::Count(u64::from(model.values.remove(&key).is_some()))),
            Request::Length { .. } => Ok(Answer::Count(model.entries.len() as u64)),
            Request::Subscribers { .. } => Ok(Answer::Count(2)),
            request @ Request::RangeBack { .. } if model.late_tail.is_some() => {
                model.late_tail.as_mut().unwrap().push((tag, request));
                return None;
            }
            Request::RangeBack { from, count, .. } => {
                let part = model
                    .entries
                    .iter()
                    .rev()
                    .filter(|entry| numbers(&entry.id) <= numbers(&from));
                let part: Vec<_> = part.take(count as usize).cloned().collect();
                model.asked += part.len();
                Ok(Answer::Entries(part))
            }
            Request::Range { from, to, count, .. } => {
                let range = numbers(&from)..=numbers(&to);
                let part = model.entries.iter().filter(|entry| range.contains(&numbers(&entry.id)));
                let part: Vec<_> = part.take(count as usize).cloned().collect();
                model.asked += part.len();
                set_now(now() + model.slow.as_micros() as u64);
                Ok(Answer::Entries(part))
            }
        };
        Some(Event::Answer { tag, answer })
    }

    /// Lets time pass, for the nodes and for the sockets.
    fn pass(&self, duration: Duration) {
        set_now(now() + duration.as_micros() as u64);
        for io in &self.ios {
            let _ = node(io).handle_timeout(Waker::noop());
            let driver = crate::adapter::Driver::new(io);
            driver.sweep();
            for shard in 0..driver.shards() {
                let _ = driver.handle_timeout(shard, Waker::noop());
            }
        }
        self.settle();
    }

    fn clients(&self) -> [Driven; 2] {
        let clients = [0, 1].map(|at: usize| {
            let mut client = Driven::connected(&self.ios[at]);
            let _ = client.written();
            client
        });
        self.pass(20 * MILLISECOND);
        clients
    }

    fn counts(&self, server: usize) -> crate::ClusterCounts {
        self.ios[server].metrics().cluster.unwrap()
    }

    fn records(&self) -> Vec<(Bytes, Bytes)> {
        self.model.borrow().values.clone().into_iter().collect()
    }
}

fn up(io: &Io, is_up: bool) {
    let event = match is_up {
        true => Event::Up,
        false => Event::Down {
            why: BrokerError::Closed,
        },
    };
    node(io).handle_events(&mut vec![event]);
}

fn server(
    recovery: &RecoveryConfig,
    settings: impl Fn(Cluster) -> Cluster,
    more: impl Fn(Options) -> Options,
    register: impl Fn(&Io),
) -> Io {
    let cluster = settings(Cluster::from_url("redis://127.0.0.1").unwrap());
    let cluster = cluster.kind(ClusterKind::Streams(StreamsConfig::default()));
    let runtime = crate::adapter::Runtime { fill, ..RUNTIME };
    let recovery = recovery.clone().window(WINDOW).skip_middlewares(true);
    let options = Options::default().shards(2).cluster(cluster).recovery(recovery);
    let io = Io::new(Config::default(), more(options), runtime).unwrap();
    register(&io);
    io
}

fn numbers(id: &[u8]) -> (u64, u64) {
    let id = std::str::from_utf8(id).unwrap();
    let (milliseconds, number) = id.split_once('-').unwrap();
    (milliseconds.parse().unwrap(), number.parse().unwrap())
}

fn plain() -> Servers {
    Servers::new(|cluster| cluster, |_| {})
}

/// The numbers of the events `n` in what a client has read.
fn numbers_of(written: &str) -> Vec<u64> {
    let events = written.split(r#"["n","#).skip(1);
    let number = |event: &str| event.split([',', ']']).next().unwrap().parse().unwrap();
    events.map(number).collect()
}

/// The numbers of the events `n`, and how many of them have the id of an entry.
fn heard(client: &mut Driven) -> (Vec<u64>, usize) {
    let written = client.written();
    let events = written.split(r#"["n","#).skip(1);
    let places = events.filter(|event| event.contains("784111")).count();
    (numbers_of(&written), places)
}

#[test]
fn events_have_the_order_of_the_stream() {
    let servers = plain();
    let mut clients = servers.clients();
    servers.ios[0].emit("n", 1);
    servers.ios[1].emit("n", 2);
    assert_eq!(heard(&mut clients[0]), (vec![], 0), "it waits for the stream");
    servers.settle();
    for client in &mut clients {
        assert_eq!(heard(client), (vec![1, 2], 2));
    }
    assert_eq!(servers.counts(0).waiting_bytes, 0);
}

/// What waits for the stream is bounded. What is beyond reaches the sockets of the server, and is
/// counted once.
#[test]
fn what_waits_for_the_stream_is_bounded() {
    let limit = 4096;
    let servers = Servers::new(
        |mut cluster| {
            cluster.broker.max_waiting_bytes = limit;
            cluster
        },
        |_| {},
    );
    let mut clients = servers.clients();
    servers.up(false);
    for number in 0..20 {
        servers.ios[0].emit("n", number);
        assert!(
            servers.counts(0).waiting_bytes <= limit,
            "{}",
            servers.counts(0).waiting_bytes
        );
    }
    let all: Vec<u64> = (0..20).collect();
    assert_eq!(heard(&mut clients[0]).0, all);
    let dropped = servers.counts(0).dropped;
    assert!((1..20).contains(&dropped), "{dropped}");
    servers.up(true);
    for _ in 0..8 {
        servers.pass(Duration::from_secs(1));
    }
    assert_eq!(heard(&mut clients[1]).0, all[..20 - dropped as usize]);
    // Larger than a message may be, it is counted once.
    let large = "x".repeat(17 << 20);
    let before = servers.counts(0).unsent;
    servers.ios[0].emit("large", large);
    assert_eq!(
        servers.counts(0).unsent - before + servers.counts(0).dropped - dropped,
        1
    );
}

/// What a client is told when it is let in: its id and its secret.
fn told(client: &mut Driven) -> (String, String) {
    let written = client.written();
    let part = |name: &str| {
        let at = written.find(name).unwrap_or_else(|| panic!("{written}")) + name.len();
        written[at..].split('"').next().unwrap().to_owned()
    };
    (part("40{\"sid\":\""), part("\"pid\":\""))
}

fn join(io: &Io) -> Driven {
    let mut client = Driven::new(io, usize::MAX);
    let _ = client.read(crate::tests::UPGRADE);
    let _ = client.read(&text("40"));
    client
}

/// A client is cut off at the first server and comes back to the second one. Returns the client,
/// whether it has its id, and what it has read.
fn come_back(servers: &Servers, between: impl FnOnce()) -> (Driven, bool, String) {
    let mut client = join(&servers.ios[0]);
    let (id, pid) = told(&mut client);
    servers.ios[0].sockets()[0].join("red").unwrap();
    servers.pass(20 * MILLISECOND);
    servers.ios[1].to("red").emit("n", 1);
    servers.settle();
    let written = client.written();
    let offset = written
        .rsplit('"')
        .nth(1)
        .unwrap_or_else(|| panic!("{written}"))
        .to_owned();
    drop(client);
    servers.settle();
    servers.ios[0].to("red").emit("n", 2);
    servers.ios[1].to("blue").emit("n", 3);
    servers.settle();
    between();
    let mut back = Driven::new(&servers.ios[1], usize::MAX);
    let _ = back.read(crate::tests::UPGRADE);
    let _ = back.read(&text(&format!(r#"40{{"pid":"{pid}","offset":"{offset}"}}"#)));
    servers.settle();
    let written = back.written();
    servers.pass(20 * MILLISECOND);
    let is_back = written.contains(&format!("\"sid\":\"{id}\""));
    (back, is_back, written)
}

#[test]
fn a_client_comes_back_to_another_server() {
    let asked = std::sync::Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let asks = std::sync::Arc::clone(&asked);
    let servers = Servers::new(
        |cluster| cluster,
        |io| {
            let asks = std::sync::Arc::clone(&asks);
            io.of("/").with(move |_: Socket| {
                asks.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                Ok::<_, crate::Refusal>(())
            });
        },
    );
    let (_client, is_back, written) = come_back(&servers, || {});
    assert!(is_back, "{written}");
    assert!(
        written.contains(r#"["n",2,"#) && !written.contains(r#"["n",3"#),
        "{written}"
    );
    let socket = socket(&servers.ios[1]);
    assert!(matches!(socket.recovery(), Comeback::Recovered { missed: 1 }));
    assert!(socket.rooms().iter().any(|room| *room == *"red"));
    assert_eq!((servers.counts(1).restored, servers.counts(1).not_restored), (1, 0));
    // A middleware of the second server decides about it, also with `skip_middlewares`: what that
    // of the first server has set is not there.
    assert_eq!(asked.load(std::sync::atomic::Ordering::Relaxed), 2);
    // The first server has let it go, and nobody has two.
    assert!(servers.ios[0].sockets().is_empty());
    assert_eq!(servers.records().len(), 1);
    servers.ios[0].to("red").emit("n", 4);
    servers.settle();
}

/// Somebody who can write to Redis makes a record, changes one, or moves one.
#[test]
fn with_a_secret_a_record_of_others_is_refused_and_counted() {
    let secret = |cluster: Cluster| cluster.secret([7; 32]);
    for what in ["true", "changed", "unsigned"] {
        let servers = Servers::new(secret, |_| {});
        let (_client, is_back, written) = come_back(&servers, || {
            let model = &mut *servers.model.borrow_mut();
            for value in model.values.values_mut() {
                let mut bytes = value.to_vec();
                match what {
                    "changed" => {
                        let at = bytes.len() / 2;
                        bytes[at] = if bytes[at] == b'A' { b'B' } else { b'A' };
                    }
                    "unsigned" => {
                        let limits =
                            sio_proto::cluster::messages::MessageLimits::from(&sio_proto::ClusterConfig::default());
                        let record = sio_proto::cluster::messages::Session::decode(value, &limits).unwrap();
                        bytes = record.encode().to_vec();
                    }
                    _ => {}
                }
                *value = bytes.into();
            }
        });
        let counts = servers.counts(1);
        let doubted = (counts.messages.forged, counts.messages.unsigned, counts.not_restored);
        match what {
            "true" => assert!(is_back && doubted == (0, 0, 0), "{written} {doubted:?}"),
            "changed" => assert!(!is_back && doubted.0 + doubted.1 <= 1 && doubted.2 == 1, "{doubted:?}"),
            _ => assert!(!is_back && doubted == (0, 1, 1), "{written} {doubted:?}"),
        }
    }
}

/// A fence that is never read keeps nobody waiting.
#[test]
fn a_client_does_not_wait_for_ever() {
    let servers = plain();
    let (_client, is_back, _) = come_back(&servers, || servers.fail(Fault::Trimmed));
    assert!(!is_back);
    assert!(servers.ios[1].sockets().is_empty(), "it waits");
    servers.fail(Fault::None);
    servers.pass(Duration::from_secs(6));
    let socket = socket(&servers.ios[1]);
    assert!(matches!(socket.recovery(), Comeback::Lost(_)));
    assert_eq!(servers.counts(1).not_restored, 1);
}

/// While Redis is away, the task of the node sleeps.
#[test]
fn a_node_without_its_broker_does_not_spin() {
    let servers = plain();
    let _clients = servers.clients();
    servers.up(false);
    socket(&servers.ios[0]).join("red").unwrap();
    servers.ios[0].emit("n", 1);
    for _ in 0..20 {
        servers.pass(MILLISECOND);
    }
    let next = node(&servers.ios[0]).handle_timeout(Waker::noop()).unwrap();
    assert!(next > sio_proto::Time::from_micros(now()), "{next:?}");
}

/// Events to a room are sent before its members leave it, all of them, and no others.
#[test]
fn events_come_before_the_end_of_what_they_are_for() {
    let servers = plain();
    let mut clients = servers.clients();
    socket(&servers.ios[0]).join(["red", "blue"]).unwrap();
    servers.ios[0].to("blue").emit("n", 1000);
    let all: Vec<u64> = (0..300).collect();
    for number in &all {
        servers.ios[0].to("red").emit("n", number);
    }
    servers.ios[0].to("blue").emit("n", 1001);
    servers.ios[0].to("blue").leave("green");
    assert_eq!(heard(&mut clients[0]), (vec![], 0), "this room matters to no event");
    servers.ios[0].to("blue").leave("red");
    let expected: Vec<u64> = [1000].into_iter().chain(all).collect();
    assert_eq!(heard(&mut clients[0]), (expected, 0));
    assert!(!socket(&servers.ios[0]).rooms().iter().any(|room| **room == *"red"));
    servers.settle();
    assert_eq!(heard(&mut clients[0]), (vec![1001], 1), "nothing twice");
    // The end of a socket that an event is not for.
    servers.ios[0].to("blue").emit("n", 1);
    let mut other = join(&servers.ios[0]);
    let id = told(&mut other).0;
    servers.ios[0].to(&*id).disconnect();
    assert_eq!(heard(&mut clients[0]), (vec![], 0));
    servers.ios[0].to("blue").disconnect();
    assert_eq!(heard(&mut clients[0]), (vec![1], 0));
}

/// What others write takes no place in the stream from events of this server.
#[test]
fn orders_of_others_send_nothing_early() {
    let servers = plain();
    let mut clients = servers.clients();
    servers.fail(Fault::Refused);
    servers.ios[1].emit("n", 1);
    servers.settle();
    servers.fail(Fault::None);
    set_now(now() + 500_000);
    // A fence, an order to leave, and an order to end sockets.
    let _ = node(&servers.ios[1]).handle_timeout(Waker::noop());
    servers.ios[1].to("red").leave("red");
    servers.ios[1].to("blue").disconnect();
    let before = servers.model.borrow().entries.len();
    for command in node(&servers.ios[1]).take_commands() {
        let _ = servers.handle(1, command);
    }
    assert_eq!(servers.model.borrow().entries.len() - before, 3);
    servers.ios[0].emit("n", 2);
    node(&servers.ios[0]).handle_events(&mut servers.read_on(0));
    assert_eq!(heard(&mut clients[0]), (vec![], 0));
    servers.settle();
    assert_eq!(heard(&mut clients[0]), (vec![2, 1], 2));
}

/// The last event before the end of a server reaches its sockets, with its place.
#[test]
fn a_server_that_closes_sends_what_waits_for_the_stream() {
    for is_slow in [false, true] {
        let servers = plain();
        let mut clients = servers.clients();
        if is_slow {
            servers.hold(0, 0);
        }
        servers.ios[0].emit("n", 1);
        servers.ios[0].close();
        servers.settle();
        if is_slow {
            assert_eq!(clients[0].written(), "");
            servers.pass(250 * MILLISECOND);
        }
        servers.pass(MILLISECOND);
        assert_eq!(heard(&mut clients[0]), (vec![1], usize::from(!is_slow)));
        assert_eq!(servers.ios[0].sessions(), 0);
    }
}

/// As long as an event that was sent without the stream has not been read, other events have
/// offsets of this server: with the place of an entry, a client would get it again elsewhere.
#[test]
fn behind_an_early_event_no_event_has_a_place() {
    let servers = plain();
    let mut clients = servers.clients();
    servers.hold(0, 0);
    servers.ios[1].emit("n", 1);
    servers.settle();
    servers.ios[0].emit("n", 2);
    servers.settle();
    servers.pass(250 * MILLISECOND);
    assert_eq!(heard(&mut clients[0]), (vec![2], 0), "it is early");
    let first = servers.model.borrow().entries.len() - 1;
    servers.model.borrow_mut().readable.insert(0, first);
    servers.settle();
    assert_eq!(heard(&mut clients[0]), (vec![1], 0), "its place is before that of 2");
    servers.release(0);
    servers.ios[1].emit("n", 3);
    servers.settle();
    assert_eq!(heard(&mut clients[0]), (vec![3], 1));
}
