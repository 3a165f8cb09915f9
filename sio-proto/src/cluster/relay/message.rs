//! The messages between two nodes of ours, as bytes (docs/protocol/cluster-redis.md §11).
//!
//! ```text
//!   0        1      2        14      22
//!   version  kind   sender   line    what the kind says       all numbers with the highest byte first
//! ```
//! A message that is shorter, of another version or of an unknown kind is not read. A message of
//! version 2 has a signature behind it.
#![cfg_attr(
    not(test),
    deny(
        clippy::arithmetic_side_effects,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::panic,
        clippy::string_slice,
        clippy::unreachable,
        clippy::unwrap_used
    )
)]

use core::fmt;
use core::net::{IpAddr, SocketAddr};

use bytes::{BufMut, Bytes, BytesMut};

use crate::cluster::seal::TOKEN_BYTES;
use crate::id::SidKey;
use crate::request::Peer;

/// The version of a message without a signature.
const VERSION: u8 = 1;

/// The version of a message with a signature behind it ([`signing`](super::signing)). What stands
/// in front of the signature is the same.
pub(super) const SIGNED: u8 = 2;

/// The bytes in front of what the kind says.
pub(super) const HEAD: usize = 2 + NodeName::LEN + 8;

/// The most bytes that a message has beside those of the connection: an `Open` with an IPv6
/// address.
pub(super) const MOST_OVERHEAD: usize = HEAD + 4 + 1 + 1 + 16 + 2;

/// The bit of a kind that says: from the owner of the session to the node of the connection.
const ANSWER: u8 = 0x80;

mod kind {
    pub(super) const HELLO: u8 = 1;
    pub(super) const BYE: u8 = 2;
    pub(super) const OPEN: u8 = 3;
    pub(super) const DATA: u8 = 4;
    pub(super) const CREDIT: u8 = 5;
    pub(super) const RESET: u8 = 6;
}

/// The name of a node among those that relay: random, and new for each process.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeName(pub(super) [u8; Self::LEN]);

impl NodeName {
    /// How many bytes it has.
    pub(super) const LEN: usize = 12;
}

/// Sixteen characters of base64url.
impl fmt::Display for NodeName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
        for three in self.0.chunks(3) {
            let number = three
                .iter()
                .fold(0usize, |number, byte| number << 8 | usize::from(*byte));
            for shift in [18, 12, 6, 0] {
                let digit = DIGITS.get(number >> shift & 63).copied();
                fmt::Write::write_char(f, digit.unwrap_or_default().into())?;
            }
        }
        Ok(())
    }
}

impl fmt::Debug for NodeName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "NodeName({self})")
    }
}

/// How an answer ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Final {
    /// The client may send its next request on the same connection.
    KeepsAlive,
    /// The connection ends.
    Closes,
}

/// Why one side of a relay gives it up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reset {
    /// The connection was closed.
    Closed,
    /// The connection has failed, or took too long.
    Failed,
    /// The relay is not known, or not any more.
    Unknown,
    /// There is no room for another one.
    NoRoom,
    /// Bytes are missing, or more came than were allowed.
    Broken,
}

impl Reset {
    const ALL: [Self; 5] = [Self::Closed, Self::Failed, Self::Unknown, Self::NoRoom, Self::Broken];

    const fn number(self) -> u8 {
        match self {
            Self::Closed => 0,
            Self::Failed => 1,
            Self::Unknown => 2,
            Self::NoRoom => 3,
            Self::Broken => 4,
        }
    }
}

/// One message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Message {
    pub(super) sender: NodeName,
    /// The number that the node of the connection has given to the relay.
    pub(super) line: u64,
    /// Whether it comes from the owner of the session.
    pub(super) is_answer: bool,
    pub(super) body: Body,
}

/// What a message says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Body {
    /// The sender is there, and its session ids are made with this key.
    Hello {
        key: SidKey,
        /// Whether the receivers say hello, too.
        asks: bool,
    },
    /// The sender goes.
    Bye,
    /// A request begins.
    Open {
        /// How many bytes of the answer the sender takes before it allows more.
        window: u32,
        peer: Peer,
        bytes: Bytes,
    },
    /// Bytes of the connection.
    Data {
        /// How many came before.
        position: u64,
        end: Option<Final>,
        bytes: Bytes,
    },
    /// The receiver may send until so many bytes have been sent in all.
    Credit { allowed: u64 },
    /// The sender gives the relay up.
    Reset(Reset),
}

