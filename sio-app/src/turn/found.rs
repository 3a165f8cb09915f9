//! The rows of a store as they are read: the opposite of [`rows`](crate::turn::rows).

use bytes::BytesMut;
use bytestring::ByteString;
use sio_proto::recovery::{Audience, SavedNamespace, SavedRecord, SavedStay};
use sio_proto::{Frame, Sid};

use crate::store::StoreError;
use crate::turn::rows::{FORMAT, HEAD, Head, check};
use crate::turn::socket_id::SocketId;

#[cfg(test)]
mod tests;

/// A row as it was read.
#[cfg_attr(test, derive(Clone, Debug, PartialEq))]
pub(super) enum Found {
    Head(Head),
    Alive(u64),
    Namespace(SavedNamespace),
    Counted {
        namespace: u32,
        last: u64,
    },
    Stay(SavedStay),
    /// The date until which the client is waited for stands beside the record, zero if it was
    /// there.
    Record(SavedRecord, u64),
    Value {
        record: u64,
        name: String,
        json: Vec<u8>,
    },
    /// The date at which the credentials of a socket end, and its id.
    Socket {
        record: u64,
        expires: Option<u64>,
        id: Option<SocketId>,
    },
    Pruned {
        namespace: u32,
        room: Option<ByteString>,
        sequence: u64,
    },
    Message {
        namespace: u32,
        sequence: u64,
        at: u64,
        until: u64,
        audience: Audience,
        frames: Vec<Frame>,
    },
}

impl Found {
    /// Reads a row.
    ///
    /// # Errors
    /// [`StoreError::Damaged`] for anything that [`Noted::row`] does not write,
    /// [`StoreError::Foreign`] for another format.
    pub(super) fn read(key: &[u8], value: &[u8]) -> Result<Self, StoreError> {
        let Some((body, sum)) = value.split_last_chunk::<8>() else {
            return Err(damaged(key));
        };
        if check(key, body) != u64::from_be_bytes(*sum) {
            return Err(damaged(key));
        }
        if key == HEAD {
            let (format, rest) = body.split_first_chunk::<4>().ok_or_else(|| damaged(key))?;
            return match u32::from_be_bytes(*format) {
                FORMAT => read_head(&mut Input(rest)).ok_or_else(|| damaged(key)),
                other => Err(StoreError::Foreign(other)),
            };
        }
        let (mut name, mut rest) = (Input(key), Input(body));
        let found = read_row(&mut name, &mut rest);
        found
            .filter(|_| name.0.is_empty() && rest.0.is_empty())
            .ok_or_else(|| damaged(key))
    }
}

fn read_head(value: &mut Input<'_>) -> Option<Found> {
    let head = Head {
        id_key: value.array()?,
        print: value.long()?,
    };
    value.0.is_empty().then_some(Found::Head(head))
}

fn damaged(key: &[u8]) -> StoreError {
    let key: String = key.iter().take(32).map(|byte| format!("{byte:02x}")).collect();
    StoreError::Damaged(format!("the row {key} is not what was written"))
}

