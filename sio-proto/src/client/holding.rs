//! What a client holds, for the simulator (feature `steps`).

use super::manager::{Client, Stage};
use super::session::Heard;
use super::socket::{Early, Event, InFlight, Socket};
use crate::Time;
use crate::holding::Holding;

/// What a client holds beside its settings. See [`Holding`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ClientHolding {
    /// Events that wait, and those that may be sent again.
    pub events: Holding,
    /// Events that were written and wait for their acknowledgements.
    pub asking: Holding,
    /// Answers to events of the server.
    pub answers: Holding,
    /// Events that have come before their namespace is connected.
    pub early: Holding,
    /// A packet whose attachments have not all come.
    pub attachments: Holding,
    /// Answers and messages that have not come completely.
    pub arriving: Holding,
    /// Packets for the transport, and bytes for a connection that does not stand yet.
    pub leaving: Holding,
    /// Acknowledgements of 0.9 that the client gives by itself.
    pub receipts: Holding,
    /// Cookies.
    pub cookies: Holding,
    /// Names of namespaces, ids, credentials, and what the server has said when it refused the
    /// client.
    pub texts: Holding,
    /// The session, and lists that are empty between two inputs.
    pub others: Holding,
}

impl ClientHolding {
    /// All parts, with their names.
    pub const fn parts(&self) -> [(&'static str, Holding); 11] {
        [
            ("events", self.events),
            ("asking", self.asking),
            ("answers", self.answers),
            ("early", self.early),
            ("attachments", self.attachments),
            ("arriving", self.arriving),
            ("leaving", self.leaving),
            ("receipts", self.receipts),
            ("cookies", self.cookies),
            ("texts", self.texts),
            ("others", self.others),
        ]
    }
}

impl Event {
    pub(super) fn holding(&self) -> Holding {
        let key = self.key.as_ref().map_or(0, |key| key.len());
        self.args.holding(self.name.len()).and(Holding::memory(key))
    }
}

impl Client {
    /// What the client holds now.
    #[must_use]
    pub fn holding(&self) -> ClientHolding {
        let mut all = ClientHolding {
            attachments: self.reassembly.holding(),
            cookies: self.jar.holding(),
            others: Holding::shrinking::<Heard>(self.heard.capacity(), self.heard.len())
                .and(self.outputs.holding())
                .and(Holding::shrinking::<Time>(self.recent.capacity(), self.recent.len()))
                .and(Holding::list::<Socket>(self.sockets.capacity()))
                .and(Holding::memory(self.buffer.capacity())),
            ..ClientHolding::default()
        };
        for socket in &self.sockets {
            socket.add_to(&mut all);
        }
        let error = self.last_error.as_ref();
        let error = error.map(|error| error.message.len() + error.data.as_ref().map_or(0, |data| data.len()));
        let resume = self.resume.as_ref();
        let resume = resume.map(|resume| resume.sid.len() + resume.heartbeat.as_ref().map_or(0, |text| text.len()));
        all.texts = all.texts.with(error.into_iter().chain(resume));
        if let Stage::Session(session) = &self.stage {
            session.add_to(&mut all);
        }
        all
    }
}

impl Socket {
    fn add_to(&self, all: &mut ClientHolding) {
        let again = self.in_flight.values().filter_map(|sent| sent.again.as_ref());
        let events = Holding::shrinking::<Event>(self.queue.capacity(), self.queue.len())
            .with_all(self.queue.iter().map(Event::holding))
            .with_all(again.map(Event::holding))
            .and(self.unconfirmed.holding());
        all.events = all
            .events
            .and(events)
            .and(Holding::tree::<[u64; 3]>(self.deadlines.len()));
        let asking = Holding::tree::<(u64, InFlight)>(self.in_flight.len());
        all.asking = all.asking.and(Holding {
            count: self.in_flight.len(),
            ..asking
        });
        all.answers = all.answers.and(self.waiting_answers());
        let early = self.early.iter().map(|early| early.packet.holding());
        all.early = all
            .early
            .and(Holding::list::<Early>(self.early.capacity()).with_all(early));
        let texts = [&self.auth, &self.provided, &self.pid, &self.offset];
        let texts = texts.into_iter().flatten().map(|text| text.len());
        let due = self.due.as_ref().map(|due| due.bytes());
        all.texts = all
            .texts
            .with(texts.chain(due).chain([self.namespace.len(), self.sid.len()]));
    }
}
