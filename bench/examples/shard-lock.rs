//! How long a broadcast to 100,000 clients holds the lock of a shard, if there are 64 shards:
//! `cargo run --release -p sio-bench --example shard-lock`.
//!
//! A broadcast takes the lock of one shard after another. Under it, `Shard::broadcast` puts the
//! message into the queues of all members. Then the packets are taken out, for at most
//! [`LINKS_PER_FLUSH`] clients under one hold of the lock. This program measures both parts. The
//! time of the writes does not count, because the server writes without the lock.
#![forbid(unsafe_code)]
#![allow(
    clippy::disallowed_methods,
    clippy::print_stdout,
    reason = "this program measures times and prints them"
)]

use std::time::{Duration, Instant};

use bytes::BytesMut;
use sio_bench::wire::{text, upgrade};
use sio_bench::world::{fill, now};
use sio_proto::Config;
use sio_proto::server::{Delivery, Message, Output, Peer, Server, Target};
use sio_proto::socket::Args;

/// The number of shards.
const SHARDS: usize = 64;
/// The number of clients of all shards together.
const CLIENTS: usize = 100_000;
/// How many broadcasts are measured.
const BROADCASTS: usize = 30;
/// For how many clients packets are taken out at once, as in `sio-app`.
const LINKS_PER_FLUSH: usize = 64;

/// Hands the outputs on, as long as there are any. Everybody is let in.
fn settle(server: &mut Server) {
    while let Some(output) = server.poll_output() {
        if let Output::Delivery(Delivery::Connect { socket, .. }) = output {
            server.shard(now(), |shard, out| shard.accept(now(), socket, out));
        }
    }
}

/// Makes a shard with this number of clients on websockets.
fn crowd(clients: usize) -> Server {
    let server = Server::new(Config::default(), [7; 16], Box::new(fill));
    let mut server = server.expect("the defaults are valid");
    for _ in 0..clients {
        let link = server.open(Peer::default());
        for said in [upgrade("/socket.io/?EIO=4&transport=websocket"), text("40")] {
            server.handle_bytes(now(), link, &mut BytesMut::from(&said[..]));
            settle(&mut server);
        }
    }
    server
}

/// Prints the quantiles of some times.
fn print(name: &str, mut times: Vec<Duration>) {
    times.sort();
    let at = |part: f64| times[((times.len() - 1) as f64 * part) as usize].as_secs_f64() * 1e6;
    println!(
        "{name}: median {:.1} µs, 90 % {:.1} µs, 99 % {:.1} µs, longest {:.1} µs, of {}",
        at(0.5),
        at(0.9),
        at(0.99),
        at(1.0),
        times.len()
    );
}

fn main() {
    let per_shard = CLIENTS.div_ceil(SHARDS);
    let mut shards: Vec<Server> = (0..SHARDS).map(|_| crowd(per_shard)).collect();
    let target = Target {
        namespace: "/".into(),
        ..Target::default()
    };
    let (mut queued, mut taken) = (Vec::new(), Vec::new());
    for _ in 0..BROADCASTS {
        let args = Args {
            json: r#""0123456789abcdef""#.into(),
            ..Args::default()
        };
        let mut message = Message::event("/".into(), "news".into(), args, None);
        for server in &mut shards {
            server.shard(now(), |shard, out| {
                let began = Instant::now();
                shard.broadcast(now(), &target, &mut message, out);
                queued.push(began.elapsed());
                let mut more = true;
                while more {
                    let began = Instant::now();
                    more = shard.flush_ready(now(), LINKS_PER_FLUSH, out);
                    taken.push(began.elapsed());
                    out.writes.clear();
                }
            });
            settle(server);
        }
    }
    println!("{SHARDS} shards of {per_shard} clients, {BROADCASTS} broadcasts");
    print("one hold to queue the message", queued);
    print("one hold to take packets out", taken);
}
