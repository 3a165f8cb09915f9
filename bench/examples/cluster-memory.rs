//! What a server of a cluster holds for each client beyond what a server alone holds, if each
//! client is in a room of its own: the channel of its id and that of its room, in the tables of the
//! node and of the connection to the broker:
//! `cargo run --release -p sio-bench --example cluster-memory`.
//!
//! The memory is what the operating system says of this process (`/proc/self/statm`, so Linux
//! only).
#![forbid(unsafe_code)]
#![allow(clippy::print_stdout, reason = "this program prints what it measures")]

use sio_app::{Io, Options, Socket};
use sio_bench::client::Client;
use sio_bench::wire::text;
use sio_bench::{redis, world};

/// How many clients each server has.
const CLIENTS: u64 = 20_000;
/// The size of a page, in bytes.
const PAGE: u64 = 4096;

/// The bytes of this process that are in memory.
fn held() -> u64 {
    let sizes = std::fs::read_to_string("/proc/self/statm").expect("the kernel says what is held");
    let pages = sizes.split(' ').nth(1).and_then(|pages| pages.parse::<u64>().ok());
    pages.expect("the second number is of pages in memory") * PAGE
}

/// Bytes for each client of a server.
fn measure(io: &Io) -> u64 {
    let before = held();
    io.of("/").on("join", |socket: Socket, name: String| {
        let _ = socket.join(name);
    });
    let clients: Vec<Client> = (0..CLIENTS)
        .map(|number| {
            let mut client = Client::of_4(io);
            client.say(&text(&format!(r#"42["join","room-{number:08}"]"#)));
            redis::run_woken();
            client
        })
        .collect();
    assert_eq!(io.sockets().len(), clients.len());
    let bytes = (held() - before) / CLIENTS;
    // The clients stay, so that nothing of them is used again by the next measurement.
    std::mem::forget(clients);
    bytes
}

fn main() {
    let alone = measure(&world::server(Options::default()));
    let together = measure(&redis::server(Options::default(), None));
    println!("{CLIENTS} clients, each in a room of its own");
    println!("a server alone: {alone} bytes a client, its client of this program included");
    println!(
        "a server of a cluster: {together}, {} more",
        together.saturating_sub(alone)
    );
}
