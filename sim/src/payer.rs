//! A client machine, and the price of what is done with it (promise 7): what its server makes it
//! hold, and the work of each input, of each command and of each deadline.
//!
//! A client has one server, so everything that it holds beside what its user wants it holds for
//! this server. Steps, allocations and memory are counted as for the server
//! ([`work`](crate::work)): no clock is read. What is done is compared with its bound when the
//! client has nothing more to say.

use std::collections::BTreeMap;
use std::fmt;

use sio_proto::client::{Client, ClientConfig, ClientHolding, Delivery, Output};
use sio_proto::{BytesMut, LinkId, Time};

use crate::held::Held;
use crate::world::READ;

/// How many steps anything may take that is done with a client.
const STEPS_OF_DEED: usize = 100;

/// How many steps each further piece may take, of which nothing has come out.
const STEPS_OF_MORE: usize = 50;

/// How many steps each byte of an input or of a message may take.
const STEPS_OF_BYTE: usize = 8;

/// How many bytes of [`ClientConfig::max_cookie_bytes`] are one more step for each byte of an
/// input: each field `Set-Cookie` is compared with all cookies.
const COOKIE_BYTES: usize = 256;

/// How many steps each output may take for each namespace of the client.
const STEPS_OF_OUTPUT: usize = 8;

/// How many steps each event may take that waits or has no end, when the session or a namespace of
/// the client begins or ends, or when a deadline is over.
const STEPS_OF_EMIT: usize = 32;

/// How many steps each answer may take that waits when its session or its namespace ends.
const STEPS_OF_ANSWER: usize = 2;

/// How many allocations anything may take.
const ALLOCATIONS_OF_DEED: usize = 400;

/// How many allocations each byte and each output may take.
const ALLOCATIONS_OF_BYTE: usize = 4;

/// How many bytes of memory anything may take from the allocator.
const MEMORY_OF_DEED: usize = 128 << 10;

/// How many bytes of memory each further piece may take, of which nothing has come out.
const MEMORY_OF_MORE: usize = 1 << 10;

/// How many bytes of memory each byte of an input, or each byte that leaves, may take.
const MEMORY_OF_BYTE: usize = 160;

/// How many bytes of memory each output may take: packets and outputs stand in lists that grow.
const MEMORY_OF_OUTPUT: usize = 2 << 10;

/// How many bytes of memory each byte of a refusal may take in addition. Its values are read, up
/// to [`LONGEST_REFUSAL`].
const MEMORY_OF_REFUSAL: usize = 128;

/// A longer refusal is not read.
const LONGEST_REFUSAL: usize = 64 << 10;

/// The most bytes that are encoded for a connection that is about to be opened.
const MOST_AHEAD: usize = 64 << 10;

/// What nobody has named among what a client holds: heads of shared buffers, and small things.
const NAMELESS: usize = 2 << 10;

/// The head of an answer, and of a request.
const HEAD: usize = 16 << 10;

/// What an event or an answer counts beside its bytes.
const ENTRY: usize = 64;

/// What an event that came too early counts beside its bytes, at least.
const EARLY: usize = 100;

/// The longest id, and the longest offset.
const ID: usize = 512;

/// The session itself, and the lists that are empty between two inputs.
const OTHERS: usize = 64 << 10;

/// Something that is done with a client.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Deed {
    /// Bytes of the server arrive.
    Bytes(LinkId, usize),
    /// Time is over, a connection begins, ends, is full or is not full any more, or the user wants
    /// something. A message has so many bytes.
    Other(usize),
    /// The user leaves, and what waits is encoded first.
    Leave(usize),
}

/// What was done since the client last had nothing more to say.
#[derive(Clone, Debug, Default)]
struct Bill {
    deeds: Vec<Deed>,
    steps: usize,
    allocations: usize,
    memory: usize,
    /// How many outputs have come out.
    outputs: usize,
    /// How many bytes of them are for the network.
    written: usize,
    /// How many connections the client has opened. What it writes first is made before they stand.
    opened: usize,
    /// How many namespaces have refused the client.
    refusals: usize,
    /// The connections that are gone.
    closed: Vec<LinkId>,
    /// Whether a session or a namespace has begun or ended, or time was over.
    turns: bool,
}

