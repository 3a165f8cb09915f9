//! Rooms: several rooms in one call, the sizes of rooms, and events about rooms.

use std::sync::mpsc::{Receiver, channel};

use super::{Driven, RUNTIME, run_tasks, server};
use crate::{Config, EmitError, Io, Options, RoomEvent, Socket};

/// API: several rooms in one join and leave.
#[test]
fn several_rooms_in_one_call() {
    let io = server(2);
    let mut clients = [Driven::connected(&io), Driven::connected(&io), Driven::connected(&io)];
    let sockets = io.sockets();
    sockets[0].join(["a", "b"]).unwrap();
    sockets[1].join(vec![String::from("b"), String::from("c")]).unwrap();
    sockets[2].join("a").unwrap();
    assert_eq!(sockets[0].rooms().len(), 3);
    io.to(["a", "b"]).except(["c"]).emit("n", 1);
    let heard = clients
        .iter_mut()
        .map(|client| client.written().matches("42[\"n\",1]").count());
    assert_eq!(heard.sum::<usize>(), 2, "each once, and not who is in c");
    io.to("a").leave(["a", "b"]);
    assert_eq!(sockets[0].rooms().len(), 1);
    io.of("/").all().join(["x", "y"]);
    sockets[0].leave(["x", "nowhere"]);
    assert_eq!((io.of("/").room_len("x"), io.of("/").room_len("y")), (2, 3));
    // An empty list means nobody, because the list may come from a client.
    let none: [&str; 0] = [];
    io.to(none).emit("n", 2);
    io.to(none).disconnect();
    assert!(clients.iter_mut().all(|client| client.written().is_empty()));
    io.to(none).to("x").emit("n", 3);
    assert_eq!(
        clients
            .iter_mut()
            .map(|client| usize::from(!client.written().is_empty()))
            .sum::<usize>(),
        2
    );
}

/// API: if one of several rooms cannot be joined, none of them is joined.
#[test]
fn several_rooms_are_joined_together_or_not_at_all() {
    let mut config = Config::default();
    config.max_rooms_per_socket = 3;
    let io = Io::new(config, Options::default().shards(1), RUNTIME).unwrap();
    let _client = Driven::connected(&io);
    let socket = io.sockets().remove(0);
    socket.join("a").unwrap();
    assert!(matches!(socket.join(["a", "b", "c", "d"]), Err(EmitError::Full)));
    assert_eq!(socket.rooms().len(), 2, "what it had joined before it is still in");
    let id = format!("{}", socket.id());
    socket.join(["a", "b", &*id]).unwrap();
    assert_eq!(io.of("/").room_len("b"), 1);
}