impl Message {
    /// Reads a message, without its signature. Returns `None` if it is not one.
    pub(super) fn decode(payload: &Bytes) -> Option<Self> {
        let mut rest = Reader(payload, 0);
        let [version, kind] = rest.take()?;
        if version != VERSION && version != SIGNED {
            return None;
        }
        let sender = NodeName(rest.take()?);
        let line = u64::from_be_bytes(rest.take()?);
        let is_answer = kind & ANSWER != 0;
        let body = match kind & !ANSWER {
            kind::HELLO => Body::Hello {
                key: rest.take()?,
                asks: rest.flag()?,
            },
            kind::BYE => Body::Bye,
            kind::OPEN => Body::Open {
                window: u32::from_be_bytes(rest.take()?),
                peer: Peer {
                    secure: rest.flag()?,
                    address: rest.address()?,
                },
                bytes: rest.rest(),
            },
            kind::DATA => Body::Data {
                position: u64::from_be_bytes(rest.take()?),
                end: match rest.take()? {
                    [0] => None,
                    [1] => Some(Final::KeepsAlive),
                    [2] => Some(Final::Closes),
                    _ => return None,
                },
                bytes: rest.rest(),
            },
            kind::CREDIT => Body::Credit {
                allowed: u64::from_be_bytes(rest.take()?),
            },
            kind::RESET => {
                let [number] = rest.take()?;
                Body::Reset(Reset::ALL.into_iter().find(|reset| reset.number() == number)?)
            }
            _ => return None,
        };
        rest.is_empty().then_some(Self {
            sender,
            line,
            is_answer,
            body,
        })
    }

    /// Writes the message. `bytes` are those of the connection, and are copied.
    pub(super) fn encode(&self) -> Bytes {
        self.write(VERSION, 0).freeze()
    }

    /// Writes the message as one that has a signature, which the caller appends.
    pub(super) fn encode_signed(&self) -> BytesMut {
        self.write(SIGNED, TOKEN_BYTES)
    }

    /// Leaves room for so many bytes more.
    fn write(&self, version: u8, more: usize) -> BytesMut {
        let bytes = self.body.bytes();
        let mut out = BytesMut::with_capacity(bytes.len().saturating_add(more).saturating_add(MOST_OVERHEAD));
        out.put_u8(version);
        out.put_u8(self.body.kind() | if self.is_answer { ANSWER } else { 0 });
        out.put_slice(&self.sender.0);
        out.put_u64(self.line);
        match &self.body {
            Body::Hello { key, asks } => {
                out.put_slice(key);
                out.put_u8((*asks).into());
            }
            Body::Bye => {}
            Body::Open { window, peer, .. } => {
                out.put_u32(*window);
                out.put_u8(peer.secure.into());
                match peer.address {
                    None => out.put_u8(0),
                    Some(address) => {
                        match address.ip() {
                            IpAddr::V4(ip) => {
                                out.put_u8(4);
                                out.put_slice(&ip.octets());
                            }
                            IpAddr::V6(ip) => {
                                out.put_u8(6);
                                out.put_slice(&ip.octets());
                            }
                        }
                        out.put_u16(address.port());
                    }
                }
            }
            Body::Data { position, end, .. } => {
                out.put_u64(*position);
                out.put_u8(match end {
                    None => 0,
                    Some(Final::KeepsAlive) => 1,
                    Some(Final::Closes) => 2,
                });
            }
            Body::Credit { allowed } => out.put_u64(*allowed),
            Body::Reset(reset) => out.put_u8(reset.number()),
        }
        out.put_slice(bytes);
        out
    }
}

impl Body {
    const fn kind(&self) -> u8 {
        match self {
            Self::Hello { .. } => kind::HELLO,
            Self::Bye => kind::BYE,
            Self::Open { .. } => kind::OPEN,
            Self::Data { .. } => kind::DATA,
            Self::Credit { .. } => kind::CREDIT,
            Self::Reset(_) => kind::RESET,
        }
    }

    fn bytes(&self) -> &[u8] {
        match self {
            Self::Open { bytes, .. } | Self::Data { bytes, .. } => bytes,
            Self::Hello { .. } | Self::Bye | Self::Credit { .. } | Self::Reset(_) => &[],
        }
    }
}

