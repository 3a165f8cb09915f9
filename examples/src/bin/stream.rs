//! A long answer that is streamed to pages token by token, and survives their reloads.
//!
//! ```text
//! cargo run --bin stream          then open http://localhost:8080
//! ```
//! The page can be loaded again while the answer is written, lose its connection, or be opened on
//! another device: it gets what it has missed, and then the rest (`docs/history.md`). `GET
//! /text/ROOM` answers with the text that the server has kept. `--port N` or the environment
//! variable `PORT` chooses another port, `--pace MS` the time between two tokens.

#![forbid(unsafe_code)]
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "it tells where to look")]

use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use sio_examples::{Arguments, chat};
use sio_tokio::{
    Ack, Bytes, Config, HttpRequest, HttpResponse, Io, Method, Offset, Options, ResumeError, Resumed, Ring, Server,
    Socket,
};

const USAGE: &str = "usage: stream [--port N] [--pace MS]";

/// How many tokens an answer has.
const TOKENS: usize = 400;

/// How many answers may be written at one time.
const MAX_WRITING: usize = 100;

const WORDS: &[&str] = &[
    "a", "message", "is", "sent", "once,", "and", "kept", "until", "it", "has", "been", "seen.", "whoever", "comes",
    "later", "asks", "for", "what", "is", "missing,", "and", "nothing", "comes", "twice.",
];

const HTML: &str = "text/html; charset=utf-8";
const CSS: &str = "text/css; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";

const ASSETS: &[(&str, &str, &[u8])] = &[
    ("/", HTML, include_bytes!("../../stream/assets/index.html")),
    (
        "/assets/stream.css",
        CSS,
        include_bytes!("../../stream/assets/stream.css"),
    ),
    (
        "/assets/stream.js",
        SCRIPT,
        include_bytes!("../../stream/assets/stream.js"),
    ),
    ("/assets/sio.js", SCRIPT, include_bytes!("../../chat/assets/sio.js")),
    (
        "/assets/engine.js",
        SCRIPT,
        include_bytes!("../../chat/assets/engine.js"),
    ),
    (
        "/assets/icon.svg",
        "image/svg+xml",
        include_bytes!("../../chat/assets/icon.svg"),
    ),
];

#[tokio::main]
async fn main() -> ExitCode {
    match run().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("stream: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn run() -> Result<(), Box<dyn std::error::Error>> {
    let arguments = Arguments::read(USAGE, &["--port", "--pace"]);
    let default = std::env::var("PORT").map_or(Ok(8080), |port| port.parse())?;
    let port = arguments.port(default);
    let pace = Duration::from_millis(arguments.value("--pace").map_or(Ok(50), str::parse)?);
    let server = Server::with_options(Config::default(), Options::default())?;
    register(&server, pace);
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", port))
        .await
        .map_err(|error| chat::no_port(port, &error))?;
    println!("stream: http://localhost:{}", listener.local_addr()?.port());
    server
        .serve(listener)
        .with_graceful_shutdown(sio_examples::asked_to_end())
        .await?;
    Ok(())
}

fn register(io: &Io, pace: Duration) {
    // An answer of 400 short tokens fits, with room to spare.
    let ring = Ring {
        packets: 2 * TOKENS,
        ..Ring::default()
    };
    let (asked, writing) = (AtomicUsize::new(0), Arc::new(AtomicUsize::new(0)));
    io.of("/")
        .history("answer-*", ring)
        .on("ask", move |io: Io, ack: Ack| {
            if writing.fetch_add(1, Ordering::Relaxed) >= MAX_WRITING {
                writing.fetch_sub(1, Ordering::Relaxed);
                return;
            }
            let room = format!("answer-{}", asked.fetch_add(1, Ordering::Relaxed));
            ack.send(&room);
            let writing = Arc::clone(&writing);
            tokio::spawn(async move {
                write(&io, &room, pace).await;
                writing.fetch_sub(1, Ordering::Relaxed);
            });
        })
        // Here everybody may read every answer. Yours are not for everybody: check first.
        .on(
            "follow",
            async |socket: Socket, (room, seen): (String, Option<Offset>)| -> Result<Resumed, ResumeError> {
                socket.resume(&room, seen).await
            },
        );
    let reader = io.clone();
    io.on_request(move |request: &HttpRequest<'_>| {
        if !matches!(request.method(), Method::Get | Method::Head) {
            return HttpResponse::new(405).header("Allow", "GET, HEAD");
        }
        match request.path().strip_prefix("/text/") {
            Some(room) => HttpResponse::new(200).body("text/plain; charset=utf-8", Bytes::from(text(&reader, room))),
            None => asset(request.path()),
        }
    });
}

/// Writes an answer into a room.
async fn write(io: &Io, room: &str, pace: Duration) {
    for (number, word) in WORDS.iter().cycle().take(TOKENS).enumerate() {
        io.to(room).emit("token", format!("{number} {word} "));
        tokio::time::sleep(pace).await;
    }
    io.to(room).emit("done", ());
}

/// Returns the text of an answer, as far as it is written, from the history of its room.
fn text(io: &Io, room: &str) -> String {
    let said = io.of("/").room(room).since(None).events;
    let tokens = said.iter().filter(|event| &*event.name == "token");
    tokens.filter_map(|event| event.args.parse::<String>().ok()).collect()
}

fn asset(path: &str) -> HttpResponse {
    let found = ASSETS.iter().find(|(known, ..)| *known == path);
    found.map_or_else(
        || HttpResponse::new(404),
        |(_, kind, bytes)| {
            HttpResponse::new(200)
                .body(kind, Bytes::from_static(bytes))
                .header("Cache-Control", "no-cache")
        },
    )
}
