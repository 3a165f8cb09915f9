//! Messages that are small when they arrive and large when they are sent on.

use crate::failure::{Failure, Outcome};
use crate::hostile::clients;
use crate::hostile::field::{ATTACKER, Field};
use crate::hostile::peer::Peer;
use crate::hostile::wire;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

/// The most bytes of a packet, and of its attachment.
const MEGABYTE: usize = 1_000_000;

pub(super) fn placeholders_17(field: &Field) -> Outcome {
    placeholders(field, 17)
}

pub(super) fn placeholders_800(field: &Field) -> Outcome {
    placeholders(field, 800)
}

pub(super) fn placeholders_15000(field: &Field) -> Outcome {
    placeholders(field, 15_000)
}

/// One sender, and recipients of 4.x, 2.x and 0.9. The recipients read everything, and must still
/// be connected afterwards.
fn placeholders(field: &Field, count: usize) -> Outcome {
    let recipients = [
        Recipient::start("4.x", clients::join4(ATTACKER, field.port, None)?, "42[\"echo\"]")?,
        Recipient::start("2.x", clients::join3(ATTACKER, field.port, None)?, "42[\"echo\"]")?,
        Recipient::start(
            "0.9",
            clients::join09(ATTACKER, field.port, None)?,
            r#"5:::{"name":"echo"}"#,
        )?,
    ];
    let mut sender = clients::join4(ATTACKER, field.port, None)?;
    for event in ["cast", "castall", "echo"] {
        let packet = wire::text(&wire::placeholders(event, count));
        let attachment = wire::frame(wire::BINARY, vec![0; MEGABYTE - 1000]);
        // The server may end the sender. Then another sender takes its place.
        let said = sender.say(packet).and_then(|()| sender.say(attachment));
        let ended = said.is_err() || sender.drain(Duration::from_millis(300));
        if ended {
            field.count(&sender);
            sender = clients::join4(ATTACKER, field.port, None)?;
        }
    }
    field.count(&sender);
    for recipient in recipients {
        if let Err(why) = recipient.end() {
            field.finding(why.to_string());
        }
    }
    Ok(())
}

/// A client that reads everything in its own thread, and must still get an answer at the end.
struct Recipient {
    kind: &'static str,
    question: &'static str,
    writer: Peer,
    stop: Arc<AtomicBool>,
    reading: JoinHandle<bool>,
}

impl Recipient {
    fn start(kind: &'static str, writer: Peer, question: &'static str) -> Outcome<Self> {
        let stop = Arc::new(AtomicBool::new(false));
        let (mut reader, asked) = (writer.reader()?, Arc::clone(&stop));
        // The thread returns whether the connection has ended.
        let reading = thread::spawn(move || {
            let mut is_ended = false;
            while !is_ended && !asked.load(Ordering::Relaxed) {
                is_ended = reader.drain(Duration::from_millis(100));
            }
            is_ended
        });
        Ok(Self {
            kind,
            question,
            writer,
            stop,
            reading,
        })
    }

    fn end(mut self) -> Outcome {
        // This gives the server time for what it still writes.
        thread::sleep(Duration::from_millis(500));
        let asked = self.writer.say(wire::text(self.question));
        thread::sleep(Duration::from_millis(100));
        self.stop.store(true, Ordering::Relaxed);
        let is_ended = self.reading.join().unwrap_or(true);
        if is_ended || asked.is_err() {
            return Err(Failure::new(format!("a recipient of {} was disconnected", self.kind)));
        }
        Ok(())
    }
}

/// `{type: 2, nsp: "/", data: ["cast", [{_placeholder: true, num: 0} x 800, bytes]]}` on the port
/// whose parser is MessagePack.
pub(super) fn placeholders_msgpack(field: &Field) -> Outcome {
    let port = field.port + 1;
    let mut recipient = join_msgpack(port)?;
    let mut sender = join_msgpack(port)?;
    for event in ["cast", "echo"] {
        let mut packet = Vec::new();
        packet.extend_from_slice(b"\x83\xa4type\x02\xa3nsp\xa1/\xa4data\x92");
        packet.push(0xa0 | event.len() as u8);
        packet.extend_from_slice(event.as_bytes());
        packet.extend_from_slice(&[0xdc, 0x03, 0x21]);
        for _ in 0..800 {
            packet.extend_from_slice(b"\x82\xac_placeholder\xc3\xa3num\x00");
        }
        let bytes = vec![0; MEGABYTE - 100_000];
        packet.push(0xc6);
        packet.extend_from_slice(&(bytes.len() as u32).to_be_bytes());
        packet.extend_from_slice(&bytes);
        let said = sender.say(wire::frame(wire::BINARY, packet));
        if said.is_err() || sender.drain(Duration::from_millis(300)) {
            field.count(&sender);
            sender = join_msgpack(port)?;
        }
        if recipient.drain(Duration::from_millis(300)) {
            field.finding("a recipient that speaks MessagePack was disconnected");
            break;
        }
    }
    field.count(&sender);
    Ok(())
}

/// Opens a websocket and joins the main namespace, on the port whose parser is MessagePack.
pub(in crate::hostile) fn join_msgpack(port: u16) -> Outcome<Peer> {
    let mut peer = clients::open4(ATTACKER, port, None)?;
    peer.say(wire::frame(wire::BINARY, b"\x82\xa4type\x00\xa3nsp\xa1/"))?;
    peer.message()?;
    Ok(peer)
}
