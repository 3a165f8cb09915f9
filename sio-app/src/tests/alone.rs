//! What asks all nodes of a cluster, on a server without a cluster: this node alone answers.

use std::future::Future;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use super::{Driven, server};
use crate::ServerSideEvent;

/// Returns the result of a future that does not have to wait.
pub(super) fn now_or_never<F: Future>(future: F) -> F::Output {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(output) => output,
        Poll::Pending => panic!("has to wait"),
    }
}

#[test]
fn the_sockets_of_all_nodes_are_those_of_this_node() {
    let io = server(2);
    let (_one, mut other) = (Driven::connected(&io), Driven::connected(&io));
    let socket = io.sockets().remove(0);
    socket.join("room").unwrap();
    socket.set_shared_data(serde_json::json!({ "name": "one" })).unwrap();
    assert_eq!(now_or_never(io.fetch_sockets()).sockets.len(), 2);
    assert!(now_or_never(io.of("/nowhere").fetch_sockets()).sockets.is_empty());

    let found = now_or_never(io.to("room").fetch_sockets());
    assert!(found.is_complete());
    let [remote] = &found.sockets[..] else {
        panic!("{found:?}")
    };
    assert_eq!((remote.id(), remote.namespace()), (socket.id().as_str(), "/"));
    assert_eq!(remote.rooms(), ["room", &*socket.id()]);
    assert_eq!(remote.data_json(), r#"{"name":"one"}"#);
    assert_eq!(remote.local(), Some(socket.clone()));

    // What is said of it goes to the socket.
    let _ = other.written();
    remote.emit("for", "one");
    assert_eq!(other.written(), "");
    remote.leave("room");
    assert_eq!(socket.rooms().len(), 1);
    remote.join(["a", "b"]);
    assert_eq!(socket.rooms().len(), 3);
    remote.disconnect();
    assert!(!socket.is_connected());
    assert_eq!((remote.local(), io.nodes()), (None, 1));
}

#[test]
fn no_other_servers_hear_and_answer() {
    let io = server(1);
    io.of("/")
        .on_server_side("ask", |_: ServerSideEvent| panic!("not for its sender"));
    io.server_side_emit("ask", 1);
    let answers = now_or_never(io.server_side_emit_with_ack::<u8>("ask", 1)).unwrap();
    assert_eq!((answers.answers.len(), answers.silent), (0, 0));
    // The names of the protocol are refused, as for clients.
    assert!(now_or_never(io.server_side_emit_with_ack::<u8>("disconnect", ())).is_err());
    io.of("/").on_server_side("connect", |_: ServerSideEvent| ());
    assert!(io.check().is_err());
}
