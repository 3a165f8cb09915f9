//! A chat on three servers, which know of each other only through a Redis.
//!
//! ```text
//! cargo run --bin cluster-chat          then open http://localhost:8080, :8081 and :8082
//! ```
//! People on different ports talk to each other, and everybody sees who is where. The program
//! starts a `redis-server` of its own on a free port, with everything in memory, and ends it when
//! it ends itself. `--redis URL` uses another Redis. `--port N` or the environment variable `PORT`
//! chooses another first port.
//!
//! Nothing here is about Redis except the line that makes the settings: a handler of a server in a
//! cluster is written as one of a server alone (`docs/cluster.md`).

#![forbid(unsafe_code)]
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "it tells where to look")]

mod own_redis;

use std::process::ExitCode;

use own_redis::OwnRedis;
use serde::{Deserialize, Serialize};
use sio_examples::{Arguments, asked_to_end, chat};
use sio_tokio::{Ack, ArgsError, Cluster, Config, HttpRequest, HttpResponse, Io, Method, Options, Server, Socket};
use tokio::net::TcpListener;
use tokio::task::JoinSet;

const USAGE: &str = "usage: cluster-chat [--port N] [--redis URL]";

/// How many servers there are, on ports one after the other.
const NODES: u16 = 3;

/// The longest name of a person, and the longest text, in bytes.
const MAX_NAME_BYTES: usize = 64;
const MAX_TEXT_BYTES: usize = 2000;

const ASSETS: &[(&str, &str, &[u8])] = &[
    (
        "/",
        "text/html; charset=utf-8",
        include_bytes!("../../../cluster-chat/assets/index.html"),
    ),
    (
        "/assets/cluster-chat.js",
        "text/javascript; charset=utf-8",
        include_bytes!("../../../cluster-chat/assets/cluster-chat.js"),
    ),
    (
        "/assets/sio.js",
        "text/javascript; charset=utf-8",
        include_bytes!("../../../chat/assets/sio.js"),
    ),
    (
        "/assets/engine.js",
        "text/javascript; charset=utf-8",
        include_bytes!("../../../chat/assets/engine.js"),
    ),
];

/// A person, as all servers know it.
#[derive(Deserialize, Serialize)]
struct Person {
    name: String,
    /// The number of the server.
    node: u16,
}

#[tokio::main]
async fn main() -> ExitCode {
    match run().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("cluster-chat: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn run() -> Result<(), Box<dyn std::error::Error>> {
    let arguments = Arguments::read(USAGE, &["--port", "--redis"]);
    let port = arguments.port(std::env::var("PORT").map_or(Ok(8080), |port| port.parse())?);
    if port > u16::MAX - NODES {
        arguments.refuse("--port leaves no room for the ports above it");
    }
    // The value ends the process of Redis when it is dropped.
    let (url, _redis) = match arguments.value("--redis") {
        Some(url) => (url.to_owned(), None),
        None => {
            let redis = OwnRedis::start().await?;
            println!("cluster-chat: a redis-server of its own on port {}", redis.port());
            (redis.url(), Some(redis))
        }
    };
    let mut serving = JoinSet::new();
    for node in 0..NODES {
        let cluster = Cluster::from_url(&url)?;
        let server = Server::with_options(Config::default(), Options::default().cluster(cluster))?;
        register(&server, node);
        let listener = TcpListener::bind(("127.0.0.1", port + node))
            .await
            .map_err(|error| chat::no_port(port + node, &error))?;
        println!("cluster-chat: http://localhost:{}", port + node);
        serving.spawn(
            server
                .serve(listener)
                .with_graceful_shutdown(asked_to_end())
                .into_future(),
        );
    }
    while let Some(ended) = serving.join_next().await {
        ended??;
    }
    Ok(())
}

/// Registers the pages and events of one server.
fn register(io: &Io, node: u16) {
    io.on_request(page);
    io.of("/")
        .on(
            "hello",
            move |io: Io, socket: Socket, name: String, ack: Ack| async move {
                let name = cut(&name, MAX_NAME_BYTES).to_owned();
                // What other servers see of a socket.
                socket.set_shared_data(Person {
                    name: name.clone(),
                    node,
                })?;
                socket.set_data(name.clone());
                ack.send((node, present(&io).await));
                socket.broadcast().emit("came", (&name, node));
                Ok::<_, ArgsError>(())
            },
        )
        .on("say", move |io: Io, socket: Socket, text: String| {
            // To everybody on all servers.
            io.emit("said", (name_of(&socket), node, cut(&text, MAX_TEXT_BYTES)));
        })
        .on("who", async |io: Io, ack: Ack| ack.send((present(&io).await,)))
        .on_disconnect(move |socket: Socket| {
            socket.broadcast().emit("went", (name_of(&socket), node));
        });
}

/// The people on all servers.
async fn present(io: &Io) -> Vec<Person> {
    let found = io.of("/").all().fetch_sockets().await;
    let people = found.sockets.iter().filter_map(|socket| socket.data().ok());
    people.collect()
}

fn name_of(socket: &Socket) -> String {
    socket
        .data::<String>()
        .map_or_else(|| "somebody".to_owned(), |name| (*name).clone())
}

/// The beginning of a text, up to this many bytes.
fn cut(text: &str, most: usize) -> &str {
    let mut end = text.len().min(most);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

fn page(request: &HttpRequest<'_>) -> HttpResponse {
    let asset = ASSETS.iter().find(|(path, ..)| *path == request.path());
    match (request.method(), asset) {
        (Method::Get | Method::Head, Some((_, kind, bytes))) => HttpResponse::new(200).body(kind, *bytes),
        (_, Some(_)) => HttpResponse::new(405).header("Allow", "GET, HEAD"),
        (_, None) => HttpResponse::new(404),
    }
}
