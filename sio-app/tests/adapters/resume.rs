//! Clients of 0.6 over real sockets, whose connections are cut again and again, come back to their
//! sessions and get a numbered stream of messages (docs/protocol/legacy-0.6.md §18).

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::mpsc;
use std::time::Duration;

use sio_app::{Config, Options, Socket, Unsent};

use super::{PATIENCE, Served, dial, heard, serve_with};

/// How often the connection of each client is cut.
const CUTS: usize = 200;
/// In every so many rounds the client reads nothing until the server cannot write any more.
const STALL_EVERY: usize = 40;

/// Starts a server that tells of its sockets.
fn start() -> (Served, mpsc::Receiver<Socket>) {
    let (tell, told) = mpsc::channel();
    let mut config = Config::default();
    config.legacy06.reconnect_timeout = Duration::from_secs(60);
    let served = serve_with(config, Options::default(), move |io| {
        let tell = std::sync::Mutex::new(tell);
        io.of("/").on_connect(move |socket: Socket| {
            let _ = tell.lock().unwrap().send(socket);
        });
    });
    (served, told)
}

/// Sends the next numbers of a stream. Returns false if the queue is full.
fn send(socket: &Socket, next: &mut u64, bytes: usize) -> bool {
    let text = format!("m{next}e{}", "x".repeat(bytes));
    match socket.try_emit("message", (text,)) {
        Ok(()) => {
            *next += 1;
            true
        }
        Err(Unsent { args: (text,), .. }) => {
            assert!(text.starts_with(&format!("m{next}e")), "the message comes back");
            false
        }
    }
}

/// The client's side: what it has read on its connection, and the numbers that have arrived.
#[derive(Default)]
struct Reader {
    read: Vec<u8>,
    arrived: Vec<u64>,
}

impl Reader {
    /// Reads at most this many bytes, until there is nothing more for a moment.
    fn read_some(&mut self, stream: &mut TcpStream, most: usize) {
        stream.set_read_timeout(Some(Duration::from_millis(5))).unwrap();
        let mut piece = vec![0; most];
        let mut count = 0;
        while count < most {
            match stream.read(&mut piece[count..]) {
                Ok(0) | Err(_) => break,
                Ok(read) => count += read,
            }
        }
        self.read.extend_from_slice(&piece[..count]);
    }

    /// Takes the complete frames of a websocket out of what was read.
    fn take_frames(&mut self) {
        let mut rest = &self.read[..];
        while let [_, short, after @ ..] = rest {
            let (length, after) = match (short & 127, after) {
                (126, [high, low, after @ ..]) => (usize::from(u16::from_be_bytes([*high, *low])), after),
                (127, _) => match after.split_first_chunk::<8>() {
                    Some((length, after)) => (u64::from_be_bytes(*length) as usize, after),
                    None => break,
                },
                (126, _) => break,
                (length, after) => (usize::from(length), after),
            };
            let Some((payload, after)) = after.split_at_checked(length) else {
                break;
            };
            self.arrived.extend(numbers(payload));
            rest = after;
        }
        self.read = rest.to_vec();
    }

    /// Checks the order, and that no more are missing than the server has counted.
    fn check(&self, sent: u64, served: &Served) {
        let arrived = &self.arrived;
        assert!(
            arrived.windows(2).all(|pair| pair[0] < pair[1]),
            "in order, and none twice"
        );
        assert_eq!(arrived.last().copied(), sent.checked_sub(1), "the last one arrives");
        let (missing, counted) = (sent - arrived.len() as u64, served.io.metrics().sessions.unconfirmed);
        assert!(missing <= counted, "{missing} missing of {sent}, {counted} counted");
    }
}

/// The numbers in a payload: `m17e`.
fn numbers(payload: &[u8]) -> Vec<u64> {
    let text = String::from_utf8_lossy(payload).into_owned();
    let digits = text.split('m').filter_map(|part| part.split_once('e'));
    digits.filter_map(|(digits, _)| digits.parse().ok()).collect()
}