/// What bytes have cost of which nothing has come out.
#[derive(Clone, Copy, Debug, Default)]
struct Spent {
    bytes: usize,
    pieces: usize,
    steps: usize,
    allocations: usize,
    memory: usize,
}

/// See the [module](self).
pub(crate) struct Payer {
    client: Client,
    config: ClientConfig,
    namespaces: usize,
    held: Held,
    /// What the client holds when it is made: its settings.
    empty: isize,
    /// The largest event or answer of the user.
    largest: usize,
    bill: Bill,
    spent: BTreeMap<LinkId, Spent>,
    /// The connections that the client has.
    links: usize,
    /// How many emits have no end.
    emits: usize,
    /// How many answers waited when the client last had nothing more to say.
    answers: usize,
    /// What was too dear.
    fault: Option<String>,
}

impl fmt::Debug for Payer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.client.fmt(f)
    }
}

impl Payer {
    /// The client is made, and pays for its memory from here on.
    pub(crate) fn new(config: &ClientConfig, namespaces: usize, make: impl FnOnce() -> Client) -> Self {
        let mut held = Held::default();
        let client = held.charge(make);
        Self {
            client,
            config: config.clone(),
            namespaces,
            empty: held.bytes,
            held,
            largest: 0,
            bill: Bill::default(),
            spent: BTreeMap::new(),
            links: 0,
            emits: 0,
            answers: 0,
            fault: None,
        }
    }

    /// The client, to ask it something.
    pub(crate) const fn client(&self) -> &Client {
        &self.client
    }

    /// How many bytes the client holds beside its settings.
    pub(crate) const fn holds_beside_settings(&self) -> isize {
        self.held.bytes - self.empty
    }

    /// How many emits have no end.
    pub(crate) const fn emits(&self) -> usize {
        self.emits
    }

    /// How many steps the client has taken.
    pub(crate) const fn steps(&self) -> usize {
        self.held.steps
    }

    /// Does something with the client, which pays for it.
    pub(crate) fn act<R>(&mut self, deed: Deed, act: impl FnOnce(&mut Client) -> R) -> R {
        if let Deed::Other(bytes) = deed {
            self.largest = self.largest.max(bytes + ENTRY);
        }
        let before = self.held;
        let client = &mut self.client;
        let result = self.held.charge(|| act(client));
        let bill = &mut self.bill;
        bill.deeds.push(deed);
        bill.steps += self.held.steps - before.steps;
        bill.allocations += self.held.allocations - before.allocations;
        bill.memory += self.held.allocated - before.allocated;
        result
    }

    /// Time is over: what is late ends.
    pub(crate) fn handle_timeout(&mut self, now: Time) {
        self.bill.turns = true;
        self.act(Deed::Other(0), |client| client.handle_timeout(now));
    }

    /// Bytes of the server arrive, in a large buffer. What is kept of them must not keep it, except
    /// for one message that is arriving on each connection.
    pub(crate) fn handle_bytes(&mut self, now: Time, link: LinkId, bytes: &[u8]) {
        self.act(Deed::Bytes(link, bytes.len()), |client| {
            let mut buffer = BytesMut::with_capacity(READ.max(bytes.len()));
            buffer.extend_from_slice(bytes);
            client.handle_bytes(now, link, &mut buffer);
        });
        // The buffer is the network's.
        self.bill.memory = self.bill.memory.saturating_sub(READ);
    }

    /// The network has lost a connection.
    pub(crate) fn handle_closed(&mut self, now: Time, link: LinkId) {
        self.bill.turns = true;
        self.act(Deed::Other(0), |client| client.handle_closed(now, link, None));
        self.forget(link);
    }

    /// The user leaves, or closes the client: what waits is encoded first.
    pub(crate) fn leave<R>(&mut self, act: impl FnOnce(&mut Client) -> R) -> R {
        self.act(Deed::Leave(self.most_ahead()), act)
    }

