//! Sends to the clients of a running cluster from the command line. There is no server in this
//! program: Redis takes the message, and the servers of the cluster, also those of Node.js, bring
//! it to their clients.
//!
//! ```text
//! emitter --redis redis://127.0.0.1:6379 --event news --args '["hello", 1]'
//! emitter --redis redis://127.0.0.1:6379 --to blue,green --except away --event news
//! emitter --redis redis://127.0.0.1:6379 --to blue --join green
//! ```
//! Bytes among the arguments are written `{"$b":"hex"}`.

#![forbid(unsafe_code)]
#![expect(clippy::print_stderr, reason = "it says why it fails")]

use std::process::ExitCode;

use sio_examples::{Arguments, JsonArgs};
use sio_tokio::redis::{Emitter, Recipients};
use sio_tokio::{Cluster, ClusterKind, ShardedMode, StreamsConfig};

const USAGE: &str = "\
usage: emitter --redis URL [OPTIONS] ACTION

--adapter NAME        classic, sharded, sharded-static or streams: the adapter of the servers;
                      classic is the default
--prefix KEY          what the names of channels begin with; socket.io is the default
--of NAMESPACE        / is the default
--to ROOMS            the members of these rooms, separated by commas; all sockets are the default
--except ROOMS        without the members of these rooms
--volatile yes        only clients that can take the message now

An action is one of:
--event NAME          sends an event, with the JSON array of --args
--server-event NAME   sends an event to the servers, with the JSON array of --args
--join ROOMS          makes the sockets join rooms
--leave ROOMS         makes the sockets leave rooms
--disconnect SCOPE    ends the sockets: namespace, or connection for their whole connections";

const OPTIONS: [&str; 13] = [
    "--redis",
    "--adapter",
    "--prefix",
    "--of",
    "--to",
    "--except",
    "--volatile",
    "--event",
    "--server-event",
    "--args",
    "--join",
    "--leave",
    "--disconnect",
];

#[tokio::main]
async fn main() -> ExitCode {
    let arguments = Arguments::read(USAGE, &OPTIONS);
    match run(&arguments).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("emitter: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn run(arguments: &Arguments) -> Result<(), Box<dyn std::error::Error>> {
    let Some(url) = arguments.value("--redis") else {
        arguments.refuse("--redis is missing");
    };
    let mut cluster = Cluster::from_url(url)?.kind(kind(arguments));
    if let Some(prefix) = arguments.value("--prefix") {
        cluster = cluster.prefix(prefix);
    }
    let emitter = Emitter::with_cluster(&cluster)?;
    act(arguments, recipients(arguments, &emitter))?;
    // Without this, the process could end before Redis has the message.
    emitter.close().await?;
    Ok(())
}

fn kind(arguments: &Arguments) -> ClusterKind {
    match arguments.value("--adapter") {
        None | Some("classic") => ClusterKind::Classic,
        Some("sharded") => ClusterKind::Sharded {
            mode: Default::default(),
        },
        Some("sharded-static") => ClusterKind::Sharded {
            mode: ShardedMode::Static,
        },
        Some("streams") => ClusterKind::Streams(StreamsConfig::default()),
        Some(other) => arguments.refuse(format_args!("no adapter is called {other:?}")),
    }
}

fn recipients(arguments: &Arguments, emitter: &Emitter) -> Recipients {
    let mut recipients = emitter.of(arguments.value("--of").unwrap_or("/"));
    if let Some(rooms) = arguments.value("--to") {
        recipients = recipients.to(rooms.split(','));
    }
    if let Some(rooms) = arguments.value("--except") {
        recipients = recipients.except(rooms.split(','));
    }
    match arguments.value("--volatile") {
        None => recipients,
        Some("yes") => recipients.volatile(),
        Some(other) => arguments.refuse(format_args!("--volatile: {other:?} is not yes")),
    }
}

fn act(arguments: &Arguments, recipients: Recipients) -> Result<(), Box<dyn std::error::Error>> {
    let actions = ["--event", "--server-event", "--join", "--leave", "--disconnect"];
    let given: Vec<_> = actions
        .iter()
        .filter_map(|name| Some((*name, arguments.value(name)?)))
        .collect();
    let args = JsonArgs(arguments.value("--args").map_or(Ok(Vec::new()), serde_json::from_str)?);
    match given[..] {
        [("--event", name)] => recipients.emit(name, args)?,
        [("--server-event", name)] => recipients.server_side_emit(name, args)?,
        [("--join", rooms)] => recipients.join(rooms.split(','))?,
        [("--leave", rooms)] => recipients.leave(rooms.split(','))?,
        [("--disconnect", "namespace")] => recipients.disconnect()?,
        [("--disconnect", "connection")] => recipients.close()?,
        [("--disconnect", other)] => arguments.refuse(format_args!("--disconnect: {other:?} is no scope")),
        _ => arguments.refuse("exactly one action is needed"),
    }
    Ok(())
}
