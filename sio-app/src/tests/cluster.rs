//! Several servers in one process, joined by a broker in memory.

mod away;
mod observed;
mod relays;
mod stream;

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use sio_proto::broker::{Answer, BrokerError, Command, Event, Request};

use super::{Driven, RUNTIME, now, run_tasks, set_now, text};
use crate::{Cluster, ClusterKind, Config, Io, Options, RawArgs, RequestError, ServerSideEvent, ShardedMode, Socket};

/// A model of Redis: who has subscribed to what. Messages reach their subscribers when the test
/// says so.
#[derive(Default)]
struct Redis {
    subscriptions: Vec<BTreeSet<Bytes>>,
    published: Vec<Bytes>,
    is_away: bool,
}

/// Fills with bytes that never come again, so that nodes and requests have different names.
fn fill(out: &mut [u8]) {
    thread_local!(static NEXT: Cell<u64> = const { Cell::new(0) });
    for byte in out {
        let next = NEXT.get().wrapping_add(0x9e37_79b9_7f4a_7c15);
        NEXT.set(next);
        *byte = (next.wrapping_mul(0xbf58_476d_1ce4_e5b9) >> 32) as u8;
    }
}

/// Servers and their broker.
struct World {
    redis: Rc<RefCell<Redis>>,
    servers: Vec<Io>,
}

impl World {
    fn new(servers: usize, kind: &ClusterKind) -> Self {
        Self::of(servers, |cluster| cluster.kind(kind.clone()))
    }

    fn of(servers: usize, settings: impl Fn(Cluster) -> Cluster) -> Self {
        let cluster = |_| settings(Cluster::from_url("redis://127.0.0.1").unwrap());
        Self::each((0..servers).map(cluster).collect())
    }

    /// One server for each of these settings.
    fn each(clusters: Vec<Cluster>) -> Self {
        Self::with(&Config::default(), clusters)
    }

    fn with(config: &Config, clusters: Vec<Cluster>) -> Self {
        Self::with_options(config, clusters, |options| options)
    }

    fn with_options(config: &Config, clusters: Vec<Cluster>, more: impl Fn(Options) -> Options) -> Self {
        set_now(0);
        let server = |cluster: Cluster| {
            let runtime = crate::adapter::Runtime { fill, ..RUNTIME };
            let options = Options::default().shards(2).cluster(cluster);
            Io::new(config.clone(), more(options), runtime).unwrap()
        };
        let servers: Vec<Io> = clusters.into_iter().map(server).collect();
        let redis = Redis {
            subscriptions: vec![BTreeSet::new(); servers.len()],
            ..Redis::default()
        };
        let world = Self {
            redis: Rc::new(RefCell::new(redis)),
            servers,
        };
        world.settle();
        for io in &world.servers {
            node(io).handle_events(&mut vec![Event::Up]);
        }
        world
    }

    /// Carries commands and events until nothing happens any more.
    fn settle(&self) {
        self.settle_with(|| {
            run_tasks();
        });
    }

    /// Does what [`World::settle`] does, with tasks that are run by this function.
    fn settle_with(&self, mut run: impl FnMut()) {
        loop {
            let mut is_quiet = true;
            run();
            for (number, io) in self.servers.iter().enumerate() {
                let commands = node(io).take_commands();
                for command in commands {
                    is_quiet = false;
                    self.handle(number, command);
                }
            }
            if is_quiet {
                return;
            }
        }
    }

