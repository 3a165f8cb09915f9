//! Events, acknowledgements and binary data come back, over websocket and polling.

use serde_json::json;
use sio_app::{Ack, Binary, Bytes, RawArgs, Socket};

use super::{Client, http, serve, yield_now};

#[test]
fn events_come_back() {
    let server = serve(|io| {
        io.of("/")
            .on("echo", |socket: Socket, args: RawArgs| socket.emit("echo", args));
    });
    let mut client = Client::connect(server.address);
    client.send(r#"42["echo",1,{"a":[null,"é"]}]"#);
    assert_eq!(client.text(), r#"42["echo",1,{"a":[null,"é"]}]"#);
    for n in 0..1000 {
        client.send(&format!(r#"42["echo",{n}]"#));
    }
    for n in 0..1000 {
        assert_eq!(client.text(), format!(r#"42["echo",{n}]"#));
    }
}

#[test]
fn large_events_arrive_whole() {
    let server = serve(|io| {
        io.of("/")
            .on("echo", |socket: Socket, text: String| socket.emit("echo", text));
    });
    let mut client = Client::connect(server.address);
    for size in [100, 70_000, 900_000, 10] {
        let packet = format!(r#"42["echo","{}"]"#, "x".repeat(size));
        client.send(&packet);
        assert_eq!(client.text(), packet);
    }
}

#[test]
fn acknowledgements_go_both_ways() {
    let server = serve(|io| {
        io.of("/")
            .on("sum", |_: Socket, (a, b): (f64, f64), ack: Ack| ack.send(a + b))
            .on("late", async |_: Socket, ack: Ack| {
                yield_now().await;
                ack.send(("late", 1));
            })
            .on("ask-me", async |socket: Socket| {
                let answer: Result<(String, u8), _> = socket.emit_with_ack("question", 5).await;
                socket.emit("answer", answer.unwrap())
            })
            .on("ask-in-vain", async |socket: Socket| {
                let timeout = std::time::Duration::from_millis(20);
                let answer: Result<(), _> = socket.timeout(timeout).emit_with_ack("question", ()).await;
                socket.emit("answer", answer.unwrap_err().to_string())
            });
    });
    let mut client = Client::connect(server.address);
    client.send(r#"4217["sum",1,2.5]"#);
    assert_eq!(client.text(), "4317[3.5]");
    client.send(r#"42["sum",1,2.5]"#);
    client.send(r#"420["late"]"#);
    assert_eq!(client.text(), r#"430["late",1]"#);
    client.send(r#"42["ask-me"]"#);
    assert_eq!(client.text(), r#"420["question",5]"#);
    client.send(r#"430["yes",7]"#);
    assert_eq!(client.text(), r#"42["answer","yes",7]"#);
    client.send(r#"42["ask-in-vain"]"#);
    assert_eq!(client.text(), r#"421["question"]"#);
    assert_eq!(client.text(), r#"42["answer","operation has timed out"]"#);
}

#[test]
fn binary_travels() {
    let server = serve(|io| {
        io.of("/").on("binary", |socket: Socket, bytes: Bytes| {
            let reversed: Vec<u8> = bytes.iter().rev().copied().collect();
            let list = (Binary(bytes.clone()), json!({"n": bytes.len()}));
            socket.emit("binary", (Binary::from(reversed), &list))
        });
    });
    let mut client = Client::connect(server.address);
    client.send(r#"451-["binary",{"_placeholder":true,"num":0}]"#);
    client.send_binary(b"abc");
    let text = client.text();
    assert_eq!(
        text,
        r#"452-["binary",{"_placeholder":true,"num":0},[{"_placeholder":true,"num":1},{"n":3}]]"#
    );
    assert_eq!(client.binary(), "cba");
    assert_eq!(client.binary(), "abc");
}

#[test]
fn polling_works_over_one_connection() {
    let server = serve(|io| {
        io.of("/")
            .on("echo", |socket: Socket, args: RawArgs| socket.emit("echo", args));
    });
    let mut connection = http::Connection::open(server.address);
    let open = connection.get("/socket.io/?EIO=4&transport=polling");
    let sid = open.split('"').nth(3).unwrap().to_owned();
    let path = format!("/socket.io/?EIO=4&transport=polling&sid={sid}");
    assert_eq!(connection.post(&path, "40"), "ok");
    assert!(connection.get(&path).starts_with(r#"40{"sid":""#));
    // Two pipelined requests are answered in order.
    connection.write(&http::post(&path, r#"42["echo",1]"#));
    connection.write(&http::get(&path));
    assert_eq!(connection.response(), "ok");
    assert_eq!(connection.response(), r#"42["echo",1]"#);
    // An event that arrives on another connection answers a parked GET.
    connection.write(&http::get(&path));
    let mut other = http::Connection::open(server.address);
    assert_eq!(other.post(&path, r#"42["echo",2]"#), "ok");
    assert_eq!(connection.response(), r#"42["echo",2]"#);
}
