//! Messages that are small when they arrive and large when they are sent on.

use crate::failure::{Failure, Outcome};
use crate::hostile::clients;
use crate::hostile::field::{ATTACKER, Field};
use crate::hostile::peer::Peer;
use crate::hostile::wire;
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

/// One sender, and recipients of 4.x, 2.x and 0.9. A packet whose placeholders are right reaches
/// them. Each of the others ends its sender, and the recipients must still be there afterwards.
fn placeholders(field: &Field, count: usize) -> Outcome {
    let port = field.port;
    let question = format!(r#"42["echo","{END}"]"#);
    let question09 = format!(r#"5:::{{"name":"echo","args":["{END}"]}}"#);
    let mut recipients = [
        Recipient::start("4.x", clients::join4(ATTACKER, port, None)?, &question)?,
        Recipient::start("2.x", clients::join3(ATTACKER, port, None)?, &question)?,
        Recipient::start("0.9", clients::join09(ATTACKER, port, None)?, &question09)?,
    ];
    let mut sender = clients::join4(ATTACKER, port, None)?;
    for event in ["cast", "castall", "echo"] {
        sender.say(wire::text(&wire::placeholders(event, 1)))?;
        sender.say(wire::frame(wire::BINARY, "right"))?;
        let packet = wire::text(&wire::placeholders(event, count));
        let attachment = wire::frame(wire::BINARY, vec![0; MEGABYTE - 1000]);
        let said = sender.say(packet).and_then(|()| sender.say(attachment));
        if said.is_ok() && !sender.drain(Duration::from_secs(2)) {
            field.finding(format!("a sender of {count} placeholders goes on after {event}"));
        }
        field.count(&sender);
        // Another sender takes its place.
        sender = clients::join4(ATTACKER, port, None)?;
        recipients.iter_mut().try_for_each(Recipient::beat)?;
    }
    for recipient in recipients {
        if let Err(why) = recipient.end() {
            field.finding(why.to_string());
        }
    }
    Ok(())
}

/// The text in the last echo of a recipient.
const END: &str = "this is the end";

/// A client that reads everything in its own thread, and must still get an answer at the end.
struct Recipient {
    kind: &'static str,
    question: Vec<u8>,
    writer: Peer,
    /// Reads up to the answer. Returns how many casts came before it.
    reading: JoinHandle<Outcome<u32>>,
}

impl Recipient {
    fn start(kind: &'static str, writer: Peer, question: &str) -> Outcome<Self> {
        let mut reader = writer.reader()?;
        let reading = thread::spawn(move || {
            let mut casts = 0;
            loop {
                let message = reader.message()?;
                let text = String::from_utf8_lossy(&message);
                match &*text {
                    "2::" => reader.say(wire::text("2::"))?,
                    text if text.contains(END) => return Ok(casts),
                    text => casts += u32::from(text.contains("\"cast\"") || text.contains("\"castall\"")),
                }
            }
        });
        Ok(Self {
            kind,
            question: wire::text(question),
            writer,
            reading,
        })
    }

    /// Sends the heartbeat of clients that have to send it by themselves.
    fn beat(&mut self) -> Outcome {
        match self.kind {
            "2.x" => self.writer.say(wire::text("2")),
            _ => Ok(()),
        }
    }

    fn end(mut self) -> Outcome {
        let kind = self.kind;
        let lost = |why| Failure::new(format!("a recipient of {kind} was disconnected: {why}"));
        self.writer.say(&self.question).map_err(lost)?;
        let read = self.reading.join().map_err(|_| Failure::new("a reader has panicked"))?;
        match read.map_err(lost)? {
            2 => Ok(()),
            casts => Err(Failure::new(format!("{casts} casts instead of 2 came to {kind}"))),
        }
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
        thread::sleep(Duration::from_millis(300));
    }
    // Heartbeats that have come meanwhile are answered on the way to the echo.
    let echo = [b"\x83\xa4type\x02\xa3nsp\xa1/\xa4data\x92\xa4echo\xaf", END.as_bytes()].concat();
    recipient.say(wire::frame(wire::BINARY, echo))?;
    loop {
        match recipient.message() {
            Ok(message) if String::from_utf8_lossy(&message).contains(END) => break,
            Ok(_) => {}
            Err(why) => {
                field.finding(format!("a recipient that speaks MessagePack was disconnected: {why}"));
                break;
            }
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
