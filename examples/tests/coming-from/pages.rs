//! The Rust blocks of the pages about one matter each, as they stand there.

use std::collections::HashMap;
use std::future::ready;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, UNIX_EPOCH};

use serde::Deserialize;
use sio_store::Disk;
use sio_tokio::{
    Auth, Client, Cluster, Comeback, Config, Excess, Handover, Hosts, Options, Policy, RateLimit, RecoveryConfig,
    Refusal, Server, Socket, handover,
};
use tokio::net::TcpListener;

type Outcome = Result<(), Box<dyn std::error::Error>>;

#[derive(Deserialize)]
struct Shown {
    token: String,
}

struct Claims {
    exp: u64,
    sub: String,
}

#[derive(Deserialize)]
struct Named {
    name: String,
}

struct User(String);

struct Database;

impl Database {
    fn lock_out(&self, name: &str) -> io::Result<()> {
        Ok(())
    }
}

fn verify(token: &str) -> Result<Claims, Refusal> {
    Err(Refusal::new("no token"))
}

fn asked_to_end() -> io::Result<impl Future<Output = ()> + Send + 'static> {
    Ok(ready(()))
}

mod cluster {
    use sio_tokio::{Cluster, Config, Options, Server, Socket};

    #[tokio::main]
    async fn main() -> Result<(), Box<dyn std::error::Error>> {
        let cluster = Cluster::from_url("redis://127.0.0.1:6379")?;
        let io = Server::with_options(Config::default(), Options::default().cluster(cluster))?;
        io.of("/").on("chat", |socket: Socket, text: String| {
            socket.broadcast().emit("chat", text)
        });
        io.listen("127.0.0.1:3000").await?;
        Ok(())
    }

    async fn emitter() -> super::Outcome {
        use sio_tokio::redis::Emitter;

        let emitter = Emitter::connect("redis://redis.example:6379")?;
        emitter.to("eu").except("away").emit("news", ("hello", 1))?;
        emitter.of("/admin").to("guests").join("lobby")?;
        emitter.server_side_emit("reload", "prices")?;
        emitter.close().await?;
        Ok(())
    }
}

fn clusters() -> Outcome {
    {
        let cluster = Cluster::from_url("redis://redis.example:6379")?.without_sticky_sessions();
    }
    let cluster = Cluster::from_url("rediss://redis.example")?.secret(std::env::var("CLUSTER_SECRET")?);
    Ok(())
}

fn credentials(io: &Server, database: &Database) -> Outcome {
    {
        io.of("/").with(|socket: Socket, Auth(shown): Auth<Shown>| {
            let claims = verify(&shown.token)?;
            socket.expires_at(UNIX_EPOCH + Duration::from_secs(claims.exp));
            socket.set_data(User(claims.sub));
            Ok::<_, Refusal>(())
        });
    }
    {
        io.of("/").on("auth", |socket: Socket, token: String| {
            let claims = verify(&token)?;
            if socket.data::<User>().is_none_or(|user| user.0 != claims.sub) {
                return Err(Refusal::new("the token of another user"));
            }
            socket.expires_at(UNIX_EPOCH + Duration::from_secs(claims.exp));
            Ok(())
        });
    }
    database.lock_out("ada")?;
    io.revoke(|socket| socket.data::<User>().is_some_and(|user| user.0 == "ada"));
    Ok(())
}

#[allow(
    clippy::unwrap_used,
    reason = "an example, whose handlers do not panic under the lock"
)]
fn newest_wins(io: &Server) {
    use Named as User;

    let users = Arc::new(Mutex::new(HashMap::<String, Socket>::new()));
    let (held, left) = (Arc::clone(&users), Arc::clone(&users));
    io.of("/")
        .on_connect(move |socket: Socket, Auth(user): Auth<User>| {
            let before = held.lock().unwrap().insert(user.name, socket);
            if let Some(before) = before {
                let _ = before.emit("replaced", ());
                before.disconnect();
            }
        })
        .on_disconnect(move |socket: Socket| {
            left.lock().unwrap().retain(|_, held| held.id() != socket.id());
        });
}

async fn same_socket() -> Outcome {
    let options = Options::default()
        .handover(Handover::SameSocket)
        .shutdown_drain(Duration::from_secs(1));
    let io = Server::with_options(Config::default(), options)?;
    let listener = match handover::inherited()?.pop() {
        Some(listener) => listener,
        None => TcpListener::bind("127.0.0.1:3000").await?, // started by hand
    };
    io.serve(listener).with_graceful_shutdown(asked_to_end()?).await?;
    Ok(())
}

async fn same_port(address: SocketAddr, recovery: RecoveryConfig) -> Outcome {
    let listener = handover::bind(address)?; // clients wait in the queue from now on
    let store = Disk::at("/var/lib/chat").wait(Duration::from_secs(30)).open()?; // waits for the old process
    let options = Options::default()
        .handover(Handover::SamePort)
        .recovery(recovery)
        .store(Arc::new(store));
    let io = Server::with_options(Config::default(), options)?;
    io.serve(listener).with_graceful_shutdown(asked_to_end()?).await?;
    Ok(())
}

