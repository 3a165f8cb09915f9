//! Clients that are away, at servers whose cluster has no stream with one order.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::*;
use crate::adapter::Driver;
use crate::store::{Memory, Store};
use crate::tests::recovery::{Client, parts, sent};
use crate::tests::stored::{Faulty, kill};
use crate::{Comeback, NotRecovered, RecoveryConfig, StreamsConfig};

const WINDOW: Duration = Duration::from_secs(60);

fn recovery(options: Options) -> Options {
    options.recovery(RecoveryConfig::default().window(WINDOW))
}

/// Lets the server end records whose time is over, and then look at what it still hears.
fn expire(world: &World) {
    for step in [WINDOW, Duration::from_secs(2), Duration::from_secs(2)] {
        world.pass(step);
        world.servers.iter().for_each(|io| Driver::new(io).sweep());
    }
    world.pass(Duration::from_secs(2));
}

/// While a client is away, its server hears what others say to its rooms and to its id, also if
/// nobody else is there, and no longer than the client is waited for.
#[test]
fn a_client_that_is_away_is_sent_what_others_say_meanwhile() {
    let kinds = [
        ClusterKind::Classic,
        ClusterKind::Sharded {
            mode: ShardedMode::Dynamic,
        },
        ClusterKind::Sharded {
            mode: ShardedMode::DynamicPrivate,
        },
    ];
    for kind in kinds {
        let cluster = || Cluster::from_url("redis://127.0.0.1").unwrap().kind(kind.clone());
        let world = World::with_options(&Config::default(), vec![cluster(), cluster()], recovery);
        let mut client = Client::new(&world.servers[0]);
        socket(&world.servers[0]).join(["red", "blue"]).unwrap();
        world.settle();
        let say = |room: &str, number: u64| {
            world.servers[1].to(room.to_owned()).emit("n", number);
            world.settle();
        };
        say("red", 1);
        let heard = client.packets();
        let (id, offset) = (client.sid.clone(), parts(&heard[0]).1.to_owned());
        socket(&world.servers[0]).leave("blue");
        world.settle();
        let pid = client.cut();
        world.settle();
        say("red", 2);
        say(&id, 3);
        say("blue", 4);
        world.servers[1].emit("n", 5);
        world.settle();
        world.pass(Duration::from_secs(4));
        say("red", 6);
        let back = Client::back(&world.servers[0], &pid, Some(&offset));
        let numbers = [2, 3, 5, 6].map(|number| format!(r#"42["n",{number}"#));
        assert_eq!(
            (&back.sid, sent(&back.first)),
            (&id, numbers.iter().map(|n| &**n).collect()),
            "{kind:?}"
        );
        world.settle();
        world.pass(Duration::from_secs(4));
        let hears_room = || world.channels(0).iter().any(|channel| channel.contains("red"));
        assert!(hears_room());
        back.cut();
        world.settle();
        world.pass(Duration::from_secs(4));
        assert!(hears_room());
        expire(&world);
        let left = world.channels(0);
        assert!(
            !hears_room() && !left.iter().any(|channel| channel.contains(&id)),
            "{left:?}"
        );
    }
}

/// The same for a namespace of a rule, which ends with its last socket.
#[test]
fn a_namespace_is_heard_as_long_as_somebody_may_come_back_to_it() {
    let cluster = || Cluster::from_url("redis://127.0.0.1").unwrap();
    let world = World::with_options(&Config::default(), vec![cluster(), cluster()], recovery);
    world.servers.iter().for_each(|io| drop(io.of_pattern("/t*")));
    let hears = || world.channels(0).iter().any(|channel| channel.contains("/t1"));
    let client = Client::with(&world.servers[0], "40/t1,");
    world.settle();
    assert!(hears());
    let (id, pid) = (client.sid.clone(), client.cut());
    world.settle();
    world.pass(Duration::from_secs(4));
    world.servers[1].of("/t1").emit("n", 1);
    world.settle();
    let back = Client::with(&world.servers[0], &format!(r#"40/t1,{{"pid":"{pid}"}}"#));
    assert_eq!((back.sid, sent(&back.first)), (id, vec![r#"42/t1,["n",1"#]));
    drop(back.driven);
    world.settle();
    world.pass(Duration::from_secs(4));
    assert!(hears());
    expire(&world);
    assert!(!hears());
}

/// A server that hears a namespace of a rule only for clients that are away counts among those that
/// are asked there. So it answers, whatever the rule is: nobody waits for it in vain.
#[test]
fn a_server_answers_in_a_namespace_to_which_somebody_may_come_back() {
    for is_function in [false, true] {
        let cluster = || Cluster::from_url("redis://127.0.0.1").unwrap();
        let world = World::with_options(&Config::default(), vec![cluster(), cluster()], recovery);
        for io in &world.servers {
            let rule = match is_function {
                true => io.of_fn(|name, _| name.starts_with("/t")),
                false => io.of_pattern("/t*"),
            };
            rule.on_server_side("ask", |event: ServerSideEvent| event.answer(7).unwrap());
        }
        let ask = || {
            let mut asking = pin!(world.servers[1].of("/t1").server_side_emit_with_ack::<u8>("ask", ()));
            let _ = poll(asking.as_mut());
            world.settle();
            match poll(asking.as_mut()) {
                Poll::Ready(Ok(said)) => (said.answers, said.silent),
                _ => panic!("nobody answers"),
            }
        };
        let client = Client::with(&world.servers[0], "40/t1,");
        world.settle();
        assert_eq!(ask(), (vec![7], 0));
        client.cut();
        world.settle();
        world.pass(Duration::from_secs(4));
        assert_eq!(ask(), (vec![7], 0), "{is_function}");
        expire(&world);
        assert_eq!(ask(), (vec![], 0), "nobody is there any more");
    }
}

/// Recovery R7: without a stream, nobody can say what other servers have said while no process was
/// here. A client of the last process is told that it is not recovered.
#[test]
fn r7_without_a_stream_no_client_of_the_last_process_is_recovered() {
    let mut several = StreamsConfig::default();
    several.count = 2;
    let kinds = [
        ClusterKind::Classic,
        ClusterKind::Sharded {
            mode: ShardedMode::Dynamic,
        },
        ClusterKind::Streams(several),
    ];
    for kind in kinds {
        set_now(0);
        let disk = Arc::new(Memory::default());
        let expired = Arc::<AtomicUsize>::default();
        let process = || {
            let store = Faulty::of(&disk);
            let cluster = Cluster::from_url("redis://127.0.0.1").unwrap().kind(kind.clone());
            let options = recovery(Options::default().shards(2)).store(Arc::clone(&store) as Arc<dyn Store>);
            let runtime = crate::adapter::Runtime { fill, ..RUNTIME };
            let io = Io::new(Config::default(), options.cluster(cluster), runtime).unwrap();
            let expired = Arc::clone(&expired);
            io.on_expired(move |_| _ = expired.fetch_add(1, Ordering::Relaxed));
            (io, store)
        };
        let (io, store) = process();
        let (mut client, quiet) = (Client::new(&io), Client::new(&io));
        let socket = io.socket(&client.sid).unwrap();
        socket.local().emit("n", 1);
        socket.emit("n", 2).unwrap();
        let heard = client.packets();
        let offset = parts(heard.last().unwrap()).1.to_owned();
        kill(io, &store);
        let (io, _store) = process();
        for (client, offset) in [(&client, Some(&*offset)), (&quiet, None)] {
            let back = Client::back(&io, &client.pid, offset);
            assert!(
                back.sid != client.sid && back.first.is_empty(),
                "{kind:?}: {:?}",
                back.first
            );
            let why = io.socket(&back.sid).unwrap().recovery();
            assert!(
                matches!(why, Comeback::Lost(NotRecovered::Truncated(_))),
                "{kind:?}: {why:?}"
            );
        }
        assert_eq!(expired.load(Ordering::Relaxed), 2, "they are reported as any others");
    }
}
