//! Orders of each kind, for one socket, for an id, and for all sockets in a target, over several
//! shards.

use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use super::{Driven, server};
use crate::turn::order::{Audience, Order, To, carry_out};
use crate::turn::socket::SocketCell;
use crate::{AckError, EmitError, Io, Socket};
use sio_proto::server::Target;
use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

const SHARDS: usize = 4;

/// Makes a server with several shards. Each shard has two clients.
fn crowd() -> (Io, Vec<Driven>, Vec<Socket>) {
    let io = server(SHARDS);
    let mut clients: Vec<_> = (0..2 * SHARDS).map(|_| Driven::connected(&io)).collect();
    clients.iter_mut().for_each(|client| drop(client.written()));
    let sockets = io.sockets();
    (io, clients, sockets)
}

fn target(rooms: &[&str]) -> Target {
    Target {
        namespace: "/".into(),
        rooms: rooms.iter().map(|room| (*room).into()).collect(),
        ..Target::default()
    }
}

fn found(to: To<'_>) -> Vec<Arc<SocketCell>> {
    let mut found = Vec::new();
    let order = Order::Find {
        to,
        found: &mut |socket| found.push(socket),
    };
    carry_out(order).unwrap();
    found
}

#[test]
fn each_order_reaches_a_socket_an_id_and_all_of_a_target() {
    let (io, _clients, sockets) = crowd();
    let shards = &io.0.shards;
    let (first, id) = (&sockets[0].0, sockets[1].id());
    let everybody = target(&[]);
    let all = To::All(Audience {
        shards,
        target: &everybody,
        sender: None,
    });
    for (to, count) in [(To::Socket(first), 1), (To::Id(shards, &id), 1), (all, 2 * SHARDS)] {
        assert_eq!(found(to).len(), count);
        carry_out(Order::Join { to, rooms: &["room"] }).unwrap();
        assert_eq!(io.to("room").sockets().len(), count);
        carry_out(Order::Leave { to, rooms: &["room"] }).unwrap();
        assert_eq!(io.to("room").sockets(), []);
    }
    for (to, left) in [
        (To::Socket(first), 2 * SHARDS - 1),
        (To::Id(shards, &id), 2 * SHARDS - 2),
        (all, 0),
    ] {
        carry_out(Order::Disconnect { to, close: true }).unwrap();
        assert_eq!((io.sockets().len(), io.sessions()), (left, left));
    }
    // All sockets are gone. Only an order to one socket fails for this reason.
    assert!(found(To::Id(shards, &id)).is_empty());
    carry_out(Order::Join {
        to: To::Id(shards, &id),
        rooms: &["room"],
    })
    .unwrap();
    let gone = carry_out(Order::Join {
        to: To::Socket(first),
        rooms: &["room"],
    });
    assert!(matches!(gone, Err(EmitError::Disconnected)), "{gone:?}");
}

#[test]
fn the_sender_is_left_out_whatever_its_shard() {
    let (_io, mut clients, sockets) = crowd();
    for (emitter, everybody) in [(sockets[5].broadcast(), "broadcast"), (sockets[5].local(), "local")] {
        assert_eq!(emitter.clone().sockets().len(), 2 * SHARDS - 1, "{everybody}");
        assert!(!emitter.clone().sockets().contains(&sockets[5]), "{everybody}");
        emitter.clone().join(everybody);
        assert!(!sockets[5].rooms().iter().any(|room| **room == *everybody));
        emitter.emit("said", everybody);
        let heard = clients.iter_mut().filter_map(|client| {
            let written = client.written();
            written.contains(everybody).then_some(())
        });
        assert_eq!(heard.count(), 2 * SHARDS - 1, "{everybody}");
    }
}

#[test]
fn none_joins_a_room_that_is_named_as_a_socket() {
    let (io, _clients, sockets) = crowd();
    let shards = &io.0.shards;
    let id = sockets[3].id();
    let everybody = target(&[]);
    for to in [
        To::Socket(&sockets[0].0),
        To::All(Audience {
            shards,
            target: &everybody,
            sender: None,
        }),
    ] {
        let refused = carry_out(Order::Join { to, rooms: &[&id] });
        assert!(matches!(refused, Err(EmitError::ReservedRoom)), "{refused:?}");
        assert_eq!(io.to(&id).sockets(), [sockets[3].clone()]);
    }
}

/// The other shards are locked meanwhile, so a question to one of them would wait.
#[test]
#[expect(
    clippy::disallowed_methods,
    reason = "somebody has to ask while the shards are locked"
)]
fn an_id_asks_its_own_shard_and_no_other() {
    let (io, _clients, sockets) = crowd();
    for socket in &sockets {
        let own = &socket.0.cell;
        let others: Vec<_> =
            io.0.shards
                .cells
                .iter()
                .filter(|cell| !Arc::ptr_eq(cell, own))
                .collect();
        for other in others {
            let (tell, told) = mpsc::channel();
            let (io, id) = (io.clone(), socket.id());
            let (found, asking) = other.ask("hold", |_| {
                let asking = thread::spawn(move || {
                    let _ = tell.send(io.socket(&id).is_some());
                });
                (told.recv_timeout(Duration::from_secs(10)), asking)
            });
            asking.join().unwrap();
            assert_eq!(found, Ok(true));
        }
    }
}

/// A volatile question that is not sent fails, and is not lost without an error.
#[test]
fn a_volatile_question_is_sent_or_fails() {
    let (_io, mut clients, sockets) = crowd();
    let ask = |socket: &Socket| {
        let mut asked = pin!(socket.volatile().emit_with_ack::<u8>("q", ()));
        asked.as_mut().poll(&mut Context::from_waker(Waker::noop()))
    };
    assert!(ask(&sockets[0]).is_pending());
    // Only the first of two questions in one moment is sent.
    let second = ask(&sockets[0]);
    assert!(
        matches!(second, Poll::Ready(Err(AckError::Emit(EmitError::Dropped)))),
        "{second:?}"
    );
    let asked: usize = clients
        .iter_mut()
        .map(|client| client.written().matches(r#"["q"]"#).count())
        .sum();
    assert_eq!(asked, 1);
}
