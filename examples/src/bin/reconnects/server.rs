//! The server that the client loses, in a process of its own, so that nothing of it counts for the
//! client.
//!
//! A real server stands behind a relay. The relay treats its connections in turns: it closes some
//! at once, answers some with 503 or with half a response, and cuts the others after some bytes or
//! some milliseconds. From time to time it gives its port up for a moment. The server itself closes
//! some of its clients.
#![expect(clippy::disallowed_methods, reason = "the relay blocks, on threads of its own")]

use std::io::{BufRead as _, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, ExitCode, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use sio_tokio::{Config, Options, Server, Socket};

/// How long a connection may be silent before it is cut.
const SILENCE: Duration = Duration::from_millis(20);

/// How many connections are treated until the port is given up for a moment.
const UNTIL_RESTART: u64 = 50;

/// The server's process, which ends with this value.
pub(crate) struct Process {
    child: Child,
    pub(crate) port: u16,
}

impl Process {
    pub(crate) fn start() -> std::io::Result<Self> {
        let mut child = Command::new(std::env::current_exe()?)
            .arg("serve")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let mut line = String::new();
        if let Some(out) = child.stdout.take() {
            std::io::BufReader::new(out).read_line(&mut line)?;
        }
        let port = line.trim().parse().map_err(std::io::Error::other)?;
        Ok(Self { child, port })
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Serves until the standard input ends, which it does when the client's process ends.
#[tokio::main(worker_threads = 2)]
pub(crate) async fn run() -> ExitCode {
    match serve().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}

#[expect(clippy::print_stdout, reason = "it says where it is")]
async fn serve() -> Result<(), Box<dyn std::error::Error>> {
    let config = Config::default()
        .ping_interval(Duration::from_millis(500))
        .ping_timeout(Duration::from_millis(500));
    let server = Server::with_options(config, Options::default().shards(1))?;
    let turn = AtomicU64::new(0);
    server
        .of("/")
        .on_connect(move |socket: Socket| {
            if turn.fetch_add(1, Ordering::Relaxed).is_multiple_of(4) {
                socket.close();
            }
        })
        .on("say", |socket: Socket, text: String| socket.emit("said", text));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    let behind = listener.local_addr()?;
    let relay = TcpListener::bind("127.0.0.1:0")?;
    println!("{}", relay.local_addr()?.port());
    thread::spawn(move || treat(relay, behind));
    let ended = tokio::task::spawn_blocking(|| std::io::copy(&mut std::io::stdin(), &mut std::io::sink()));
    server
        .serve(listener)
        .with_graceful_shutdown(async { drop(ended.await) })
        .await?;
    Ok(())
}

/// Treats all connections, each on a thread of its own.
fn treat(mut relay: TcpListener, behind: SocketAddr) {
    let Ok(address) = relay.local_addr() else { return };
    for turn in 1_u64.. {
        if turn.is_multiple_of(UNTIL_RESTART) {
            drop(relay);
            thread::sleep(Duration::from_millis(5));
            // Only this process knows the port, so it is still free.
            match TcpListener::bind(address) {
                Ok(bound) => relay = bound,
                Err(_) => return,
            }
        }
        if let Ok((client, _)) = relay.accept() {
            thread::spawn(move || treat_one(turn, client, behind));
        }
    }
}

fn treat_one(turn: u64, mut client: TcpStream, behind: SocketAddr) -> Option<()> {
    client.set_read_timeout(Some(SILENCE)).ok()?;
    match turn % 8 {
        0 => None,
        1 => say(client, b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n"),
        2 => say(client, b"HTTP/1.1 200 OK\r\nContent-Le"),
        _ => {
            let mut server = TcpStream::connect(behind).ok()?;
            let (mut from_client, mut to_server) = (client.try_clone().ok()?, server.try_clone().ok()?);
            thread::spawn(move || {
                let mut buffer = [0; 4096];
                while let Ok(read @ 1..) = from_client.read(&mut buffer) {
                    if to_server.write_all(&buffer[..read]).is_err() {
                        break;
                    }
                }
            });
            server.set_read_timeout(Some(SILENCE)).ok()?;
            // Different for every connection, and the same in every run.
            let mut left = (turn * 7919 % 3000) as usize;
            let mut buffer = [0; 4096];
            while let Ok(read @ 1..) = server.read(&mut buffer) {
                let passed = read.min(left);
                client.write_all(&buffer[..passed]).ok()?;
                left -= passed;
                if left == 0 {
                    break;
                }
            }
            let _ = client.shutdown(Shutdown::Both);
            let _ = server.shutdown(Shutdown::Both);
            Some(())
        }
    }
}

/// Waits for a request, and answers it with these bytes.
fn say(mut client: TcpStream, bytes: &[u8]) -> Option<()> {
    let _ = client.read(&mut [0; 4096]).ok()?;
    client.write_all(bytes).ok()
}
