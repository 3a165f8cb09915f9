//! Namespaces: which clients get in, and which clients receive what others send.

use std::sync::{Arc, mpsc};

use sio_app::{Ack, Config, Options, Reason, Refusal, Socket};

use super::{Client, heard, serve, serve_with, yield_now};

#[derive(serde::Deserialize)]
struct Auth {
    token: String,
}

#[test]
fn middleware_decides_in_order_and_may_wait() {
    let server = serve(|io| {
        io.of("/admin")
            .with(|socket: Socket| {
                assert!(!socket.is_connected());
                socket.auth::<Auth>().map(drop).ok_or("who are you?")
            })
            .with(async |socket: Socket| {
                yield_now().await;
                match socket.auth::<Auth>() {
                    Some(auth) if auth.token == "secret" => Ok(()),
                    _ => Err(Refusal::new("forbidden").with_data(&serde_json::json!({"need": "secret"}))),
                }
            })
            .on_connect(|socket: Socket| socket.emit("welcome", ()));
    });
    let mut client = Client::open(server.address);
    client.send("40/admin,");
    assert_eq!(client.text(), r#"44/admin,{"message":"who are you?"}"#);
    client.send(r#"40/admin,{"token":"x"}"#);
    assert_eq!(
        client.text(),
        r#"44/admin,{"message":"forbidden","data":{"need":"secret"}}"#
    );
    client.send(r#"40/admin,{"token":"secret"}"#);
    assert!(client.text().starts_with(r#"40/admin,{"sid":"#));
    assert_eq!(client.text(), r#"42/admin,["welcome"]"#);
    client.send("40/nowhere,");
    assert_eq!(client.text(), r#"44/nowhere,{"message":"Invalid namespace"}"#);
}

#[test]
fn names_by_rule() {
    let server = serve(|io| {
        io.of_fn(|name, _| name.strip_prefix("/tenant-").is_some_and(|n| n.parse::<u32>().is_ok()))
            .on("all", |socket: Socket| {
                socket
                    .io()
                    .unwrap()
                    .of(socket.namespace())
                    .emit("hello", socket.namespace());
            });
        io.of_pattern("/room-*")
            .on("where", |socket: Socket, ack: Ack| ack.send(socket.namespace()));
    });
    let mut one = Client::open(server.address);
    let mut two = Client::open(server.address);
    for (first, name) in [(true, "/tenant-1"), (false, "/tenant-2"), (false, "/room-x")] {
        let client = if first { &mut one } else { &mut two };
        client.send(&format!("40{name},"));
        assert!(client.text().starts_with(&format!("40{name},")));
    }
    one.send("40/tenant-x,");
    assert!(one.text().starts_with("44/tenant-x,"));
    two.send(r#"42/room-x,5["where"]"#);
    assert_eq!(two.text(), r#"43/room-x,5["/room-x"]"#);
    // Each namespace is separate, although they share handlers.
    one.send(r#"42/tenant-1,["all"]"#);
    assert_eq!(one.text(), r#"42/tenant-1,["hello","/tenant-1"]"#);
    two.send(r#"42/room-x,6["where"]"#);
    assert_eq!(two.text(), r#"43/room-x,6["/room-x"]"#);
}

#[test]
fn rooms_and_broadcasts_reach_every_shard() {
    let server = serve_with(Config::default(), Options::default().shards(4), |io| {
        io.of("/")
            .on("join", |socket: Socket, room: String, ack: Ack| {
                socket.join(&room).unwrap();
                ack.send(socket.rooms().len());
            })
            .on("others", |socket: Socket, text: String| {
                socket.broadcast().emit("heard", text)
            })
            .on("room", |socket: Socket, (room, text): (String, String)| {
                socket.to(room).emit("heard", text)
            })
            .on("whoami", |socket: Socket, ack: Ack| ack.send(socket.id()));
    });
    let mut clients = Vec::new();
    for _ in 0..8 {
        clients.push(Client::connect(server.address));
    }
    assert_eq!(server.io.sessions(), 8);
    assert_eq!(server.io.sockets().len(), 8);
    server.io.emit("heard", "all");
    for client in &mut clients {
        assert_eq!(client.text(), r#"42["heard","all"]"#);
    }
    clients[0].send(r#"42["others","x"]"#);
    for client in &mut clients[1..] {
        assert_eq!(client.text(), r#"42["heard","x"]"#);
    }
    for client in &mut clients[..5] {
        client.send(r#"420["join","a"]"#);
        assert_eq!(client.text(), "430[2]");
    }
    clients[0].send(r#"42["room","a","y"]"#);
    server.io.to("a").emit("heard", "z");
    assert_eq!(clients[0].text(), r#"42["heard","z"]"#);
    for client in &mut clients[1..5] {
        let mut heard = [client.text(), client.text()];
        heard.sort();
        assert_eq!(heard, [r#"42["heard","y"]"#, r#"42["heard","z"]"#]);
    }
    // A socket is found by its id, from outside of a handler.
    clients[7].send(r#"421["whoami"]"#);
    let answer = clients[7].text();
    let id = answer.split('"').nth(1).unwrap();
    let socket = server.io.socket(id).unwrap();
    assert_eq!(&*socket.id(), id);
    socket.emit("heard", "you").unwrap();
    assert_eq!(clients[7].text(), r#"42["heard","you"]"#);
    server.io.except("a").except(id).emit("heard", "rest");
    assert_eq!(clients[5].text(), r#"42["heard","rest"]"#);
    assert_eq!(clients[6].text(), r#"42["heard","rest"]"#);
    server.io.to("a").disconnect();
    for client in &mut clients[..5] {
        assert_eq!(client.text(), "41");
    }
    server.io.to(id).close();
    clients[7].closed();
    assert!(server.io.socket(id).is_none());
    assert!(socket.emit("heard", ()).is_err());
}

#[test]
fn disconnections_are_told_once_with_their_reason() {
    let (tell, told) = mpsc::channel();
    let server = serve(move |io| {
        io.of("/")
            .on("bye", |socket: Socket| socket.disconnect())
            .on_disconnect(move |socket: Socket, reason: Reason| {
                assert!(!socket.is_connected());
                tell.send((socket.data::<String>().is_some(), reason))
            })
            .on_connect(|socket: Socket| socket.set_data(String::new()));
    });
    let mut client = Client::connect(server.address);
    client.send("41");
    assert_eq!(heard(&told), (true, Reason::ClientNamespaceDisconnect));
    client.send("40");
    client.text();
    client.send(r#"42["bye"]"#);
    assert_eq!(client.text(), "41");
    assert_eq!(heard(&told), (true, Reason::ServerNamespaceDisconnect));
    drop(client);
    let client = Client::connect(server.address);
    drop(client);
    assert_eq!(heard(&told), (true, Reason::TransportClose));
}

#[test]
fn handlers_start_in_order() {
    let order = Arc::new(std::sync::Mutex::new(Vec::new()));
    let log = Arc::clone(&order);
    let server = serve(move |io| {
        let connect = Arc::clone(&log);
        io.of("/")
            .with(async |_: Socket| {
                yield_now().await;
                Ok::<_, Refusal>(())
            })
            .on_connect(move |_: Socket| connect.lock().unwrap().push(-1))
            .on("n", move |socket: Socket, n: i32| {
                let log = Arc::clone(&log);
                async move {
                    log.lock().unwrap().push(n);
                    yield_now().await;
                    socket.emit("done", n)
                }
            });
    });
    let mut client = Client::connect(server.address);
    for n in 0..200 {
        client.send(&format!(r#"42["n",{n}]"#));
    }
    for _ in 0..200 {
        client.text();
    }
    assert_eq!(*order.lock().unwrap(), (-1..200).collect::<Vec<_>>());
}

#[test]
fn one_at_a_time_means_that() {
    let running = Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let server = serve(move |io| {
        io.of("/").one_at_a_time().on("n", move |socket: Socket, n: i32| {
            let running = Arc::clone(&running);
            async move {
                use std::sync::atomic::Ordering::SeqCst;
                assert_eq!(running.fetch_add(1, SeqCst), 0);
                for _ in 0..n % 5 {
                    yield_now().await;
                }
                running.fetch_sub(1, SeqCst);
                socket.emit("done", n)
            }
        });
    });
    let mut client = Client::connect(server.address);
    for n in 0..200 {
        client.send(&format!(r#"42["n",{n}]"#));
    }
    for n in 0..200 {
        assert_eq!(client.text(), format!(r#"42["done",{n}]"#));
    }
}
