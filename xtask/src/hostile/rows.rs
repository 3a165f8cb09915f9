//! Tables of malformed input: in each row, what is sent on which sessions, and what the server must
//! do then.
//!
//! A row is sent on many sessions of each kind at the same time, so that what one of them leaves
//! behind can be seen. The case around it watches the bystander, the memory, and what is left.

use super::field::Field;
use super::peer::{Ending, Peer, header};
use super::session::{Part, Session, Wire, status};
use super::wire;
use crate::failure::{Failure, Outcome};

/// One malformed input.
pub(crate) struct Row {
    pub(crate) name: &'static str,
    /// The ids of advisories that this input is from.
    pub(crate) advisories: &'static [&'static str],
    pub(crate) say: Say,
    /// What the server must do, for each kind of session.
    pub(crate) ends: &'static [(&'static [Wire], End)],
}

/// What is sent.
#[derive(Clone, Copy)]
pub(crate) enum Say {
    /// Packets in texts, without attachments.
    Texts(&'static [&'static str]),
    /// A packet in a text, and one attachment.
    Attached(&'static str),
    /// A packet in a text that is too long for a table.
    Made(fn() -> String),
    /// Messages of bytes, for a parser that reads them.
    Bytes(fn() -> Vec<u8>),
    /// Frames of a websocket.
    Frames(fn() -> Vec<u8>),
    /// Bytes on a new connection. The argument is the target of a POST to the session.
    Request(fn(&str) -> Vec<u8>),
}

/// What the server must do.
#[derive(Clone, Copy, Debug)]
pub(crate) enum End {
    /// It ends the session, with a Close frame without a code or with the close packet.
    Closes,
    /// It ends the websocket with this code. The polling session of a candidate lives.
    Code(u16),
    /// It ignores the input, and the session lives.
    Ignores,
    /// It sends a message that begins so, and the session lives.
    Says(&'static str),
    /// It answers with this status, and ends the connection. Nothing behind the request is read as
    /// a request. The session, if there is one, lives.
    Status(u16),
    /// As above, but the session ends.
    Gone(u16),
    /// It answers with this status, and ends the connection. The session of a POST whose body
    /// breaks off ends if the server has seen the head before the mistake. So it is not looked at.
    Broken(u16),
    /// It answers with this status, and reads the next request on the connection.
    Kept(u16),
    /// It answers with this status, and reads the next request on the connection, but the session
    /// ends.
    GoneKept(u16),
    /// It answers with this status. What it does with the connection is not looked at.
    Answer(u16),
    /// It answers with any status that says no. What it does with the connection and the session
    /// is not looked at.
    Refused,
}

/// A header field that must not be in a response, because only a request names it.
const INJECTED: &str = "x-injected";

/// Plays the rows that the command has chosen. What is wrong becomes a finding.
pub(crate) fn attack(field: &Field) -> Outcome {
    for row in field.rows() {
        for (wires, end) in row.ends {
            for wire in *wires {
                if let Err(why) = play(field, row, *wire, *end) {
                    field.finding(format!("{} on {wire:?}: {why}", row.name));
                }
            }
        }
    }
    Ok(())
}

/// The most sessions that are open at one time. More would wait for longer than a heartbeat, on a
/// busy machine.
const AT_ONCE: usize = 10;

/// Plays a row on sessions of one kind.
fn play(field: &Field, row: &Row, wire: Wire, end: End) -> Outcome {
    let input = Input::new(row.say);
    let mut left = field.times(input.weight());
    while left > 0 {
        let count = left.min(AT_ONCE);
        play_at_once(field, &input, wire, end, count)?;
        left -= count;
    }
    Ok(())
}

fn play_at_once(field: &Field, input: &Input, wire: Wire, end: End, count: usize) -> Outcome {
    let mut sessions = Vec::new();
    for _ in 0..count {
        sessions.push(Session::open(field, wire)?);
    }
    let mut requests = Vec::new();
    for session in &mut sessions {
        match input {
            // The server may end the session at the first of several packets.
            Input::Packets(parts) => drop(session.send(parts)),
            Input::Frames(bytes) => drop(session.peer.say(bytes)),
            Input::Request(request) => {
                let mut peer = field.connect()?;
                let _ = peer.say(request(&session.post_target()));
                requests.push(peer);
            }
        }
    }
    let mut requests = requests.into_iter();
    for mut session in sessions {
        if let Some(mut peer) = requests.next() {
            judge_response(&mut peer, end)?;
            field.count(&peer);
        }
        judge_session(&mut session, wire, end)?;
        field.count(&session.peer);
        session.leave();
    }
    Ok(())
}

/// What is sent on each session of a row, made once.
enum Input {
    Packets(Vec<Part>),
    Frames(Vec<u8>),
    Request(fn(&str) -> Vec<u8>),
}

impl Input {
    fn new(say: Say) -> Self {
        let text = |text: &str| Part::Text(text.to_owned());
        match say {
            Say::Texts(texts) => Self::Packets(texts.iter().map(|packet| text(packet)).collect()),
            Say::Attached(packet) => Self::Packets(vec![text(packet), Part::Attachment]),
            Say::Made(make) => Self::Packets(vec![Part::Text(make())]),
            Say::Bytes(make) => Self::Packets(vec![Part::Bytes(make())]),
            Say::Frames(make) => Self::Frames(make()),
            Say::Request(make) => Self::Request(make),
        }
    }