async fn flow_control(io: &Server, socket: &Socket, player: &str, token: &str, rows: Vec<u32>) -> Outcome {
    let (x, y) = (1, 2);
    io.to("game")
        .policy(Policy::newest(player))
        .emit("position", (player, x, y));
    socket.policy(Policy::append("answer")).emit("token", token);
    io.of("/").event_policy("log", Policy::DROP_OLDEST);
    for row in rows {
        socket.ready().await?;
        socket.emit("row", row)?;
    }
    let config = Config::default().session_rate(RateLimit::NONE.events(100, 500).bytes(100_000, 1_000_000));
    io.of("/chat")
        .rate(RateLimit::NONE.events(5, 20).excess(Excess::Disconnect));
    Ok(())
}

mod history {
    use sio_tokio::{Io, Offset, ResumeError, Ring, Socket};

    fn register(io: &Io) {
        io.of("/").history("answer-*", Ring::default()).on(
            "follow",
            async |socket: Socket, (answer, seen): (String, Option<Offset>)| -> Result<(), ResumeError> {
                // Who may read this room? Decide here.
                socket.resume(&answer, seen).await?;
                Ok(())
            },
        );
    }
}

fn proxy() -> Outcome {
    let config = Config::default()
        .hosts(Hosts::list(["chat.example", "localhost"])?) // public names; localhost for health checks
        .behind_tls(true) // if the proxy removes TLS, and all clients use TLS
        // All clients have the proxy's address: limit them at the proxy.
        .max_sessions_per_address(100_000)
        .max_kept_bytes_per_address(240 << 20);
    let options = Options::default()
        .max_connections_per_address(100_000)
        .max_receiving_bytes_per_address(512 << 20)
        .max_waiting_events_per_address(1_000_000)
        .max_waiting_bytes_per_address(256 << 20)
        .max_waiting_requests_per_address(4_096);
    Ok(())
}

fn recovery() -> Outcome {
    let recovery = RecoveryConfig::default().window(Duration::from_secs(60));
    let io = Server::with_options(Config::default(), Options::default().recovery(recovery))?;
    io.of("/").on_connect(|socket: Socket| match socket.recovery() {
        Comeback::Recovered { missed } => println!("{} is back, and had missed {missed}", socket.id()),
        Comeback::Lost(why) => println!("{} begins again: {why}", socket.id()),
        _ => println!("{} is new", socket.id()),
    });
    let client = Client::builder("https://chat.example")
        .config(|config| config.confirm_events(true))
        .build()?;
    let store = Disk::at("/var/lib/chat").wait(Duration::from_secs(30)).open()?;
    let options = Options::default()
        .recovery(RecoveryConfig::default())
        .store(Arc::new(store));
    Ok(())
}

/// Compiled where all features are: by the lints of `cargo xtask check`.
#[cfg(feature = "transcript")]
mod transcript {
    use sio_proto::server::transcript::{Detail, RecorderOptions};

    fn example(shard: &mut sio_proto::server::Shard) {
        shard.start_transcript(RecorderOptions::default().detail(Detail::Full));
        // … the shard works …
        let text: String = shard.take_transcript(); // the lines since the last call
    }
}

/// Newcomers: every Rust block of these pages is compiled here, comments included.
#[test]
fn every_block_compiles() {
    let compiled = super::bare(include_str!("pages.rs"));
    for (page, least) in [
        (include_str!("../../../docs/cluster.md"), 4),
        (include_str!("../../../docs/credentials.md"), 4),
        (include_str!("../../../docs/deploy.md"), 2),
        (include_str!("../../../docs/flow-control.md"), 3),
        (include_str!("../../../docs/history.md"), 1),
        (include_str!("../../../docs/proxy.md"), 1),
        (include_str!("../../../docs/recovery.md"), 3),
        (include_str!("../../../docs/transcript.md"), 1),
    ] {
        let mut blocks = 0;
        for block in page.split("```rust\n").skip(1) {
            let (code, _) = block.split_once("```").expect("a block that ends");
            // What rustdoc hides is compiled, too.
            let code: Vec<&str> = code
                .lines()
                .map(|line| line.strip_prefix("# ").unwrap_or(line))
                .collect();
            let code = code.join("\n");
            assert!(compiled.contains(&super::bare(&code)), "{code}");
            blocks += 1;
        }
        assert!(blocks >= least, "{blocks} blocks");
    }
}

/// A page with Rust blocks that stands in no list is found.
#[test]
fn no_page_is_left_out() {
    let lists = [include_str!("pages.rs"), include_str!("../coming-from.rs")].concat();
    let docs = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs");
    let mut pages = 0;
    for entry in std::fs::read_dir(docs).expect("the folder of the pages") {
        let path = entry.expect("an entry").path();
        if path.extension().is_some_and(|extension| extension == "md") {
            let text = std::fs::read_to_string(&path).expect("a page");
            let name = path.file_name().expect("a name").to_string_lossy().into_owned();
            if text.contains("```rust\n") {
                assert!(lists.contains(&format!("docs/{name}")), "{name}");
                pages += 1;
            }
        }
    }
    assert!(pages >= 8, "{pages} pages");
}
