//! The connections to a broker, against genuine servers and what happens to them in the field.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::thread::sleep;
use std::time::{Duration, Instant};

use sio_app::Bytes;
use sio_app::adapter::broker::{Answer, BrokerConfig, BrokerError, Command, Event, Refusal, Request, StreamPosition};
use sio_app::adapter::{BrokerBuilder, BrokerHandle};

use super::note;
use super::servers::Redis;

/// A node with a broker, and what it has heard.
pub(super) struct Node {
    pub(super) handle: BrokerHandle,
    events: Arc<Mutex<Vec<(Instant, Event)>>>,
}

pub(super) fn config(url: &str) -> BrokerConfig {
    let config = BrokerConfig::from_url(url).expect("a URL");
    // Short times, so that the tests are short.
    config
        .ping_interval(Duration::from_millis(500))
        .answer_timeout(Duration::from_secs(2))
        .probe_interval(Duration::from_secs(1))
        .probe_timeout(Duration::from_secs(1))
}

fn text(text: &str) -> Bytes {
    Bytes::copy_from_slice(text.as_bytes())
}

impl Node {
    pub(super) fn connect(config: BrokerConfig) -> Self {
        Self::connect_with(crate::builder(config))
    }

    pub(super) fn connect_with(builder: BrokerBuilder) -> Self {
        let events = Arc::new(Mutex::new(Vec::new()));
        let heard = Arc::clone(&events);
        let listener = move |event| heard.lock().expect("a list").push((Instant::now(), event));
        let handle = crate::connect(builder, listener).expect("settings");
        Self { handle, events }
    }

    pub(super) fn subscribe(&self, channel: &str, sharded: bool) {
        let channel = text(channel);
        self.handle.send(Command::Subscribe { channel, sharded });
    }

    pub(super) fn publish(&self, channel: &str, payload: &str, sharded: bool) {
        let (channel, payload) = (text(channel), text(payload));
        self.handle.send(Command::Publish {
            channel,
            payload,
            sharded,
        });
    }

    /// Waits for an event, also one that has come already, and takes all up to it.
    fn until(&self, what: &str, is_it: impl Fn(&Event) -> bool) -> (Instant, Event) {
        let started = Instant::now();
        loop {
            {
                let mut events = self.events.lock().expect("a list");
                if let Some(at) = events.iter().position(|(_, event)| is_it(event)) {
                    return events.drain(..=at).next_back().expect("the event");
                }
            }
            assert!(started.elapsed() < Duration::from_secs(40), "no {what}");
            sleep(Duration::from_millis(2));
        }
    }

    pub(super) fn up(&self) -> Instant {
        self.until("up", |event| *event == Event::Up).0
    }

    pub(super) fn down(&self) -> (Instant, BrokerError) {
        let (at, event) = self.until("down", |event| matches!(event, Event::Down { .. }));
        match event {
            Event::Down { why } => (at, why),
            _ => unreachable!("it is down"),
        }
    }

    pub(super) fn hears(&self, payload: &str) -> Instant {
        let is_it = |event: &Event| matches!(event, Event::Message { payload: heard, .. } if *heard == payload);
        self.until(payload, is_it).0
    }

    fn ask(&self, request: Request) -> Result<Answer, BrokerError> {
        self.handle.send(Command::Request { tag: 7, request });
        match self.until("answer", |event| matches!(event, Event::Answer { .. })).1 {
            Event::Answer { answer, .. } => answer,
            _ => unreachable!("it is an answer"),
        }
    }
}

#[test]
#[ignore = "needs redis-server"]
fn messages_requests_and_streams() {
    let redis = Redis::start(&[]);
    let url = format!("redis://127.0.0.1:{}/2", redis.port);
    let (one, two) = (Node::connect(config(&url)), Node::connect(config(&url)));
    two.subscribe("plain", false);
    two.subscribe("sharded", true);
    two.up();
    one.up();
    let big = "x".repeat(3_000_000);
    one.publish("plain", &big, false);
    two.hears(&big);
    one.publish("sharded", "b", true);
    two.hears("b");
    for (channel, sharded) in [("plain", false), ("sharded", true)] {
        let channel = text(channel);
        assert_eq!(one.ask(Request::Subscribers { channel, sharded }), Ok(Answer::Count(1)));
    }
    two.handle.send(Command::ReadStream {
        stream: text("s"),
        after: StreamPosition::End,
    });
    // The reader finds the end of the stream.
    sleep(Duration::from_millis(500));
    let fields = vec![(text("a"), text("1")), (text("b"), text(""))];
    let (stream, max_len) = (text("s"), 10);
    let added = one.ask(Request::AddEntry {
        stream,
        max_len,
        fields: fields.clone(),
        known_failures: None,
    });
    let Ok(Answer::Added(id)) = added else {
        panic!("{added:?}")
    };
    let read = two.until("entry", |event| matches!(event, Event::Entry { .. })).1;
    assert_eq!(
        read,
        Event::Entry {
            stream: text("s"),
            id: id.clone(),
            fields
        }
    );
    let (from, to, count) = (id.clone(), id, 5);
    let range = one.ask(Request::Range {
        stream: text("s"),
        from,
        to,
        count,
    });
    assert!(
        matches!(&range, Ok(Answer::Entries(entries)) if entries.len() == 1),
        "{range:?}"
    );
    let (key, value, milliseconds) = (text("k"), text("v"), 5000);
    assert_eq!(
        one.ask(Request::Set {
            key,
            value,
            milliseconds,
            only_if_there: false
        }),
        Ok(Answer::Done)
    );
    let take = Request::Take { key: text("k") };
    assert_eq!(one.ask(take.clone()), Ok(Answer::Value(Some(text("v")))));
    assert_eq!(one.ask(take), Ok(Answer::Value(None)));
    let wrong = one.ask(Request::Take { key: text("s") });
    assert!(wrong.is_err(), "{wrong:?}");
}

