//! Socket.IO mounted in other HTTP servers: axum and hyper, over TCP and over other streams, with
//! HTTP/1 and HTTP/2.

#![allow(
    clippy::unwrap_used,
    reason = "the lint knows tests by their attribute, and these are their helpers"
)]

mod client;

use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use axum::routing::{get, post};
use client::{Client, http as raw, patiently};
use futures_util::{SinkExt, StreamExt};
use http_body_util::{BodyExt, Full};
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use hyper_util::service::TowerToHyperService;
use sio_tokio::tower::{SocketIoLayer, SocketIoService};
use sio_tokio::{Ack, Bytes, Config, HttpResponse, Options, Peer, RawArgs, Reason, Server, Socket};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio_tungstenite::tungstenite::Message;

fn server(config: Config, options: Options) -> Server {
    let io = Server::with_options(config, options).unwrap();
    io.of("/")
        .on("echo", |socket: Socket, args: RawArgs| socket.emit("echo", args))
        .on("ask", |_: Socket, args: RawArgs, ack: Ack| ack.send(args));
    io
}

fn default_server() -> Server {
    server(Config::default(), Options::default())
}

/// The application: two routes of its own.
fn own_routes() -> Router {
    Router::new()
        .route("/", get(async || "hello"))
        .route("/echo", post(async |body: String| body))
}

async fn serve(app: Router) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let service = app.into_make_service_with_connect_info::<SocketAddr>();
    tokio::spawn(axum::serve(listener, service).into_future());
    address
}

const POLLING: &str = "/socket.io/?EIO=4&transport=polling";