    fn handle(&self, from: usize, command: Command) {
        let mut redis = self.redis.borrow_mut();
        let (to, event) = match command {
            Command::Subscribe { channel, sharded } => {
                redis.subscriptions[from].insert(channel.clone());
                (vec![from], Event::Subscribed { channel, sharded })
            }
            Command::Unsubscribe { channel, .. } => {
                redis.subscriptions[from].remove(&channel);
                return;
            }
            Command::Publish { .. } if redis.is_away => return,
            Command::Publish {
                channel,
                payload,
                sharded,
            } => {
                redis.published.push(channel.clone());
                let hear = |number: &usize| redis.subscriptions[*number].contains(&channel);
                let to = (0..self.servers.len()).filter(hear).collect();
                let event = Event::Message {
                    channel,
                    payload,
                    sharded,
                };
                (to, event)
            }
            Command::Request {
                tag,
                request: Request::Subscribers { channel, .. },
            } => {
                let count = redis
                    .subscriptions
                    .iter()
                    .filter(|known| known.contains(&channel))
                    .count();
                let answer = match redis.is_away {
                    true => Err(BrokerError::Closed),
                    false => Ok(Answer::Count(count as u64)),
                };
                (vec![from], Event::Answer { tag, answer })
            }
            other => panic!("{other:?}"),
        };
        drop(redis);
        for number in to {
            node(&self.servers[number]).handle_events(&mut vec![event.clone()]);
        }
    }

    /// Lets time pass, for the nodes and for the sockets.
    fn pass(&self, duration: Duration) {
        set_now(now() + duration.as_micros() as u64);
        for io in &self.servers {
            let _ = node(io).handle_timeout(Waker::noop());
            let driver = crate::adapter::Driver::new(io);
            for shard in 0..driver.shards() {
                let _ = driver.handle_timeout(shard, Waker::noop());
            }
        }
        self.settle();
    }

    fn channels(&self, server: usize) -> Vec<String> {
        let redis = self.redis.borrow();
        let channels = redis.subscriptions[server].iter();
        channels
            .map(|channel| String::from_utf8_lossy(channel).into_owned())
            .collect()
    }
}

fn node(io: &Io) -> &std::sync::Arc<crate::user::cluster::ClusterNode> {
    io.0.cluster.as_ref().unwrap()
}

fn classic(servers: usize) -> World {
    World::new(servers, &ClusterKind::Classic)
}

fn both_kinds() -> [World; 2] {
    let mode = ShardedMode::Dynamic;
    [classic(3), World::new(3, &ClusterKind::Sharded { mode })]
}

/// One client on each server.
fn clients(world: &World) -> Vec<Driven> {
    let clients = world.servers.iter().map(|io| {
        let mut client = Driven::connected(io);
        let _ = client.written();
        client
    });
    let clients = clients.collect();
    world.settle();
    clients
}

fn socket(io: &Io) -> Socket {
    io.sockets().remove(0)
}