/// API: a middleware may join several rooms. If the socket is refused, it is in none of them.
#[test]
fn a_middleware_joins_several_rooms() {
    let io = server(1);
    io.of("/x").with(|socket: Socket| {
        socket.join(["a", "b"]).map_err(|_| "full")?;
        socket.set_data(5_u32);
        socket.emit("early", ()).map_err(|_| "full")?;
        if socket.auth_json().is_none() {
            Err("no")
        } else {
            Ok(())
        }
    });
    let mut client = Driven::connected(&io);
    assert!(client.says("40/x,").ends_with(r#"44/x,{"message":"no"}"#));
    assert!(io.of("/x").rooms().is_empty());
    let heard = client.says("40/x,{}");
    assert!(
        heard.contains("40/x,{\"sid\":") && heard.ends_with(r#"42/x,["early"]"#),
        "{heard}"
    );
    assert_eq!(io.of("/x").rooms().len(), 2);
    assert_eq!(io.of("/x").sockets()[0].data::<u32>().as_deref(), Some(&5));
}

/// API: `adapter.rooms`: all rooms with their sizes.
#[test]
fn rooms_have_sizes() {
    let io = server(4);
    io.of_pattern("/p-*");
    let mut clients: Vec<_> = (0..8).map(|_| Driven::connected(&io)).collect();
    for (n, socket) in io.sockets().into_iter().enumerate() {
        socket.join("all").unwrap();
        socket.join(if n % 2 == 0 { "even" } else { "odd" }).unwrap();
    }
    let rooms = io.of("/").rooms();
    let rooms: Vec<(&str, usize)> = rooms.iter().map(|(room, len)| (&**room, *len)).collect();
    assert_eq!(rooms, [("all", 8), ("even", 4), ("odd", 4)]);
    assert_eq!((io.of("/").room_len("all"), io.of("/").room_len("none")), (8, 0));
    let id = io.sockets().remove(0).id();
    assert_eq!((io.of("/").room_len(&id), io.of("/p-1").room_len(&id)), (1, 0));
    for (n, client) in clients.iter_mut().take(3).enumerate() {
        let _ = client.says(&format!("40/p-{n},"));
    }
    io.of_pattern("/other-*").all().join("all");
    io.of("/p-0").all().join("r");
    io.of("/p-1").all().join("r");
    assert_eq!((io.of("/p-0").room_len("r"), io.of("/p-2").rooms().len()), (1, 0));
    drop(clients);
    run_tasks();
    assert!(io.of("/").rooms().is_empty());
}

fn heard(events: &Receiver<RoomEvent>) -> Vec<String> {
    let text = |event| match event {
        RoomEvent::Created { room, namespace } => format!("+{namespace}{room}"),
        RoomEvent::Joined { room, namespace, .. } => format!(">{namespace}{room}"),
        RoomEvent::Left { room, namespace, .. } => format!("<{namespace}{room}"),
        RoomEvent::Deleted { room, namespace } => format!("-{namespace}{room}"),
    };
    run_tasks();
    events.try_iter().map(text).collect()
}

/// API: adapter events `create-room`, `join-room`, `leave-room`, `delete-room`.
#[test]
fn rooms_are_told_under_no_lock() {
    let io = server(2);
    let (tell, events) = channel();
    let back = io.clone();
    io.on_room(move |event| {
        // The function may call back into the server.
        let _ = (back.of("/").rooms(), back.sockets().len());
        back.emit("room", ());
        tell.send(event.clone()).unwrap();
    });
    io.of("/")
        .on("join", |socket: Socket, room: String| socket.join(room))
        .on("leave", |socket: Socket, room: String| socket.leave(room));
    let mut one = Driven::connected(&io);
    let two = Driven::connected(&io);
    let _ = one.says(r#"42["join","a"]"#);
    assert_eq!(heard(&events), ["+/a", ">/a"]);
    let _ = one.says(r#"42["join","a"]"#);
    assert_eq!(heard(&events), [""; 0], "it is in already");
    // The other socket is in another shard.
    io.of("/").all().join(["a", "b"]);
    assert_eq!(heard(&events), ["+/b", ">/b", ">/a", ">/b"], "shard by shard");
    io.sockets().iter().for_each(|socket| socket.leave("a"));
    assert_eq!(heard(&events), ["</a", "</a", "-/a"]);
    drop(two);
    assert_eq!(heard(&events), ["</b"]);
    drop(one);
    assert_eq!(heard(&events), ["</b", "-/b"]);
}

/// API: `on("new_namespace")`.
#[test]
fn namespaces_of_a_pattern_are_told() {
    let io = server(1);
    let (tell, told) = channel();
    io.of_pattern("/p-*");
    io.of("/named").create();
    io.on_namespace(move |namespace| tell.send(namespace.name().unwrap().to_owned()).unwrap());
    let mut one = Driven::connected(&io);
    let mut two = Driven::connected(&io);
    for name in ["/p-1", "/named", "/p-2", "/nowhere"] {
        let _ = one.says(&format!("40{name},"));
    }
    let _ = two.says("40/p-1,");
    assert_eq!(told.try_iter().collect::<Vec<_>>(), ["/p-1", "/p-2"]);
    drop((one, two));
    run_tasks();
    let mut three = Driven::connected(&io);
    let _ = three.says("40/p-1,");
    assert_eq!(told.try_iter().collect::<Vec<_>>(), ["/p-1"]);
}

/// API: `parentNamespace.emit`. Newcomers D9: everybody here, from a socket. API: leaving out the
/// client's own answer.
#[test]
fn everybody_here_and_everybody_else() {
    let io = server(2);
    io.of_pattern("/p-*")
        .on("all", |socket: Socket| socket.all().emit("all", socket.rooms()))
        .on("others", |socket: Socket| {
            // A message from the server to all except the socket that has caused it.
            let io = socket.io().ok_or("over")?;
            io.of(socket.namespace()).except(socket.id()).emit("others", ());
            Ok::<_, &str>(())
        });
    let mut clients = [Driven::connected(&io), Driven::connected(&io), Driven::connected(&io)];
    for (client, name) in clients.iter_mut().zip(["/p-1", "/p-1", "/p-2"]) {
        let _ = client.says(&format!("40{name},"));
    }
    let _ = clients[0].read(&super::text(r#"42/p-1,["all"]"#));
    let mut heard = || {
        clients
            .iter_mut()
            .map(|client| !client.written().is_empty())
            .collect::<Vec<_>>()
    };
    assert_eq!(heard(), [true, true, false]);
    // Another call with the same pattern returns a handle of the same namespaces.
    io.of_pattern("/p-*").emit("children", 1);
    let mut heard = || {
        clients
            .iter_mut()
            .map(|client| !client.written().is_empty())
            .collect::<Vec<_>>()
    };
    assert_eq!(heard(), [true, true, true]);
    let _ = clients[0].read(&super::text(r#"42/p-1,["others"]"#));
    let mut heard = || {
        clients
            .iter_mut()
            .map(|client| !client.written().is_empty())
            .collect::<Vec<_>>()
    };
    assert_eq!(heard(), [false, true, false]);
}

/// API: `socket.data` is changed in place and taken.
#[test]
fn data_is_changed_and_taken() {
    #[derive(Clone, Debug, PartialEq)]
    struct Score(u32);
    let io = server(1);
    let _client = Driven::connected(&io);
    let socket = io.sockets().remove(0);
    assert_eq!(socket.update_data(|score: &mut Score| score.0 += 1), None);
    socket.set_data(Score(1));
    socket.set_data("a text");
    let before = socket.data::<Score>().unwrap();
    let mut calls = 0;
    let result = socket.update_data(|score: &mut Score| {
        calls += 1;
        // Another caller changes the value meanwhile.
        if calls == 1 {
            socket.set_data(Score(10));
        }
        score.0 += 1;
        score.0
    });
    assert_eq!((result, calls), (Some(11), 2));
    assert_eq!(*before, Score(1), "who has it keeps what it was");
    assert_eq!(socket.take_data::<Score>().as_deref(), Some(&Score(11)));
    assert!(socket.take_data::<Score>().is_none() && socket.data::<Score>().is_none());
    assert_eq!(socket.data::<&str>().as_deref(), Some(&"a text"));
}