/// Opens a polling session and joins the main namespace. Returns the path to poll.
async fn open(connection: &mut raw::Connection) -> String {
    let open = connection.get(POLLING).await;
    let sid = open.split('"').nth(3).unwrap().to_owned();
    let path = format!("{POLLING}&sid={sid}");
    assert_eq!(connection.post(&path, "40").await, "ok");
    assert!(connection.get(&path).await.starts_with(r#"40{"sid":""#));
    path
}

#[tokio::test]
async fn polling_beside_the_applications_own_routes() {
    let io = default_server();
    let address = serve(own_routes().layer(io.layer())).await;
    let mut connection = raw::Connection::open(address).await;
    assert_eq!(connection.get("/").await, "hello");
    assert_eq!(connection.post("/echo", "untouched").await, "untouched");
    let path = open(&mut connection).await;
    // An event that arrives on another connection answers a parked poll.
    connection.write(&raw::get(&path)).await;
    let mut other = raw::Connection::open(address).await;
    assert_eq!(other.post(&path, r#"42["echo",2]"#).await, "ok");
    assert_eq!(connection.response().await, r#"42["echo",2]"#);
    let nested = serve(Router::new().nest("/api", io.routes())).await;
    let mut other = raw::Connection::open(nested).await;
    assert!(other.get(&format!("/api{POLLING}")).await.starts_with("0{"));
    // A path that is not Socket.IO's goes to the application, which has no such route.
    connection.write(&raw::get("/nothing")).await;
    assert!(connection.response_with_head().await.0.starts_with("HTTP/1.1 404"));
    connection.write(&raw::get("/socket.io/?EIO=4&transport=x")).await;
    let (head, body) = connection.response_with_head().await;
    assert!(
        head.starts_with("HTTP/1.1 400") && body.contains("Transport unknown"),
        "{head}"
    );
}

#[tokio::test]
async fn websockets_are_ours_once_they_are_upgraded() {
    let io = default_server();
    let address = serve(own_routes().layer(io.layer())).await;
    let mut client = Client::connect(address).await;
    for size in [1, 70_000, 900_000] {
        let packet = format!(r#"42["echo","{}"]"#, "x".repeat(size));
        client.send(&packet).await;
        assert_eq!(client.text().await, packet);
    }
    client.send(r#"427["ask",1]"#).await;
    assert_eq!(client.text().await, "437[1]");
    client.send(r#"451-["echo",{"_placeholder":true,"num":0}]"#).await;
    client.send_binary(b"abc").await;
    assert_eq!(client.text().await, r#"451-["echo",{"_placeholder":true,"num":0}]"#);
    assert_eq!(client.binary().await, "abc");
    io.emit("news", 1);
    assert_eq!(client.text().await, r#"42["news",1]"#);
    client.socket.close(None).await.unwrap();
    client.closed().await;
    drop(client);
    while io.sessions() + io.connections() > 0 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_slow_reader_gets_all_of_it_in_order() {
    // The whole flood waits for the reader at one time.
    let config = Config::default().max_queued_bytes(16 << 20);
    let io = server(config, Options::default());
    io.of("/").on("flood", |socket: Socket| {
        let text = "f".repeat(50_000);
        (0..200).try_for_each(|n| socket.emit("flood", (n, &text)))
    });
    let address = serve(Router::new().layer(io.layer()).merge(io.routes())).await;
    let mut client = Client::connect(address).await;
    client.send(r#"42["flood"]"#).await;
    for n in 0..200 {
        assert!(client.text().await.starts_with(&format!(r#"42["flood",{n},"#)));
    }
}

/// Hardening B9: the HTTP server around Socket.IO writes the date, and Socket.IO does not write it
/// again.
#[tokio::test]
async fn one_date_and_not_two() {
    let io = default_server();
    let address = serve(own_routes().merge(io.routes())).await;
    let websocket = "GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\nHost: localhost\r\nConnection: upgrade\r\n\
                     Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    for request in [
        &*raw::get("/"),
        &raw::get(POLLING),
        &raw::get("/socket.io/?EIO=4&transport=what"),
        &raw::get("/socket.io/xhr-multipart//1"),
        websocket,
    ] {
        let mut connection = raw::Connection::open(address).await;
        connection.write(request).await;
        let head = connection.until("\r\n\r\n").await.to_ascii_lowercase();
        assert_eq!(head.matches("\r\ndate: ").count(), 1, "{head}");
    }
}

#[tokio::test]
async fn a_session_moves_from_polling_to_websocket() {
    let io = default_server();
    let address = serve(own_routes().merge(io.routes())).await;
    let mut connection = raw::Connection::open(address).await;
    let path = open(&mut connection).await;
    let url = format!("ws://{address}{}", path.replace("polling", "websocket"));
    let stream = tokio::net::TcpStream::connect(address).await.unwrap();
    let (socket, _) = patiently(tokio_tungstenite::client_async(url, stream)).await.unwrap();
    let mut client = Client { socket };
    client.send("2probe").await;
    assert_eq!(client.text().await, "3probe");
    client.send("5").await;
    client.send(r#"42["echo","moved"]"#).await;
    assert_eq!(client.text().await, r#"42["echo","moved"]"#);
    assert_eq!(io.sockets()[0].transport().unwrap().as_str(), "websocket");
}

/// Sends a request, reads the status of its answer, and waits until the server closes the
/// connection.
async fn last_status(address: SocketAddr, request: String) -> u16 {
    let mut connection = raw::Connection::open(address).await;
    connection.write(&request).await;
    let (head, _) = connection.response_with_head().await;
    connection.closed().await;
    head[9..12].parse().unwrap()
}

fn chunked(path: &str, chunks: &str) -> String {
    format!("POST {path} HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n{chunks}")
}

#[tokio::test]
async fn requests_are_bounded() {
    let io = server(Config::default().max_payload(1000), Options::default());
    let address = serve(own_routes().layer(io.layer())).await;
    let mut connection = raw::Connection::open(address).await;
    let large = "x".repeat(1001);
    // A body that is too large ends its session (docs/protocol/engine-io.md §4.4).
    let path = open(&mut connection).await;
    assert_eq!(last_status(address, raw::post(&path, &large)).await, 413);
    let path = open(&mut connection).await;
    assert_eq!(
        last_status(address, chunked(&path, &format!("3e9\r\n{large}"))).await,
        413
    );
    assert_eq!(io.sessions(), 0);
    let path = open(&mut connection).await;
    // A body in two chunks that is just small enough.
    let packet = format!(r#"42["echo","{}"]"#, "x".repeat(1000 - 13));
    let (start, end) = packet.split_at(400);
    connection.write(&chunked(&path, &format!("190\r\n{start}\r\n"))).await;
    connection.write(&format!("258\r\n{end}\r\n0\r\n\r\n")).await;
    assert_eq!(connection.response().await, "ok");
    assert_eq!(connection.get(&path).await, packet);
    let mut many = raw::get(POLLING);
    many.insert_str(many.len() - 2, &"X: y\r\n".repeat(101));
    assert_eq!(last_status(address, many).await, 431);
    let long = format!("{POLLING}&x={}", "x".repeat(17_000));
    assert_eq!(last_status(address, raw::get(&long)).await, 414);
}

#[tokio::test]
async fn who_is_still_writing_too_much_sees_the_answer() {
    let options = Options::default().linger_timeout(Duration::from_millis(500));
    let io = server(Config::default(), options);
    let address = serve(own_routes().layer(io.layer())).await;
    let path = open(&mut raw::Connection::open(address).await).await;
    // The body is larger than the buffers of two sockets.
    let large = raw::post(&path, &"x".repeat(30_000_000));
    assert_eq!(last_status(address, large).await, 413);
    // The server does not wait without end for the rest of a body that is too large.
    let path = open(&mut raw::Connection::open(address).await).await;
    assert_eq!(
        last_status(address, chunked(&path, &format!("f4241\r\n{}", "x".repeat(1_000_001)))).await,
        413
    );
    assert_eq!(io.sessions(), 0);
}

#[tokio::test]
async fn a_body_that_does_not_come_ends_its_session() {
    let options = Options::default().body_timeout(Duration::from_millis(500));
    let io = server(Config::default(), options);
    let address = serve(own_routes().layer(io.layer())).await;
    let path = open(&mut raw::Connection::open(address).await).await;
    assert_eq!(last_status(address, chunked(&path, "3e8\r\nxx")).await, 408);
    while io.sessions() > 0 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_poll_that_is_dropped_ends_its_session() {
    let io = default_server();
    let (tell, mut told) = mpsc::unbounded_channel();
    io.of("/")
        .on_disconnect(move |_: Socket, reason: Reason| tell.send(reason));
    let address = serve(own_routes().layer(io.layer())).await;
    let mut connection = raw::Connection::open(address).await;
    let path = open(&mut connection).await;
    connection.write(&raw::get(&path)).await;
    while io.connections() == 0 {
        tokio::task::yield_now().await;
    }
    drop(connection);
    assert_eq!(patiently(told.recv()).await, Some(Reason::TransportError));
    assert_eq!((io.sessions(), io.connections()), (0, 0));
}

#[derive(Clone, Debug, PartialEq)]
struct User(&'static str);

#[tokio::test]
async fn handlers_see_what_the_applications_middleware_found_out() {
    let io = default_server();
    io.allow_request(|request| match request.extension::<User>() {
        Some(User("mallory")) => Err("not you".to_owned()),
        _ => Ok(()),
    });
    io.of("/").on("who", |socket: Socket, ack: Ack| {
        let handshake = socket.handshake();
        let peer = handshake.peer();
        assert_eq!(handshake.header("x-user"), Some("alice"));
        assert!(handshake.target().starts_with("/socket.io/?EIO=4"));
        let user = socket.extension::<User>().map(|user| user.0);
        ack.send((user, peer.address.map(|a| a.ip()), peer.secure));
    });
    let login = |mut request: axum::extract::Request| async move {
        let user = match request.headers().get("x-user").map(|user| user.as_bytes()) {
            Some(b"alice") => User("alice"),
            _ => User("mallory"),
        };
        request.extensions_mut().insert(user);
        request
    };
    let app = own_routes()
        .layer(io.layer())
        .layer(axum::middleware::map_request(login));
    let address = serve(app).await;
    let mut connection = raw::Connection::open(address).await;
    connection.write(&raw::get(POLLING)).await;
    let (head, body) = connection.response_with_head().await;
    assert!(head.starts_with("HTTP/1.1 403") && body.contains("not you"), "{head}");
    let request = format!("GET {POLLING} HTTP/1.1\r\nHost: localhost\r\nX-User: alice\r\n\r\n");
    connection.write(&request).await;
    let open = connection.response().await;
    let path = format!("{POLLING}&sid={}", open.split('"').nth(3).unwrap());
    connection.post(&path, "40").await;
    connection.get(&path).await;
    connection.post(&path, r#"420["who"]"#).await;
    assert_eq!(connection.get(&path).await, r#"430["alice","127.0.0.1",false]"#);
}

/// Hardening A1. Hardening B6. Hardening B7. In a mounted server, too, the application is asked for
/// every kind of request that can open a session, and sees what its middleware has put into the
/// request.
#[tokio::test]
async fn who_is_refused_gets_in_by_no_road() {
    let io = default_server();
    io.allow_request(|request| match request.extension::<User>() {
        Some(User("alice")) => Ok(()),
        _ => Err("no".into()),
    });
    let login = |mut request: axum::extract::Request| async move {
        if request.headers().contains_key("x-user") {
            request.extensions_mut().insert(User("alice"));
        }
        request
    };
    for mounted in [own_routes().layer(io.layer()), own_routes().merge(io.routes())] {
        let address = serve(mounted.layer(axum::middleware::map_request(login))).await;
        for target in [
            "/socket.io/?EIO=4&transport=polling",
            "/socket.io?EIO=4&transport=polling",
            "http://localhost/socket.io/?EIO=4&transport=polling",
            "/socket.io/1/?t=1",
            "/socket.io/1/f2OB-Gs9-F9dtPdjA7X9?disconnect",
            "/socket.io/xhr-polling//1795447966090",
            "/socket.io/xhr-polling/1234567890123",
        ] {
            let before = io.sessions();
            let mut connection = raw::Connection::open(address).await;
            connection.write(&raw::get(target)).await;
            let (head, _) = connection.response_with_head().await;
            assert!(matches!(&head[9..12], "401" | "403"), "{target}: {head}");
            assert_eq!(io.sessions(), before, "{target}");
            let mut connection = raw::Connection::open(address).await;
            connection
                .write(&format!(
                    "GET {target} HTTP/1.1\r\nHost: localhost\r\nX-User: alice\r\n\r\n"
                ))
                .await;
            let (head, _) = connection.response_with_head().await;
            assert_eq!((&head[9..12], io.sessions()), ("200", before + 1), "{target}");
        }
    }
}

#[tokio::test]
async fn generations_of_old_pass() {
    let io = default_server();
    let address = serve(own_routes().merge(io.routes())).await;
    let mut connection = raw::Connection::open(address).await;
    // A client of 0.9.
    let open = connection.get("/socket.io/1/?t=1").await;
    let sid = open.split(':').next().unwrap();
    assert_eq!(
        connection.get(&format!("/socket.io/1/xhr-polling/{sid}?t=2")).await,
        "1::"
    );
    // A client of 0.6 asks for a session with an empty id, so its path has two slashes in a row.
    let open = connection.get("/socket.io/xhr-polling//1795447966090").await;
    assert!(open.starts_with("~m~"), "{open}");
    // hyper cannot read a websocket handshake from before RFC 6455.
    let hixie = "GET /socket.io/websocket HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: WebSocket\r\n\
                 Sec-WebSocket-Key1: 18x 6]8vM;54 *(5:  {   U1]8  z [  8\r\n\
                 Sec-WebSocket-Key2: 1_ tx7X d  <  nw  334J702) 7]o}` 0\r\n\r\nTm[K T2u";
    let mut connection = raw::Connection::open(address).await;
    connection.write(hixie).await;
    assert!(connection.response_with_head().await.0.starts_with("HTTP/1.1 400"));
}

#[tokio::test]
async fn answers_without_end() {
    let io = default_server();
    let (tell, mut told) = mpsc::unbounded_channel();
    io.of("/")
        .on_disconnect(move |_: Socket, reason: Reason| tell.send(reason));
    let address = serve(own_routes().layer(io.layer())).await;
    let mut connection = raw::Connection::open(address).await;
    let open = connection.get("/socket.io/1/?t=1").await;
    let sid = open.split(':').next().unwrap();
    connection
        .write(&raw::get(&format!("/socket.io/1/htmlfile/{sid}?t=2")).replacen(
            "\r\n",
            "\r\nReferer: http://localhost/\r\n",
            1,
        ))
        .await;
    let head = connection.until("\r\n\r\n").await;
    assert!(
        head.starts_with("HTTP/1.1 200") && head.contains("transfer-encoding: chunked"),
        "{head}"
    );
    assert!(
        connection
            .until(r#"<script>_("1::");</script>"#)
            .await
            .contains("<html>")
    );
    // The events are more than a pipe holds, and they come in order.
    let text = "x".repeat(1000);
    for n in 0..300 {
        io.emit("news", (n, &text));
    }
    for n in 0..300 {
        connection.until(&format!(r#"[{n},\"#)).await;
    }
    drop(connection);
    assert_eq!(patiently(told.recv()).await, Some(Reason::TransportClose));
    // A stream has an end when the server ends it.
    let mut connection = raw::Connection::open(address).await;
    let open = connection.get("/socket.io/1/?t=1").await;
    let sid = open.split(':').next().unwrap();
    connection
        .write(&raw::get(&format!("/socket.io/1/htmlfile/{sid}?t=2")).replacen(
            "\r\n",
            "\r\nReferer: http://localhost/\r\n",
            1,
        ))
        .await;
    connection.until(r#"_("1::")"#).await;
    io.sockets()[0].close();
    connection.until("\r\n0\r\n\r\n").await;
    while io.sessions() + io.connections() > 0 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn alone_it_answers_as_its_own_listener_would() {
    let io = default_server();
    let address = serve(Router::new().fallback_service(io.service())).await;
    let mut connection = raw::Connection::open(address).await;
    connection.write(&raw::get("/hello")).await;
    assert!(connection.response_with_head().await.0.starts_with("HTTP/1.1 404"));
    io.on_request(|request| {
        let body = String::from_utf8_lossy(request.body());
        let is_local = request.peer().address.is_some_and(|a| a.ip().is_loopback());
        HttpResponse::text(format!("{} {body} {is_local}", request.path())).header("X-Test", "1")
    });
    connection.write(&raw::post("/hello", "you")).await;
    let (head, body) = connection.response_with_head().await;
    assert!(head.contains("x-test: 1"), "{head}");
    assert_eq!(body, "/hello you true");
    open(&mut connection).await;
}

#[tokio::test]
async fn there_are_only_so_many_at_once() {
    let io = server(Config::default(), Options::default().max_connections(1));
    let address = serve(own_routes().layer(io.layer())).await;
    let client = Client::connect(address).await;
    let mut connection = raw::Connection::open(address).await;
    connection.write(&raw::get(POLLING)).await;
    assert!(connection.response_with_head().await.0.starts_with("HTTP/1.1 503"));
    // The application's own requests are not counted.
    let mut connection = raw::Connection::open(address).await;
    assert_eq!(connection.get("/").await, "hello");
    drop(client);
}

#[tokio::test]
async fn closing_ends_polls_and_websockets() {
    let io = default_server();
    let (tell, mut told) = mpsc::unbounded_channel();
    io.of("/")
        .on_disconnect(move |_: Socket, reason: Reason| tell.send(reason));
    let address = serve(own_routes().layer(io.layer())).await;
    let mut client = Client::connect(address).await;
    let mut between = raw::Connection::open(address).await;
    let its_path = open(&mut between).await;
    let mut connection = raw::Connection::open(address).await;
    let path = open(&mut connection).await;
    connection.write(&raw::get(&path)).await;
    while io.connections() < 2 {
        tokio::task::yield_now().await;
    }
    let finished = tokio::spawn({
        let io = io.clone();
        async move { io.finish().await }
    });
    client.closed().await;
    drop(client);
    assert!(connection.response_with_head().await.0.starts_with("HTTP/1.1 200"));
    // The server waits for a client that is between two polls, and tells it of the end in the next
    // poll.
    while io.connections() > 0 {
        tokio::task::yield_now().await;
    }
    assert!(io.sessions() == 1 && !finished.is_finished());
    while io.sessions() > 0 {
        assert!(between.get(&its_path).await.ends_with(['1', '6']));
    }
    patiently(finished).await.unwrap();
    for _ in 0..3 {
        assert_eq!(told.recv().await, Some(Reason::ServerShuttingDown));
    }
    assert_eq!((io.sessions(), io.connections()), (0, 0));
    // The application goes on, and Socket.IO opens no new sessions.
    let mut connection = raw::Connection::open(address).await;
    assert_eq!(connection.get("/").await, "hello");
    connection.write(&raw::get(POLLING)).await;
    let (head, _) = connection.response_with_head().await;
    assert!(!head.starts_with("HTTP/1.1 200"), "{head}");
}

#[tokio::test]
async fn hyper_alone_over_any_stream() {
    let io = default_server();
    let secure = Peer {
        address: Some(([192, 0, 2, 1], 5).into()),
        secure: true,
    };
    io.of("/").on_connect(|socket: Socket| {
        let peer = socket.handshake().peer();
        socket.emit("peer", (peer.address.map(|a| a.port()), peer.secure))
    });
    let service = SocketIoService::new(&io);
    let (near, far) = tokio::io::duplex(1000);
    tokio::spawn(async move {
        let service = hyper::service::service_fn(move |mut request: hyper::Request<hyper::body::Incoming>| {
            request.extensions_mut().insert(secure);
            let mut service = service.clone();
            async move { tower_service::Service::call(&mut service, request).await }
        });
        let connection = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(far), service);
        connection.with_upgrades().await.unwrap();
    });
    let url = "ws://x/socket.io/?EIO=4&transport=websocket";
    let (mut socket, _) = tokio_tungstenite::client_async(url, near).await.unwrap();
    socket.send(Message::text("40")).await.unwrap();
    let packet = format!(r#"42["echo","{}"]"#, "x".repeat(300_000));
    socket.send(Message::text(packet.clone())).await.unwrap();
    let mut seen = Vec::new();
    while seen.len() < 4 {
        seen.push(patiently(socket.next()).await.unwrap().unwrap().into_text().unwrap());
    }
    assert_eq!(seen[2], r#"42["peer",5,true]"#);
    assert_eq!(seen[3], packet.as_str());
}

#[tokio::test]
async fn http_2_polls_and_does_not_upgrade() {
    let io = default_server();
    io.of("/").on("cookie", |socket: Socket, ack: Ack| {
        ack.send((socket.handshake().header("cookie"), socket.handshake().header("host")));
    });
    let (near, far) = tokio::io::duplex(100_000);
    let layered = tower_layer::Layer::layer(&SocketIoLayer::new(&io), own_routes());
    tokio::spawn(async move {
        let mut builder = auto::Builder::new(TokioExecutor::new());
        builder.http2().enable_connect_protocol();
        let service = TowerToHyperService::new(layered);
        let served = builder.serve_connection_with_upgrades(TokioIo::new(far), service);
        assert!(served.await.is_ok());
    });
    let handshake = hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(near));
    let (mut sender, connection) = handshake.await.unwrap();
    tokio::spawn(connection);
    let mut fetch = async |method: &str, path: &str, body: &'static str| {
        let request = hyper::Request::builder()
            .method(method)
            .uri(format!("http://example.com{path}"))
            .header("origin", "http://example.com")
            .header("cookie", "a=1")
            .header("cookie", "b=2");
        let request = request.body(Full::new(Bytes::from_static(body.as_bytes()))).unwrap();
        let response = patiently(sender.send_request(request)).await.unwrap();
        let status = response.status().as_u16();
        let body = response.into_body().collect().await.unwrap().to_bytes();
        (status, String::from_utf8(body.to_vec()).unwrap())
    };
    assert_eq!(fetch("GET", "/", "").await.1, "hello");
    let (status, open) = fetch("GET", POLLING, "").await;
    assert_eq!(status, 200, "{open}");
    let path = format!("{POLLING}&sid={}", open.split('"').nth(3).unwrap());
    assert_eq!(fetch("POST", &path, "40").await.1, "ok");
    assert!(fetch("GET", &path, "").await.1.starts_with("40"));
    assert_eq!(fetch("POST", &path, r#"420["cookie"]"#).await.1, "ok");
    assert_eq!(fetch("GET", &path, "").await.1, r#"430["a=1; b=2","example.com"]"#);
    let (status, _) = fetch("GET", &path.replace("polling", "websocket"), "").await;
    assert_eq!(status, 400);
    let mut connect = hyper::Request::builder()
        .method("CONNECT")
        .uri("http://example.com/socket.io/?EIO=4&transport=websocket")
        .body(Full::default())
        .unwrap();
    let websocket = hyper::ext::Protocol::from_static("websocket");
    connect.extensions_mut().insert(websocket);
    let refused = patiently(sender.send_request(connect)).await.unwrap();
    assert_eq!(refused.status(), 501);
}

/// API: allowRequest: async: in another HTTP server a decision may wait on tokio's own timers.
#[tokio::test]
async fn a_decision_is_waited_for_by_every_road() {
    let io = default_server();
    io.allow_request_async(async |request| {
        tokio::time::sleep(Duration::from_millis(5)).await;
        match request.query_value("token").as_deref() {
            Some("good") => Ok(()),
            _ => Err("no token".to_owned()),
        }
    });
    for mounted in [own_routes().layer(io.layer()), own_routes().merge(io.routes())] {
        let address = serve(mounted).await;
        for target in [
            "/socket.io/?EIO=4&transport=polling",
            "/socket.io/1/?t=1",
            "/socket.io/xhr-polling//1795447966090?a=b",
        ] {
            let before = io.sessions();
            let mut connection = raw::Connection::open(address).await;
            connection.write(&raw::get(target)).await;
            let (head, _) = connection.response_with_head().await;
            assert!(matches!(&head[9..12], "401" | "403"), "{target}: {head}");
            assert_eq!(io.sessions(), before, "{target}");
            let mut connection = raw::Connection::open(address).await;
            connection.write(&raw::get(&format!("{target}&token=good"))).await;
            let (head, _) = connection.response_with_head().await;
            assert_eq!((&head[9..12], io.sessions()), ("200", before + 1), "{target}");
        }
    }
}