/// Opens a websocket, and reads the head of the answer.
fn open_websocket(served: &Served, id: &str) -> TcpStream {
    let mut stream = dial(served.address);
    let request = format!(
        "GET /socket.io/websocket/{id} HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).unwrap();
    let (mut head, mut byte) = (Vec::new(), [0]);
    while !head.ends_with(b"\r\n\r\n") {
        stream.read_exact(&mut byte).unwrap();
        head.push(byte[0]);
    }
    assert!(head.starts_with(b"HTTP/1.1 101"), "{}", String::from_utf8_lossy(&head));
    stream
}

/// Numbers that look random, and are the same in every run.
fn below(round: usize, end: usize) -> usize {
    round.wrapping_mul(2_654_435_761) / 7 % end
}

/// A session of 0.6 outlives its websocket.
#[test]
fn a_websocket_that_is_cut_at_any_byte_loses_no_more_than_is_counted() {
    let (served, told) = start();
    let mut stream = open_websocket(&served, "");
    let socket = heard(&told);
    let (mut reader, mut next) = (Reader::default(), 0);
    let mut frame = [0; 2 + 8 + 39];
    stream.read_exact(&mut frame[..2]).unwrap();
    let length = usize::from(frame[1]);
    stream.read_exact(&mut frame[..length]).unwrap();
    let id = String::from_utf8(frame[length - 39..length].to_vec()).unwrap();
    for round in 0..CUTS {
        if round % STALL_EVERY == STALL_EVERY - 1 {
            // The server learns that nothing more can be written, and what is behind waits.
            while served.io.metrics().queued_bytes == 0 {
                send(&socket, &mut next, 60_000);
            }
            send(&socket, &mut next, 100);
        }
        for number in 0..below(round, 12) {
            send(&socket, &mut next, below(round + number, 3_000));
        }
        reader.read_some(&mut stream, below(round, 9_000));
        reader.take_frames();
        reader.read.clear();
        drop(stream);
        stream = open_websocket(&served, &id);
    }
    while !send(&socket, &mut next, 0) {
        reader.read_some(&mut stream, 1 << 16);
    }
    let begun = std::time::Instant::now();
    while reader.arrived.last().copied() != next.checked_sub(1) {
        assert!(begun.elapsed() < PATIENCE, "{:?} of {next}", reader.arrived.last());
        reader.read_some(&mut stream, 1 << 16);
        reader.take_frames();
    }
    reader.check(next, &served);
}

/// A session of 0.6 outlives its polls.
#[test]
fn polls_that_are_cut_at_any_byte_lose_no_more_than_is_counted() {
    let (served, told) = start();
    let mut stamp = 1_795_447_966_000_u64;
    let ask = |id: &str, stamp: u64| {
        let mut stream = dial(served.address);
        let request = format!("GET /socket.io/xhr-polling/{id}/{stamp} HTTP/1.1\r\nHost: localhost\r\n\r\n");
        stream.write_all(request.as_bytes()).unwrap();
        stream
    };
    let mut stream = ask("", stamp);
    let socket = heard(&told);
    let (mut reader, mut next) = (Reader::default(), 0);
    let complete = |read: &[u8]| {
        let head = read.windows(4).position(|w| w == b"\r\n\r\n")? + 4;
        let text = std::str::from_utf8(&read[..head]).unwrap();
        assert!(text.starts_with("HTTP/1.1 200"), "{text}");
        let length = text
            .split("Content-Length: ")
            .nth(1)?
            .split("\r\n")
            .next()?
            .parse::<usize>()
            .ok()?;
        (read.len() >= head + length).then(|| read[head..].to_vec())
    };
    let id = loop {
        reader.read_some(&mut stream, 1 << 12);
        if let Some(body) = complete(&reader.read) {
            break String::from_utf8(body[body.len() - 39..].to_vec()).unwrap();
        }
    };
    let begun = std::time::Instant::now();
    let (mut round, mut came) = (0, false);
    loop {
        if round < CUTS {
            for number in 0..1 + below(round, 12) {
                send(&socket, &mut next, below(round + number, 30_000));
            }
        } else if reader.arrived.last().copied() == next.checked_sub(1) {
            break;
        }
        assert!(begun.elapsed() < 6 * PATIENCE, "{:?} of {next}", reader.arrived.last());
        reader.read.clear();
        drop(stream);
        stamp += 1;
        stream = ask(&id, stamp);
        let most = if round < CUTS { below(round, 60_000) } else { 1 << 22 };
        let asked = std::time::Instant::now();
        if round == CUTS || round > CUTS && !came {
            // What was answered on a connection that is dropped is lost, and counted, also if it is
            // the last message. So another one follows.
            send(&socket, &mut next, 0);
        }
        loop {
            reader.read_some(&mut stream, most);
            if round < CUTS || complete(&reader.read).is_some() || asked.elapsed() > PATIENCE / 20 {
                break;
            }
        }
        let body = complete(&reader.read);
        came = body.is_some();
        reader.arrived.extend(body.iter().flat_map(|body| numbers(body)));
        round += 1;
    }
    reader.check(next, &served);
}
