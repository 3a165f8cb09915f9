//! Bytes flow: events, acknowledgements and binary, over websocket and polling.

mod client;

use client::{Client, http, serve};
use serde_json::json;
use sio_tokio::{Ack, Binary, Bytes, RawArgs, Socket};

#[tokio::test]
async fn events_come_back() {
    let server = serve(|io| {
        io.of("/")
            .on("echo", |socket: Socket, args: RawArgs| socket.emit("echo", args));
    })
    .await;
    let mut client = Client::connect(server.address).await;
    client.send(r#"42["echo",1,{"a":[null,"é"]}]"#).await;
    assert_eq!(client.text().await, r#"42["echo",1,{"a":[null,"é"]}]"#);
    for n in 0..1000 {
        client.send(&format!(r#"42["echo",{n}]"#)).await;
    }
    for n in 0..1000 {
        assert_eq!(client.text().await, format!(r#"42["echo",{n}]"#));
    }
}

#[tokio::test]
async fn large_events_arrive_whole() {
    let server = serve(|io| {
        io.of("/")
            .on("echo", |socket: Socket, text: String| socket.emit("echo", text));
    })
    .await;
    let mut client = Client::connect(server.address).await;
    for size in [100, 70_000, 900_000, 10] {
        let packet = format!(r#"42["echo","{}"]"#, "x".repeat(size));
        client.send(&packet).await;
        assert_eq!(client.text().await, packet);
    }
}

#[tokio::test]
async fn acknowledgements_go_both_ways() {
    let server = serve(|io| {
        io.of("/")
            .on("sum", |_: Socket, (a, b): (f64, f64), ack: Ack| ack.send(a + b))
            .on("late", async |_: Socket, ack: Ack| {
                tokio::task::yield_now().await;
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
    })
    .await;
    let mut client = Client::connect(server.address).await;
    client.send(r#"4217["sum",1,2.5]"#).await;
    assert_eq!(client.text().await, "4317[3.5]");
    client.send(r#"42["sum",1,2.5]"#).await;
    client.send(r#"420["late"]"#).await;
    assert_eq!(client.text().await, r#"430["late",1]"#);
    client.send(r#"42["ask-me"]"#).await;
    assert_eq!(client.text().await, r#"420["question",5]"#);
    client.send(r#"430["yes",7]"#).await;
    assert_eq!(client.text().await, r#"42["answer","yes",7]"#);
    client.send(r#"42["ask-in-vain"]"#).await;
    assert_eq!(client.text().await, r#"421["question"]"#);
    assert_eq!(client.text().await, r#"42["answer","operation has timed out"]"#);
}

#[tokio::test]
async fn binary_travels() {
    let server = serve(|io| {
        io.of("/").on("binary", |socket: Socket, bytes: Bytes| {
            let reversed: Vec<u8> = bytes.iter().rev().copied().collect();
            let list = (Binary(bytes.clone()), json!({"n": bytes.len()}));
            socket.emit("binary", (Binary::from(reversed), &list))
        });
    })
    .await;
    let mut client = Client::connect(server.address).await;
    client.send(r#"451-["binary",{"_placeholder":true,"num":0}]"#).await;
    client.send_binary(b"abc").await;
    let text = client.text().await;
    assert_eq!(
        text,
        r#"452-["binary",{"_placeholder":true,"num":0},[{"_placeholder":true,"num":1},{"n":3}]]"#
    );
    assert_eq!(client.binary().await, "cba");
    assert_eq!(client.binary().await, "abc");
}

#[tokio::test]
async fn polling_works_over_one_connection() {
    let server = serve(|io| {
        io.of("/")
            .on("echo", |socket: Socket, args: RawArgs| socket.emit("echo", args));
    })
    .await;
    let mut connection = http::Connection::open(server.address).await;
    let open = connection.get("/socket.io/?EIO=4&transport=polling").await;
    let sid = open.split('"').nth(3).unwrap().to_owned();
    let path = format!("/socket.io/?EIO=4&transport=polling&sid={sid}");
    assert_eq!(connection.post(&path, "40").await, "ok");
    assert!(connection.get(&path).await.starts_with(r#"40{"sid":""#));
    // Two pipelined requests are answered in order.
    connection.write(&http::post(&path, r#"42["echo",1]"#)).await;
    connection.write(&http::get(&path)).await;
    assert_eq!(connection.response().await, "ok");
    assert_eq!(connection.response().await, r#"42["echo",1]"#);
    // A parked GET is answered by what another connection brings.
    connection.write(&http::get(&path)).await;
    let mut other = http::Connection::open(server.address).await;
    assert_eq!(other.post(&path, r#"42["echo",2]"#).await, "ok");
    assert_eq!(connection.response().await, r#"42["echo",2]"#);
}
