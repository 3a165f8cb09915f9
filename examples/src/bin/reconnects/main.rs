//! A client that loses its server again and again, and shows that nothing is left of its past
//! connections.
//!
//! `reconnects --runtime tokio|async-std --cycles 10000` starts a server in a process of its own,
//! which cuts, refuses, closes, and goes away in turns (`server.rs`). For each way to the server
//! (polling, websocket, polling and upgrade) one client lives through the cycles. After the first
//! half and at the end it leaves its namespace, and the process is looked at: descriptors, threads,
//! tasks of tokio, and memory. If the second half has left more than the first, the program says
//! what, and ends with 1.
//!
//! Client C20, C26.

#![forbid(unsafe_code)]

mod level;
mod server;

use std::future::Future;
use std::process::ExitCode;
use std::time::Duration;

use level::Level;
use sio_app::client::{Client, ClientBuilder, ConnectionState, ConnectionStates, Socket, Transport};
use sio_examples::Arguments;

const USAGE: &str = "usage: reconnects [--runtime tokio|async-std] [--cycles N]";

/// The longest time for one step. Only a failing run waits this long.
const PATIENCE: Duration = Duration::from_secs(30);

type Outcome<T = ()> = Result<T, Box<dyn std::error::Error>>;

/// How to run a client.
#[derive(Clone, Copy)]
struct Runtime {
    builder: fn(&str) -> ClientBuilder,
    sleep: fn(Duration) -> std::pin::Pin<Box<dyn Future<Output = ()> + Send>>,
    /// How many tasks live, where the runtime knows.
    tasks: fn() -> usize,
}

const TOKIO: Runtime = Runtime {
    builder: sio_tokio::Client::builder,
    sleep: |duration| Box::pin(tokio::time::sleep(duration)),
    tasks: || tokio::runtime::Handle::current().metrics().num_alive_tasks(),
};

const ASYNC_STD: Runtime = Runtime {
    builder: sio_async_std::Client::builder,
    sleep: |duration| {
        Box::pin(async move {
            smol::Timer::after(duration).await;
        })
    },
    tasks: || 0,
};

#[expect(clippy::print_stderr, reason = "it says what is left")]
fn main() -> ExitCode {
    if std::env::args().nth(1).as_deref() == Some("serve") {
        return server::run();
    }
    let arguments = Arguments::read(USAGE, &["--runtime", "--cycles"]);
    let cycles = match arguments.value("--cycles").unwrap_or("10000").parse() {
        Ok(cycles) => cycles,
        Err(error) => arguments.refuse(format_args!("--cycles: {error}")),
    };
    let ran = match arguments.value("--runtime").unwrap_or("tokio") {
        "tokio" => on_tokio(cycles),
        "async-std" => smol::block_on(run(ASYNC_STD, cycles)),
        other => arguments.refuse(format_args!("--runtime: {other}")),
    };
    match ran {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

#[tokio::main(worker_threads = 2)]
async fn on_tokio(cycles: u32) -> Outcome {
    run(TOKIO, cycles).await
}

async fn run(runtime: Runtime, cycles: u32) -> Outcome {
    let server = server::Process::start()?;
    for transports in [
        &[Transport::Polling][..],
        &[Transport::WebSocket],
        &[Transport::Polling, Transport::WebSocket],
    ] {
        live(runtime, server.port, transports, cycles).await?;
    }
    Ok(())
}

/// One client's life.
#[expect(clippy::print_stdout, reason = "it is what the program is for")]
async fn live(runtime: Runtime, port: u16, transports: &[Transport], cycles: u32) -> Outcome {
    let builder = (runtime.builder)(&format!("http://127.0.0.1:{port}"));
    let client = builder
        .no_proxy()
        .transports(transports.iter().copied())
        .config(|config| {
            let delay = Duration::from_millis(1);
            config
                .reconnection_delay(delay)
                .reconnection_delay_max(delay)
                .connect_timeout(Duration::from_secs(2))
                .max_attempts_per_minute(1_000_000)
                .upgrade_pause(Duration::ZERO)
        })
        .build()?;
    let socket = client.of("/")?;
    socket.on("said", |_: Socket, text: String| drop(text));
    let mut levels = Vec::new();
    for _ in 0..2 {
        attempt(runtime, &client, &socket, cycles / 2).await?;
        levels.push(Level::read((runtime.tasks)())?);
    }
    let names: Vec<&str> = transports.iter().map(|transport| transport.as_str()).collect();
    let (half, whole) = (&levels[0], &levels[1]);
    println!(
        "{}: after {} cycles {half}; after {cycles} {whole}",
        names.join(", "),
        cycles / 2
    );
    client.close();
    whole
        .compare(half)
        .map_err(|left| format!("{}: {left}", names.join(", ")).into())
}

/// Connects, lives through this number of attempts, and leaves.
async fn attempt(runtime: Runtime, client: &Client, socket: &Socket, cycles: u32) -> Outcome {
    let mut states = client.states();
    socket.connect()?;
    let mut attempts = 0_u32;
    while attempts < cycles {
        match next(runtime, &mut states).await? {
            ConnectionState::Connecting(_) => {
                attempts += 1;
                socket.volatile().emit("say", "x".repeat(100)).unwrap_or_default();
                // It waits until a namespace is connected, and may be lost with its connection.
                if attempts.is_multiple_of(10) {
                    socket.emit("say", "y".repeat(1000))?;
                }
            }
            // The server has made the client leave, as it does with some.
            ConnectionState::Stopped(_) => socket.connect()?,
            _ => {}
        }
    }
    socket.disconnect();
    socket.clear_pending();
    while !matches!(next(runtime, &mut states).await?, ConnectionState::Stopped(_)) {}
    // The task closes its last connections.
    (runtime.sleep)(Duration::from_millis(100)).await;
    Ok(())
}

async fn next(runtime: Runtime, states: &mut ConnectionStates) -> Outcome<ConnectionState> {
    let (state, sleeping) = (states.next_state(), (runtime.sleep)(PATIENCE));
    match futures_util::future::select(std::pin::pin!(state), sleeping).await {
        futures_util::future::Either::Left((Some(state), _)) => Ok(state),
        futures_util::future::Either::Left((None, _)) => Err("the client has closed".into()),
        futures_util::future::Either::Right(_) => Err("nothing has happened for 30 s".into()),
    }
}
