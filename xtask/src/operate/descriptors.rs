//! A server process that has no descriptors left for new connections.

use super::Stage;
use super::peers::{Kind, Peer};
use crate::failure::{Failure, Outcome, While};
use crate::process::{open_descriptors, processor_seconds};
use std::net::{Ipv4Addr, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

/// The server's limit of descriptors: its own files, and a few dozen connections.
const DESCRIPTORS: usize = 64;

/// How many clients connect: far more than the server can accept, and fewer than the backlog holds.
const CROWD: usize = 150;

/// How long the server is watched while it cannot accept connections.
const WATCHED: Duration = Duration::from_secs(3);

/// How much of one processor the server may use meanwhile, in percent.
const MOST_PERCENT: f64 = 10.0;

pub(super) fn run(stage: &Stage) -> Outcome {
    let (mut server, port) = stage.start(DESCRIPTORS)?;
    let mut client = Peer::join(Kind::WebSocket4, port)?;
    let mut crowd = Vec::new();
    for _ in 0..CROWD {
        crowd.push(TcpStream::connect((Ipv4Addr::LOCALHOST, port)).when("joining the crowd")?);
    }
    wait_until_exhausted(server.id())?;

    let (began, used_before) = (Instant::now(), processor_seconds(server.id())?);
    let mut echoes = 0;
    while began.elapsed() < WATCHED {
        client.echo(&format!("still here {echoes}"))?;
        echoes += 1;
        thread::sleep(Duration::from_millis(100));
    }
    server.assert_alive()?;
    if open_descriptors(server.id())? < DESCRIPTORS {
        return Err(Failure::new("the crowd has gone before its time, and proves nothing"));
    }
    let used = processor_seconds(server.id())? - used_before;
    let percent = used / began.elapsed().as_secs_f64() * 100.0;
    println!("without descriptors: {echoes} echoes, {percent:.1} % of a processor");
    if percent > MOST_PERCENT {
        return Err(Failure::new(format!(
            "the server spins: it uses {percent:.1} % of a processor"
        )));
    }

    drop(crowd);
    let freed = Instant::now();
    Peer::join(Kind::WebSocket4, port)?.echo("new")?;
    client.echo("old")?;
    println!(
        "a new client has joined {:.2} s after the crowd has gone",
        freed.elapsed().as_secs_f32()
    );
    drop(client);
    server.stop()
}

fn wait_until_exhausted(process: u32) -> Outcome {
    let deadline = Instant::now() + Duration::from_secs(10);
    while open_descriptors(process)? < DESCRIPTORS {
        if Instant::now() > deadline {
            return Err(Failure::new("the crowd does not exhaust the server's descriptors"));
        }
        thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}