    /// About how many bytes are sent on each session.
    fn weight(&self) -> usize {
        match self {
            Self::Packets(parts) => parts.iter().map(Part::len).sum(),
            Self::Frames(bytes) => bytes.len(),
            Self::Request(make) => make("").len(),
        }
    }
}

fn judge_response(peer: &mut Peer, end: End) -> Outcome {
    let (head, body) = peer.response()?;
    let answered = status(&head).parse().unwrap_or(0);
    let (is_expected, goes_on) = match end {
        End::Status(code) | End::Gone(code) | End::Broken(code) => (answered == code, Some(false)),
        End::Kept(code) | End::GoneKept(code) => (answered == code, Some(true)),
        End::Answer(code) => (answered == code, None),
        End::Refused => ((400..600).contains(&answered), None),
        _ => return Err(Failure::new("a request cannot end so")),
    };
    if !is_expected {
        return Err(Failure::new(format!("answered {head:?} {body:?}")));
    }
    if header(&head, INJECTED).is_some() {
        return Err(Failure::new(format!("the request has written into {head:?}")));
    }
    let Some(goes_on) = goes_on else {
        return Ok(());
    };
    if goes_on {
        let (head, _) = peer.ask(wire::get("/__stats"))?;
        return match status(&head) {
            "200" => Ok(()),
            _ => Err(Failure::new(format!("the request behind it was answered {head:?}"))),
        };
    }
    // Nothing behind a request that was refused may be read as a request.
    match peer.rest() {
        Some(rest) if rest.is_empty() => Ok(()),
        Some(rest) => {
            let shown = String::from_utf8_lossy(&rest[..rest.len().min(300)]);
            Err(Failure::new(format!("a second answer came: {shown:?}")))
        }
        None => Err(Failure::new("the connection goes on")),
    }
}

fn judge_session(session: &mut Session, wire: Wire, end: End) -> Outcome {
    let expected = match end {
        End::Closes | End::Gone(_) | End::GoneKept(_) => Ending::Closed(None),
        End::Refused | End::Broken(_) => return Ok(()),
        End::Code(code) => Ending::Closed(Some(code)),
        End::Ignores | End::Says(_) | End::Status(_) | End::Kept(_) | End::Answer(_) => {
            if wire == Wire::Connection {
                return Ok(());
            }
            let heard = session.alive()?;
            return match (end, &heard[..]) {
                (End::Says(beginning), [said]) if said.starts_with(beginning) => Ok(()),
                (End::Says(_), _) => Err(Failure::new(format!("the server said {heard:?}"))),
                (_, []) => Ok(()),
                _ => Err(Failure::new(format!("the server said {heard:?}"))),
            };
        }
    };
    let ending = session.ending()?;
    if ending != expected {
        return Err(Failure::new(format!("{ending:?} instead of {expected:?}")));
    }
    if wire == Wire::Candidate4 {
        session.alive()?;
    }
    Ok(())
}