#[test]
#[ignore = "needs redis-server"]
fn kill_and_restart() {
    let mut redis = Redis::start(&[]);
    let node = Node::connect(config(&format!("redis://127.0.0.1:{}", redis.port)));
    for number in 0..1000 {
        node.subscribe(&format!("room{number}"), false);
    }
    node.up();
    let killed = Instant::now();
    redis.kill();
    note("kill -9: noticed after", killed, node.down().0);
    sleep(Duration::from_secs(1));
    redis.start_again();
    let started = Instant::now();
    let up = node.up();
    note("restart: 1000 channels are heard again after", started, up);
    node.publish("room999", "again", false);
    node.hears("again");
    assert_eq!(redis.cli(&["PUBSUB", "NUMSUB", "room7"]).lines().nth(1), Some("1"));
}

#[test]
#[ignore = "needs redis-server"]
fn a_frozen_server() {
    let redis = Redis::start(&[]);
    let node = Node::connect(config(&format!("redis://127.0.0.1:{}", redis.port)));
    node.subscribe("c", false);
    node.up();
    let stopped = Instant::now();
    redis.signal("STOP");
    let (at, why) = node.down();
    assert_eq!(why, BrokerError::TimedOut);
    note("SIGSTOP: noticed after", stopped, at);
    // A request ends, whatever the server does.
    let asked = Instant::now();
    let late = node.ask(Request::Take { key: text("k") });
    assert!(late.is_err());
    note("SIGSTOP: a request ended after", asked, Instant::now());
    redis.signal("CONT");
    let continued = Instant::now();
    note("SIGCONT: heard again after", continued, node.up());
    node.publish("c", "x", false);
    node.hears("x");
}

#[test]
#[ignore = "needs redis-server"]
fn a_pause_delays_and_loses_nothing() {
    let redis = Redis::start(&[]);
    let node = Node::connect(config(&format!("redis://127.0.0.1:{}", redis.port)));
    node.subscribe("c", false);
    node.up();
    let paused = Instant::now();
    redis.cli(&["CLIENT", "PAUSE", "1000", "ALL"]);
    node.publish("c", "late", false);
    let heard = node.hears("late");
    note("CLIENT PAUSE 1000: heard after", paused, heard);
    assert!(heard - paused >= Duration::from_millis(700));
    assert_eq!(node.handle.counters().reconnects, 0);
}

#[test]
#[ignore = "needs redis-server"]
fn subscribers_are_killed() {
    let redis = Redis::start(&[]);
    let node = Node::connect(config(&format!("redis://127.0.0.1:{}", redis.port)));
    node.subscribe("c", false);
    node.up();
    let killed = Instant::now();
    redis.cli(&["CLIENT", "KILL", "TYPE", "pubsub"]);
    node.down();
    note("CLIENT KILL TYPE pubsub: heard again after", killed, node.up());
    node.publish("c", "x", false);
    node.hears("x");
    // A message that is larger than the server keeps for a subscriber.
    redis.cli(&["CONFIG", "SET", "client-output-buffer-limit", "pubsub 32kb 16kb 5"]);
    let sent = Instant::now();
    node.publish("c", &"x".repeat(10_000_000), false);
    node.down();
    note("client-output-buffer-limit: heard again after", sent, node.up());
    node.publish("c", "y", false);
    node.hears("y");
}