fn read_row(key: &mut Input<'_>, value: &mut Input<'_>) -> Option<Found> {
    Some(match key.byte()? {
        0 => match key.byte()? {
            b'a' => Found::Alive(value.long()?),
            _ => return None,
        },
        1 => {
            let number = key.int()?;
            let name = value.name()?;
            let mut epochs = Vec::new();
            while !value.0.is_empty() {
                epochs.push((value.int()?, value.long()?));
            }
            Found::Namespace(SavedNamespace { number, name, epochs })
        }
        2 => Found::Counted {
            namespace: key.int()?,
            last: value.long()?,
        },
        3 => Found::Stay(SavedStay {
            record: key.long()?,
            ordinal: key.int()?,
            from: value.long()?,
            until: Some(value.long()?).filter(|until| *until < u64::MAX),
            room: value.rest()?,
        }),
        4 => {
            let number = key.long()?;
            let record = SavedRecord {
                number,
                namespace: value.int()?,
                secret: value.array()?,
                sid: Sid::parse(std::str::from_utf8(&value.array::<{ Sid::BASE64_LEN }>()?).ok()?)?,
                network: u128::from_be_bytes(value.array()?),
                start: value.long()?,
                forgotten: value.long()?,
                spoilt: value.flag()?,
                heard: value.long()?,
                away_until: None,
            };
            Found::Record(record, value.long()?)
        }
        5 => Found::Value {
            record: key.long()?,
            name: key.rest()?.to_string(),
            json: std::mem::take(&mut value.0).to_vec(),
        },
        6 => Found::Pruned {
            namespace: key.int()?,
            room: match key.flag()? {
                false => None,
                true => Some(key.rest()?),
            },
            // A number of zero is no row.
            sequence: Some(value.long()?).filter(|sequence| *sequence > 0)?,
        },
        7 => read_message(key, value)?,
        8 => read_socket(key, value)?,
        _ => return None,
    })
}

fn read_message(key: &mut Input<'_>, value: &mut Input<'_>) -> Option<Found> {
    Some(Found::Message {
        namespace: key.int()?,
        sequence: key.long()?,
        at: value.long()?,
        until: value.long()?,
        audience: Audience {
            rooms: value.names()?,
            except: value.names()?,
        },
        frames: value.frames()?,
    })
}

fn read_socket(key: &mut Input<'_>, value: &mut Input<'_>) -> Option<Found> {
    let record = key.long()?;
    let expires = Some(value.long()?).filter(|date| *date < u64::MAX);
    let id = Some(value.rest()?)
        .filter(|id| !id.is_empty())
        .map(|id| SocketId::named(&id));
    // A socket without both has no row.
    (expires.is_some() || id.is_some()).then_some(Found::Socket { record, expires, id })
}

/// Bytes that are read from the front.
struct Input<'a>(&'a [u8]);

impl Input<'_> {
    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (head, rest) = self.0.split_first_chunk::<N>()?;
        self.0 = rest;
        Some(*head)
    }

    fn byte(&mut self) -> Option<u8> {
        self.array().map(|[byte]| byte)
    }

    fn flag(&mut self) -> Option<bool> {
        match self.byte()? {
            0 => Some(false),
            1 => Some(true),
            _ => None,
        }
    }

    fn int(&mut self) -> Option<u32> {
        self.array().map(u32::from_be_bytes)
    }

    fn long(&mut self) -> Option<u64> {
        self.array().map(u64::from_be_bytes)
    }

    fn bytes(&mut self) -> Option<&[u8]> {
        let len = self.int()? as usize;
        let (bytes, rest) = self.0.split_at_checked(len)?;
        self.0 = rest;
        Some(bytes)
    }

    fn name(&mut self) -> Option<ByteString> {
        ByteString::try_from(self.bytes()?).ok()
    }

    fn rest(&mut self) -> Option<ByteString> {
        ByteString::try_from(std::mem::take(&mut self.0)).ok()
    }

    fn names(&mut self) -> Option<Vec<ByteString>> {
        let count = self.int()?;
        // No memory is taken for a number that may be wrong.
        let mut names = Vec::new();
        for _ in 0..count {
            names.push(self.name()?);
        }
        Some(names)
    }

    fn frames(&mut self) -> Option<Vec<Frame>> {
        let mut frames = Vec::new();
        while !self.0.is_empty() {
            let is_binary = self.flag()?;
            let payload = self.bytes()?;
            let mut scratch = BytesMut::with_capacity(payload.len() + 16);
            frames.push(match is_binary {
                true => Frame::binary(&mut scratch, |out| out.extend_from_slice(payload)),
                // A websocket that gets a text which is not UTF-8 has to close.
                false => {
                    std::str::from_utf8(payload).ok()?;
                    Frame::text(&mut scratch, |out| out.extend_from_slice(payload))
                }
            });
        }
        (!frames.is_empty()).then_some(frames)
    }
}