    /// The most bytes that are encoded before they can be written.
    fn most_ahead(&self) -> usize {
        MOST_AHEAD.min(self.config.max_queued_bytes + self.config.max_answer_bytes)
    }

    /// Notes that an emit was taken.
    pub(crate) const fn note_emit(&mut self) {
        self.emits += 1;
    }

    /// What the client wants next. It has to be given back ([`Payer::drop_output`]), because its
    /// memory is the client's.
    pub(crate) fn poll_output(&mut self) -> Option<Output> {
        let client = &mut self.client;
        let output = self.held.charge(|| client.poll_output());
        let Some(output) = output else {
            self.settle();
            return None;
        };
        let bill = &mut self.bill;
        bill.outputs += 1;
        match &output {
            Output::Connect { .. } => {
                self.links += 1;
                bill.opened += 1;
            }
            Output::Bytes(_, bytes) => bill.written += bytes.len(),
            Output::Close(link) => self.forget(*link),
            Output::Delivery(Delivery::Receipt { .. }) => self.emits = self.emits.saturating_sub(1),
            Output::Delivery(Delivery::Event { .. }) => {}
            Output::Delivery(Delivery::ConnectError { .. }) => {
                bill.turns = true;
                bill.refusals += 1;
            }
            _ => bill.turns = true,
        }
        Some(output)
    }

    fn forget(&mut self, link: LinkId) {
        self.links = self.links.saturating_sub(1);
        self.bill.closed.push(link);
    }

    /// Nobody needs an output any more.
    pub(crate) fn drop_output(&mut self, output: Output) {
        self.held.charge(|| drop(output));
    }

    /// The client has nothing more to say: what was done since is compared with its bound.
    fn settle(&mut self) {
        let bill = std::mem::take(&mut self.bill);
        if bill.deeds.is_empty() {
            return;
        }
        let mut due = Spent {
            steps: bill.steps,
            allocations: bill.allocations,
            memory: bill.memory,
            ..Spent::default()
        };
        let mut more = 0;
        for deed in &bill.deeds {
            match deed {
                Deed::Bytes(link, bytes) => {
                    let before = self.spent.remove(link).unwrap_or_default();
                    due.bytes += bytes + before.bytes;
                    due.pieces += 1 + before.pieces;
                    due.steps += before.steps;
                    due.allocations += before.allocations;
                    due.memory += before.memory;
                    more += before.pieces;
                }
                Deed::Other(bytes) | Deed::Leave(bytes) => due.bytes += bytes,
            }
        }
        let ahead = bill.opened * self.most_ahead();
        let (deeds, bytes) = (bill.deeds.len(), due.bytes + bill.written + ahead);
        let per_byte = STEPS_OF_BYTE + self.config.max_cookie_bytes / COOKIE_BYTES;
        let turns = if bill.turns {
            STEPS_OF_EMIT * (self.emits + bill.outputs) + STEPS_OF_ANSWER * self.answers
        } else {
            0
        };
        let each = STEPS_OF_OUTPUT * self.namespaces;
        let most = STEPS_OF_DEED * deeds + STEPS_OF_MORE * more + per_byte * bytes;
        self.compare("steps", due, due.steps, most + each * bill.outputs + turns);
        let most = ALLOCATIONS_OF_DEED * deeds + ALLOCATIONS_OF_BYTE * (bytes + bill.outputs);
        self.compare("allocations", due, due.allocations, most);
        let most = MEMORY_OF_DEED * deeds + MEMORY_OF_MORE * more + MEMORY_OF_BYTE * bytes;
        let refusals = bill.refusals * MEMORY_OF_REFUSAL * due.bytes.min(LONGEST_REFUSAL);
        let most = most + MEMORY_OF_OUTPUT * bill.outputs + refusals;
        self.compare("bytes of memory", due, due.memory, most);
        // What is behind the last message belongs to the next one.
        let is_alone = deeds == 1;
        for deed in &bill.deeds {
            let Deed::Bytes(link, bytes) = deed else { continue };
            if is_alone && bill.outputs == 0 {
                self.spent.insert(*link, due);
            } else {
                self.spent.entry(*link).or_default().bytes += bytes;
            }
        }
        for link in bill.closed {
            self.spent.remove(&link);
        }
        self.check_memory();
    }