#[test]
#[ignore = "needs redis-server"]
fn users_with_few_permissions() {
    let redis = Redis::start(&[]);
    let rules = [
        "ACL",
        "SETUSER",
        "node",
        "on",
        ">p w",
        "~*",
        "resetchannels",
        "&socket.io*",
        "+@all",
        "-psubscribe",
        "-cluster",
    ];
    assert_eq!(redis.cli(&rules).trim(), "OK");
    redis.cli(&["ACL", "SETUSER", "default", "off"]);
    let node = Node::connect(config(&format!("redis://node:p%20w@127.0.0.1:{}", redis.port)));
    node.subscribe("socket.io#/#", false);
    node.up();
    node.publish("socket.io#/#", "x", false);
    node.hears("x");
    sleep(Duration::from_secs(4));
    let counters = node.handle.counters();
    assert_eq!((counters.deaf, counters.reconnects, counters.is_up), (0, 0, true));
    node.subscribe("forbidden", false);
    let (_, why) = node.down();
    assert!(why.is_refused_as(Refusal::Permission), "{why}");
    let stranger = Node::connect(config(&format!("redis://node:wrong@127.0.0.1:{}", redis.port)));
    let (_, why) = stranger.down();
    assert!(why.is_refused_as(Refusal::Credentials), "{why}");
}

/// How long channels were not heard.
fn note_gaps(node: &Node) {
    let mut down = None;
    for (at, event) in &*node.events.lock().expect("a list") {
        match event {
            Event::Down { .. } => down = Some(*at),
            Event::Up => note("slots moved: heard again after", down.take().unwrap_or(*at), *at),
            _ => {}
        }
    }
}

#[test]
#[ignore = "needs redis-server"]
fn three_masters() {
    let servers = Redis::start_cluster();
    let addresses: Vec<String> = servers
        .iter()
        .map(|redis| format!("127.0.0.1:{}", redis.port))
        .collect();
    // One server is named, the others are found.
    let url = format!("redis://{}", addresses[0]);
    let (one, two) = (Node::connect(config(&url)), Node::connect(config(&url)));
    let names: Vec<String> = (0..60).map(|number| format!("room{number}")).collect();
    for name in &names {
        two.subscribe(name, true);
    }
    two.subscribe("plain", false);
    two.up();
    one.up();
    one.publish("plain", "p", false);
    two.hears("p");
    all_hear(&one, &two, &names, "a");
    let asked = one.ask(Request::Subscribers {
        channel: text("room5"),
        sharded: true,
    });
    assert_eq!(asked, Ok(Answer::Count(1)));
    let asked = one.ask(Request::Subscribers {
        channel: text("plain"),
        sharded: false,
    });
    assert_eq!(asked, Ok(Answer::Count(1)));
    // A third of the slots of one server goes to another.
    let id = |redis: &Redis| redis.cli(&["CLUSTER", "MYID"]).trim().to_owned();
    let (from, to) = (id(&servers[0]), id(&servers[1]));
    let moved = Instant::now();
    let reshard = [
        "--cluster",
        "reshard",
        &addresses[0],
        "--cluster-from",
        &from,
        "--cluster-to",
        &to,
        "--cluster-slots",
        "1800",
        "--cluster-yes",
    ];
    servers[0].cli(&reshard);
    note("1800 slots moved in", moved, Instant::now());
    let done = Instant::now();
    // Slots move one after the other, and so do the channels.
    let mut since = Instant::now();
    while since.elapsed() < Duration::from_secs(1) {
        if !two.handle.counters().is_up {
            since = Instant::now();
        }
        assert!(done.elapsed() < Duration::from_secs(20));
        sleep(Duration::from_millis(5));
    }
    note_gaps(&two);
    all_hear(&one, &two, &names, "b");
    assert_eq!(one.handle.counters().refused, 0);
}

/// Every channel brings its message.
fn all_hear(one: &Node, two: &Node, names: &[String], mark: &str) {
    for name in names {
        one.publish(name, &format!("{mark}{name}"), true);
    }
    let mut missing: BTreeSet<String> = names.iter().map(|name| format!("{mark}{name}")).collect();
    let started = Instant::now();
    while !missing.is_empty() {
        for (_, event) in two.events.lock().expect("a list").drain(..) {
            if let Event::Message { payload, .. } = event {
                missing.remove(&String::from_utf8_lossy(&payload).into_owned());
            }
        }
        assert!(started.elapsed() < Duration::from_secs(20), "{missing:?}");
        sleep(Duration::from_millis(5));
    }
}

#[test]
#[ignore = "needs redis-server"]
fn a_sentinel_promotes_a_replica() {
    let (mut master, replica, sentinel) = Redis::start_with_sentinel();
    let node = Node::connect(config(&format!("redis+sentinel://127.0.0.1:{}/main", sentinel.port)));
    node.subscribe("c", false);
    node.up();
    node.publish("c", "x", false);
    node.hears("x");
    let killed = Instant::now();
    master.kill();
    node.down();
    note(
        "kill -9 of a master: heard again on its replica after",
        killed,
        node.up(),
    );
    node.publish("c", "y", false);
    node.hears("y");
    assert_eq!(replica.cli(&["PUBSUB", "NUMSUB", "c"]).lines().nth(1), Some("1"));
}