fn heard(clients: &mut [Driven]) -> Vec<bool> {
    clients
        .iter_mut()
        .map(|client| client.written().contains(r#"["news","#))
        .collect()
}

fn poll<T>(future: Pin<&mut impl Future<Output = T>>) -> Poll<T> {
    future.poll(&mut Context::from_waker(Waker::noop()))
}

#[test]
fn a_broadcast_reaches_the_sockets_of_all_servers() {
    for world in both_kinds() {
        let mut clients = clients(&world);
        for io in &world.servers {
            io.emit("news", ("text", crate::Binary(Bytes::from_static(b"\x00\xff"))));
            world.settle();
            assert_eq!(heard(&mut clients), [true; 3]);
        }
        // The sender is left out everywhere.
        socket(&world.servers[1]).broadcast().emit("news", 1);
        world.settle();
        assert_eq!(heard(&mut clients), [true, false, true]);
        socket(&world.servers[1]).local().emit("news", 1);
        world.servers[0].local().emit("news", 1);
        world.settle();
        assert_eq!(heard(&mut clients), [true, false, false]);
    }
}

#[test]
fn rooms_and_exceptions_count_on_all_servers() {
    for world in both_kinds() {
        let mut clients = clients(&world);
        for io in &world.servers[..2] {
            socket(io).join("room").unwrap();
        }
        socket(&world.servers[1]).join("away").unwrap();
        world.settle();
        world.servers[2].to("room").emit("news", 1);
        world.settle();
        assert_eq!(heard(&mut clients), [true, true, false]);
        world.servers[2].to("room").except("away").emit("news", 1);
        world.settle();
        assert_eq!(heard(&mut clients), [true, false, false]);
        world.servers[2].volatile().emit("news", 1);
        world.settle();
        assert_eq!(heard(&mut clients), [true, true, true]);
        // A message to one socket goes to the server that has it, and to no other if that is here.
        let id = socket(&world.servers[0]).id();
        world.servers[1].to(&id).emit("news", 1);
        world.settle();
        assert_eq!(heard(&mut clients), [true, false, false]);
        world.redis.borrow_mut().published.clear();
        world.servers[0].to(&id).emit("news", 1);
        world.settle();
        assert_eq!(heard(&mut clients), [true, false, false]);
        assert!(world.redis.borrow().published.is_empty());
    }
}

#[test]
fn only_the_channels_of_own_rooms_are_heard() {
    let world = classic(2);
    let at_first = world.channels(0);
    assert!(at_first.contains(&"socket.io#/#".to_owned()), "{at_first:?}");
    let client = Driven::connected(&world.servers[0]);
    world.settle();
    let socket = socket(&world.servers[0]);
    let own = format!("socket.io#/#{}#", socket.id());
    assert!(world.channels(0).contains(&own));
    // A room is heard from its first member to its last, and joins that change nothing cost
    // nothing.
    socket.join("a#b").unwrap();
    socket.join("a#b").unwrap();
    world.settle();
    assert!(world.channels(0).contains(&"socket.io#/#a#b#".to_owned()));
    let other = Driven::connected(&world.servers[0]);
    world.servers[0].sockets()[1].join("a#b").unwrap();
    socket.leave("a#b");
    world.settle();
    assert!(world.channels(0).contains(&"socket.io#/#a#b#".to_owned()));
    drop(other);
    run_tasks();
    world.settle();
    assert!(!world.channels(0).contains(&"socket.io#/#a#b#".to_owned()));
    drop(client);
    run_tasks();
    world.settle();
    assert_eq!(world.channels(0), at_first);
}

#[test]
fn a_namespace_of_a_rule_is_heard_as_long_as_it_has_members() {
    let world = classic(2);
    for io in &world.servers {
        io.of_pattern("/tenant-*").with(|socket: Socket| socket.join("early"));
    }
    let has = |channel: &str| world.channels(0).contains(&channel.to_owned());
    let mut client = Driven::connected(&world.servers[0]);
    let _ = client.says("40/tenant-1,");
    world.settle();
    // Also the rooms that a socket has joined before it was let in.
    assert!(has("socket.io#/tenant-1#") && has("socket.io#/tenant-1#early#"));
    // A server where nobody is in the namespace can send to it.
    world.servers[1].of("/tenant-1").emit("news", 1);
    world.settle();
    assert!(client.written().contains(r#"42/tenant-1,["news",1]"#));
    let _ = client.read(&text("41/tenant-1,"));
    run_tasks();
    world.settle();
    assert!(!has("socket.io#/tenant-1#") && !has("socket.io#/tenant-1#early#"));
}

#[test]
fn sockets_join_leave_and_end_from_outside() {
    for world in both_kinds() {
        let _clients = clients(&world);
        let everybody: Vec<Socket> = world.servers.iter().map(socket).collect();
        world.servers[0].of("/").all().join("room");
        world.settle();
        assert!(everybody.iter().all(|socket| socket.rooms().len() == 2));
        world.servers[1].to("room").leave("room");
        world.settle();
        assert!(everybody.iter().all(|socket| socket.rooms().len() == 1));
        world.servers[2].of("/").all().except(everybody[0].id()).disconnect();
        world.settle();
        run_tasks();
        let connected: Vec<bool> = everybody.iter().map(Socket::is_connected).collect();
        assert_eq!(connected, [true, false, false]);
    }
}

#[test]
fn all_servers_say_which_sockets_they_have() {
    for world in both_kinds() {
        let mut clients = clients(&world);
        let everybody: Vec<Socket> = world.servers.iter().map(socket).collect();
        everybody[2].set_shared_data(("a", 1)).unwrap();
        everybody[2].join("room").unwrap();
        world.settle();
        let mut fetching = pin!(world.servers[0].fetch_sockets());
        assert!(poll(fetching.as_mut()).is_pending());
        world.settle();
        let Poll::Ready(found) = poll(fetching.as_mut()) else {
            panic!("no answer")
        };
        assert!(found.is_complete());
        assert_eq!(found.sockets.len(), 3);
        let remote = found
            .sockets
            .iter()
            .find(|socket| *socket.id() == *everybody[2].id())
            .unwrap();
        assert_eq!(remote.data::<(String, u8)>().unwrap(), ("a".to_owned(), 1));
        assert!(remote.rooms().iter().any(|room| **room == *"room"));
        assert!(remote.handshake_json().contains(r#""url":"/socket.io/?EIO=4"#));
        assert_eq!(remote.local(), None);
        // What is said of it goes to its server.
        remote.emit("news", 1);
        world.settle();
        assert_eq!(heard(&mut clients), [false, false, true]);
        remote.join("other");
        world.settle();
        assert_eq!(everybody[2].rooms().len(), 3);
        remote.leave(["other", "never joined"]);
        world.settle();
        assert_eq!(everybody[2].rooms().len(), 2);
        let rooms: Vec<usize> = everybody[..2].iter().map(|socket| socket.rooms().len()).collect();
        assert_eq!(rooms, [1, 1], "nobody else is moved");
        // Its session stays, for its other namespaces.
        remote.disconnect();
        world.settle();
        run_tasks();
        assert!(!everybody[2].is_connected());
        assert_eq!(world.servers[2].sessions(), 1);
        let mut fetching = pin!(world.servers[0].to("room").fetch_sockets());
        let _ = poll(fetching.as_mut());
        world.settle();
        assert!(matches!(poll(fetching.as_mut()), Poll::Ready(found) if found.sockets.is_empty()));
        // The whole connection of another one is closed.
        let mut fetching = pin!(world.servers[0].to(everybody[1].id()).fetch_sockets());
        let _ = poll(fetching.as_mut());
        world.settle();
        let Poll::Ready(found) = poll(fetching.as_mut()) else {
            panic!("no answer")
        };
        assert_eq!(found.sockets.len(), 1);
        found.sockets[0].close();
        world.settle();
        run_tasks();
        assert_eq!(world.servers[1].sessions(), 0);
        assert!(everybody[0].is_connected() && !everybody[1].is_connected());
    }
}

/// Servers with a secret believe each other, and nobody else. What they did not believe is in the
/// metrics.
#[test]
fn servers_with_a_secret_believe_nobody_else() {
    let cluster = || Cluster::from_url("redis://127.0.0.1").unwrap();
    let secret = [9; 32];
    let world = World::each(vec![cluster().secret(secret), cluster().secret(secret), cluster()]);
    let mut clients = clients(&world);
    world.servers[0].emit("news", 1);
    world.settle();
    assert_eq!(
        heard(&mut clients),
        [true; 3],
        "a server without a secret believes everybody"
    );
    world.servers[2].emit("news", 1);
    world.settle();
    assert_eq!(heard(&mut clients), [false, false, true]);
    let text = world.servers[0].metrics().to_prometheus();
    assert!(text.contains("sio_cluster_lost_total{why=\"unsigned\"} 1"), "{text}");
    assert!(text.contains("sio_cluster_lost_total{why=\"forged\"} 0"), "{text}");
    assert!(text.contains("sio_cluster_waiting_bytes 0"), "{text}");
    let short = Cluster::from_url("redis://127.0.0.1").unwrap().secret("short");
    let refused = Io::new(Config::default(), Options::default().cluster(short), RUNTIME);
    assert!(matches!(refused, Err(crate::ConfigError::Secret(_))));
}

/// A server that does not answer is counted at the deadline, and nothing waits any longer.
#[test]
fn silent_servers_are_counted() {
    let world = classic(3);
    let _clients = clients(&world);
    // One more node has subscribed and says nothing.
    let channels = world.redis.borrow().subscriptions[2].clone();
    world.redis.borrow_mut().subscriptions.push(channels);
    let mut fetching = pin!(world.servers[0].fetch_sockets());
    let mut asking = pin!(world.servers[0].server_side_emit_with_ack::<u8>("nobody handles this", ()));
    let _ = (poll(fetching.as_mut()), poll(asking.as_mut()));
    // The model publishes to real servers only.
    world.settle();
    assert!(poll(fetching.as_mut()).is_pending());
    world.pass(Duration::from_secs(6));
    let Poll::Ready(found) = poll(fetching.as_mut()) else {
        panic!("no end")
    };
    assert_eq!((found.sockets.len(), found.silent), (3, 1));
    let Poll::Ready(Ok(said)) = poll(asking.as_mut()) else {
        panic!("no end")
    };
    assert_eq!((said.answers.len(), said.silent), (0, 3));
    let counts = world.servers[0].metrics().cluster.unwrap();
    assert_eq!((counts.requests, counts.messages.incomplete), (0, 2));
}

#[test]
fn servers_tell_and_answer_servers() {
    for world in both_kinds() {
        for (number, io) in world.servers.iter().enumerate() {
            io.of("/").on_server_side("tell", {
                let io = io.clone();
                move |event: ServerSideEvent| _ = io.local().emit("news", event.args().clone())
            });
            io.of("/").on_server_side("ask", move |event: ServerSideEvent| {
                let (text,) = event.parse::<(String,)>().unwrap();
                event.answer((number, text)).unwrap();
            });
            // The first answer counts.
            io.of("/")
                .on_server_side("ask", |event: ServerSideEvent| event.answer("late").unwrap());
        }
        let mut clients = clients(&world);
        world.servers[1].server_side_emit("tell", ("x", 1));
        world.settle();
        assert_eq!(heard(&mut clients), [true, false, true]);
        let mut asking = pin!(world.servers[0].server_side_emit_with_ack::<(usize, String)>("ask", "x"));
        assert!(poll(asking.as_mut()).is_pending());
        world.settle();
        let Poll::Ready(Ok(mut said)) = poll(asking.as_mut()) else {
            panic!("no answer")
        };
        said.answers.sort();
        assert_eq!(said.answers, [(1, "x".to_owned()), (2, "x".to_owned())]);
        assert!(said.unreadable.is_empty() && said.silent == 0);
    }
}

#[test]
fn acknowledgements_come_from_all_servers() {
    for world in both_kinds() {
        let mut clients = clients(&world);
        let asks = world.servers[0].timeout(Duration::from_secs(2));
        let mut asking = pin!(asks.emit_with_ack::<RawArgs>("question", 7));
        assert!(poll(asking.as_mut()).is_pending());
        world.settle();
        for (number, client) in clients.iter_mut().enumerate().take(2) {
            let asked = client.written();
            let id: String = asked
                .split("42")
                .last()
                .unwrap()
                .chars()
                .take_while(char::is_ascii_digit)
                .collect();
            let _ = client.read(&text(&format!("43{id}[{number}]")));
        }
        world.settle();
        assert!(poll(asking.as_mut()).is_pending());
        // The third says nothing.
        world.pass(Duration::from_secs(3));
        world.pass(Duration::from_secs(3));
        let Poll::Ready(Ok(answers)) = poll(asking.as_mut()) else {
            panic!("no end")
        };
        assert_eq!((answers.answers.len(), answers.missing.len()), (2, 1));
        let values: Vec<_> = answers
            .into_values()
            .iter()
            .map(|args| args.json().to_owned())
            .collect();
        assert_eq!(values, ["0", "1"]);
        // The survey itself lives as long as the future.
        assert_eq!(world.servers[0].0.shards.surveys.counts(), (1, 0, 0));
    }
}

/// Without a broker everything local goes on, and a request says that nobody was asked.
#[test]
fn without_the_broker_the_server_goes_on_alone() {
    let world = classic(2);
    let mut clients = clients(&world);
    let why = BrokerError::Closed;
    node(&world.servers[0]).handle_events(&mut vec![Event::Down { why }]);
    world.redis.borrow_mut().is_away = true;
    world.servers[0].emit("news", 1);
    assert_eq!(heard(&mut clients), [true, false]);
    let mut fetching = pin!(world.servers[0].fetch_sockets());
    let _ = poll(fetching.as_mut());
    world.settle();
    let Poll::Ready(found) = poll(fetching.as_mut()) else {
        panic!("no end")
    };
    assert_eq!(
        (found.sockets.len(), found.error),
        (1, Some(RequestError::Broker(BrokerError::Closed)))
    );
    // A socket that joins does not wait for a broker that is away.
    let socket = socket(&world.servers[0]);
    let mut joining = pin!(socket.join_everywhere("room"));
    assert!(matches!(poll(joining.as_mut()), Poll::Ready(Ok(()))));
    assert!(!world.servers[0].metrics().cluster.unwrap().is_up);
}

/// A socket that joins everywhere waits for the broker, and for a short time only.
#[test]
fn a_room_is_heard_before_its_member_is_told() {
    let world = classic(2);
    let _clients = clients(&world);
    let socket = socket(&world.servers[0]);
    let mut joining = pin!(socket.join_everywhere("room"));
    assert!(poll(joining.as_mut()).is_pending());
    world.settle();
    assert!(matches!(poll(joining.as_mut()), Poll::Ready(Ok(()))));
    let mut again = pin!(socket.join_everywhere("room"));
    assert!(matches!(poll(again.as_mut()), Poll::Ready(Ok(()))));
    let mut slow = pin!(socket.join_everywhere("slow"));
    assert!(poll(slow.as_mut()).is_pending());
    set_now(now() + 300_000);
    for shard in 0..2 {
        let _ = crate::adapter::Driver::new(&world.servers[0]).handle_timeout(shard, Waker::noop());
    }
    assert!(matches!(poll(slow.as_mut()), Poll::Ready(Ok(()))));
}

/// At its end a server unsubscribes, and whoever waits for other servers waits no longer.
#[test]
fn a_server_that_ends_leaves_the_cluster() {
    let world = classic(2);
    let mut fetching = pin!(world.servers[0].fetch_sockets());
    let _ = poll(fetching.as_mut());
    crate::adapter::Driver::new(&world.servers[0]).clear();
    let Poll::Ready(found) = poll(fetching.as_mut()) else {
        panic!("no end")
    };
    assert_eq!(found.error, Some(RequestError::Closed));
    world.settle();
    assert!(world.channels(0).is_empty());
    world.servers[0].emit("news", 1);
    assert!(node(&world.servers[0]).take_commands().is_empty());
}

/// Settings of the broker that are wrong are a mistake of the server, and not of a task later.
#[test]
fn wrong_settings_of_the_broker_are_refused() {
    let mut cluster = Cluster::from_url("redis://127.0.0.1").unwrap();
    cluster.broker.ping_interval = Duration::ZERO;
    let server = Io::new(Config::default(), Options::default().cluster(cluster), RUNTIME);
    let error = server.err().map(|error| error.to_string()).unwrap();
    assert!(error.starts_with("the broker of the cluster: "), "{error}");
}

/// A server that is dropped without a shutdown leaves no task behind.
#[test]
fn the_tasks_of_a_server_that_is_dropped_end() {
    let World { servers, .. } = classic(1);
    let node = std::sync::Arc::clone(node(&servers[0]));
    assert!(node.handle_timeout(Waker::noop()).is_some());
    drop(servers);
    assert!(node.handle_timeout(Waker::noop()).is_none());
}