    fn compare(&mut self, what: &str, due: Spent, count: usize, most: usize) {
        if count > most && self.fault.is_none() {
            let Spent { bytes, pieces, .. } = due;
            let words = format!("{bytes} bytes in {pieces} pieces cost a client {count} {what}, at most {most}");
            self.fault = Some(words);
        }
    }

    /// What the client holds never exceeds its limits, and each byte of it has a name.
    fn check_memory(&mut self) {
        if self.fault.is_some() {
            return;
        }
        let holding = self.client.holding();
        self.answers = holding.answers.count;
        self.fault = self.too_much(&holding).or_else(|| self.nameless(&holding));
    }

    /// Whether the client holds more than what it says.
    fn nameless(&self, holding: &ClientHolding) -> Option<String> {
        let named: usize = holding.parts().iter().map(|(_, part)| part.most_memory()).sum();
        let (most, holds) = ((named + NAMELESS) as isize, self.holds_beside_settings());
        (holds > most).then(|| format!("a client holds {holds} bytes, and says what {most} are for: {holding:?}"))
    }

    /// Whether a part of what the client holds is more than its limits allow.
    fn too_much(&self, holding: &ClientHolding) -> Option<String> {
        let config = &self.config;
        let spaces = self.namespaces;
        let message = config.max_body_bytes.max(config.max_message_bytes);
        // An event that does not have to wait is taken, however large it is, and so is one answer.
        let most_queued = config.max_queued_bytes.max(self.largest);
        let most_answers = config.max_answer_bytes.max(self.largest);
        let packet = config.packet.max_attachment_bytes.min(message) + message;
        // What the session has taken of its user's, or its namespaces have when their user leaves
        // them, and what it says by itself.
        let leaving = most_queued + most_answers + HEAD;
        // What each thing counts beside its bytes, and the most of it.
        let parts = [
            (ENTRY, most_queued),
            (1, spaces * config.max_in_flight),
            (ENTRY, most_answers),
            (EARLY, spaces * config.max_early_bytes),
            (0, packet),
            (0, self.links * 2 * (message + HEAD)),
            (ENTRY, leaving),
            (0, 0),
            (ENTRY, config.max_cookie_bytes),
            (0, 2 * LONGEST_REFUSAL + spaces * 5 * ID + 4 * HEAD),
            (0, 0),
        ];
        for ((entry, most), (name, part)) in parts.into_iter().zip(holding.parts()) {
            let counts = part.bytes + entry * part.count;
            if counts > most {
                return Some(format!("a client holds {counts} bytes of {name}, at most {most}"));
            }
            if part.idle > 0 {
                let (idle, count) = (part.idle, part.count);
                return Some(format!(
                    "lists of a client have room for {idle} {name} too many: there are {count}"
                ));
            }
        }
        // What is not complete is in buffers that may be as long again as what they have.
        let arriving = holding.arriving.lists;
        let most = self.links * 2 * (message + HEAD);
        if arriving > most {
            return Some(format!(
                "a client holds {arriving} bytes of what arrives, at most {most}"
            ));
        }
        // Places, and the requests that wait for their connections.
        let (places, most) = (holding.leaving.lists, 3 * leaving);
        if places > most {
            return Some(format!(
                "a client holds {places} bytes around what leaves, at most {most}"
            ));
        }
        let (receipts, most) = (holding.receipts.lists, config.max_answer_bytes);
        if receipts > most {
            return Some(format!("a client holds {receipts} bytes of receipts, at most {most}"));
        }
        let others = holding.others.lists;
        (others > OTHERS).then(|| format!("the lists of a client take {others} bytes, at most {OTHERS}"))
    }

    /// What was too dear, if anything was. It is told once.
    pub(crate) const fn take_fault(&mut self) -> Option<String> {
        self.fault.take()
    }
}