/// The bytes of a message, and how many of them have been read.
struct Reader<'a>(&'a Bytes, usize);

impl Reader<'_> {
    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let bytes = *self.0.get(self.1..)?.first_chunk()?;
        self.1 = self.1.saturating_add(N);
        Some(bytes)
    }

    fn flag(&mut self) -> Option<bool> {
        match self.take()? {
            [0] => Some(false),
            [1] => Some(true),
            _ => None,
        }
    }

    fn address(&mut self) -> Option<Option<SocketAddr>> {
        let ip = match self.take()? {
            [0] => return Some(None),
            [4] => IpAddr::from(self.take::<4>()?),
            [6] => IpAddr::from(self.take::<16>()?),
            _ => return None,
        };
        Some(Some(SocketAddr::new(ip, u16::from_be_bytes(self.take()?))))
    }

    fn rest(&mut self) -> Bytes {
        let rest = self.0.slice(self.1..);
        self.1 = self.0.len();
        rest
    }

    const fn is_empty(&self) -> bool {
        self.1 == self.0.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::format;
    use alloc::vec::Vec;

    fn all() -> Vec<Body> {
        let peer = |address: &str| Peer {
            address: Some(address.parse().unwrap()),
            secure: true,
        };
        let bytes = Bytes::from_static(b"GET / \0\xff");
        let open = |peer| Body::Open {
            window: 65_536,
            peer,
            bytes: bytes.clone(),
        };
        let mut all = alloc::vec![
            Body::Hello {
                key: [3; 16],
                asks: true
            },
            Body::Bye,
            open(Peer::default()),
            open(peer("192.0.2.1:80")),
            open(peer("[2001:db8::1]:65535")),
            Body::Credit { allowed: u64::MAX },
        ];
        all.extend(Reset::ALL.map(Body::Reset));
        all.extend(
            [None, Some(Final::KeepsAlive), Some(Final::Closes)].map(|end| Body::Data {
                position: 1 << 40,
                end,
                bytes: bytes.clone(),
            }),
        );
        all
    }

    fn message(is_answer: bool, body: Body) -> Message {
        Message {
            sender: NodeName([9; 12]),
            line: 0x0102_0304_0506_0708,
            is_answer,
            body,
        }
    }

    #[test]
    fn every_message_comes_back() {
        for body in all() {
            for is_answer in [false, true] {
                let message = message(is_answer, body.clone());
                let bytes = message.encode();
                assert!(bytes.len() <= MOST_OVERHEAD + message.body.bytes().len());
                assert_eq!(Message::decode(&bytes), Some(message));
            }
        }
    }

    /// The bytes of docs/protocol/cluster-redis.md §11.
    #[test]
    fn the_bytes_are_those_of_the_document() {
        let data = message(
            true,
            Body::Data {
                position: 5,
                end: Some(Final::KeepsAlive),
                bytes: Bytes::from_static(b"ok"),
            },
        );
        let line = b"\x01\x02\x03\x04\x05\x06\x07\x08";
        let expected = [b"\x01\x84", &[9; 12][..], line, b"\0\0\0\0\0\0\0\x05\x01ok"].concat();
        assert_eq!(data.encode(), expected);
        assert_eq!(
            format!("{}", NodeName([0, 0, 1, 255, 255, 255, 0, 0, 0, 0, 0, 63])),
            "AAAB____AAAAAAA_"
        );
    }

    #[test]
    fn what_is_cut_or_foreign_is_no_message() {
        for body in all() {
            let fixed = body.bytes().len();
            let bytes = message(false, body).encode();
            for length in 0..bytes.len() - fixed {
                assert_eq!(Message::decode(&bytes.slice(..length)), None, "{length}");
            }
        }
        let credit = message(false, Body::Credit { allowed: 1 }).encode();
        for (at, byte) in [(0, 3), (1, 0), (1, 7), (1, 0x87)] {
            let mut other = credit.to_vec();
            other[at] = byte;
            assert_eq!(Message::decode(&other.into()), None, "{at} {byte}");
        }
        let long = [&credit[..], b"x"].concat();
        assert_eq!(Message::decode(&long.into()), None, "more than it has to have");
    }
}
