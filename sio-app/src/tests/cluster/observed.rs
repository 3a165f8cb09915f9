//! What an operator of a cluster sees: the lines in the log about what was lost.

use std::fmt;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use sio_proto::broker::{BrokerError, Command, Event, Refusal};

use super::{World, classic, clients, node};

/// The warnings about the cluster, with those of their numbers that are not zero.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<String>>>);

/// One line.
#[derive(Default)]
struct Line {
    message: String,
    numbers: Vec<String>,
}

impl tracing::field::Visit for Line {
    fn record_u64(&mut self, field: &tracing::field::Field, value: u64) {
        if value > 0 {
            self.numbers.push(format!("{}={value}", field.name()));
        }
    }

    fn record_debug(&mut self, field: &tracing::field::Field, value: &dyn fmt::Debug) {
        if field.name() == "message" {
            self.message = format!("{value:?}");
        }
    }
}

impl tracing::Subscriber for Log {
    fn enabled(&self, metadata: &tracing::Metadata<'_>) -> bool {
        *metadata.level() == tracing::Level::WARN
    }

    fn new_span(&self, _: &tracing::span::Attributes<'_>) -> tracing::span::Id {
        tracing::span::Id::from_u64(1)
    }

    fn event(&self, event: &tracing::Event<'_>) {
        let mut line = Line::default();
        event.record(&mut line);
        if line.message.contains("servers of the cluster") {
            self.0.lock().unwrap().push(line.numbers.join(" "));
        }
    }

    fn record(&self, _: &tracing::span::Id, _: &tracing::span::Record<'_>) {}
    fn record_follows_from(&self, _: &tracing::span::Id, _: &tracing::span::Id) {}
    fn enter(&self, _: &tracing::span::Id) {}
    fn exit(&self, _: &tracing::span::Id) {}
}

impl Log {
    fn take(&self) -> Vec<String> {
        std::mem::take(&mut self.0.lock().unwrap())
    }
}

/// So many messages that nobody can read come to the first server.
fn nonsense(world: &World, count: usize) {
    let channel = world.redis.borrow().subscriptions[0].first().unwrap().clone();
    let event = Event::Message {
        channel,
        payload: "nonsense".into(),
        sharded: false,
    };
    node(&world.servers[0]).handle_events(&mut vec![event; count]);
}

/// Many losses are one line, and for the next ten seconds there is no other one.
#[test]
fn what_is_lost_is_logged_in_one_line_every_ten_seconds() {
    let log = Log::default();
    tracing::subscriber::with_default(log.clone(), || {
        let world = classic(2);
        let _clients = clients(&world);
        world.pass(Duration::from_secs(20));
        assert!(log.take().is_empty(), "nothing was lost");
        world.pass(Duration::from_secs(10));
        nonsense(&world, 300);
        assert!(log.take().is_empty(), "no message writes a line");
        // It is looked every two seconds, and at most so long after the last time.
        for _ in 0..6 {
            world.pass(Duration::from_secs(2));
        }
        assert_eq!(log.take(), ["malformed=300"]);
        nonsense(&world, 5);
        // Four looks, within ten seconds of the line.
        for _ in 0..3 {
            world.pass(Duration::from_secs(2));
        }
        assert!(log.take().is_empty(), "a line was written some seconds ago");
        for _ in 0..3 {
            world.pass(Duration::from_secs(2));
        }
        assert_eq!(log.take(), ["malformed=5"]);
        for _ in 0..10 {
            world.pass(Duration::from_secs(2));
        }
        assert!(log.take().is_empty(), "what was logged is not logged again");
        // What was not sent, and a request that some have not answered.
        let why = BrokerError::Closed;
        node(&world.servers[0]).handle_events(&mut vec![Event::Down { why }]);
        world.redis.borrow_mut().is_away = true;
        let large = vec![0u8; 17 << 20];
        world.servers[0].emit("news", crate::Binary(large.into()));
        world.settle();
        world.pass(Duration::from_secs(12));
        assert_eq!(log.take(), ["unsent=1"]);
    });
}

/// A broker that forbids to count the nodes is asked once for each of its connections, so the log
/// does not tell of it again and again. The nodes that were heard are counted then.
#[test]
fn a_broker_that_forbids_to_count_is_asked_once() {
    forbids(
        Refusal::Permission,
        "NOPERM this user has no permissions to run the 'pubsub|numsub' command",
    );
    forbids(
        Refusal::Other,
        "ERR unknown command 'PUBSUB', with args beginning with: ",
    );
}

fn forbids(kind: Refusal, text: &str) {
    let world = classic(2);
    let _clients = clients(&world);
    world.pass(Duration::from_secs(2));
    assert_eq!(world.servers[0].nodes(), 2);
    let cluster = node(&world.servers[0]);
    let mut asked = Vec::new();
    let mut look = || {
        crate::tests::set_now(crate::tests::now() + 2_000_000);
        let _ = cluster.handle_timeout(std::task::Waker::noop());
        let commands = cluster.take_commands();
        for command in commands {
            let Command::Request { tag, .. } = command else {
                panic!("{command:?}")
            };
            let answer = Err(BrokerError::Refused {
                kind,
                text: text.into(),
            });
            cluster.handle_events(&mut vec![Event::Answer { tag, answer }]);
            asked.push(tag);
        }
        asked.len()
    };
    let counts: Vec<usize> = (0..5).map(|_| look()).collect();
    assert_eq!(counts, [1; 5]);
    assert_eq!(world.servers[0].nodes(), 1, "no other one was heard");
    cluster.handle_events(&mut vec![Event::Up]);
    let counts: Vec<usize> = (0..5).map(|_| look()).collect();
    assert_eq!(counts, [2; 5], "its rights may be others by now");
}
