//! Signatures of messages between nodes of ours, with a secret that the nodes share
//! (docs/protocol/cluster-redis.md §12).
//!
//! ```text
//!   token = base64url(sender 8 | number 8 | milliseconds 8 | HMAC-SHA256 32), 75 characters
//!   HMAC over: "sio cluster 1\0" | medium 1 | length of place 4 | place | sender number milliseconds | message
//! ```
//! The token is the last part of its message, so the message in front of it is signed as it stands.
//! Genuine nodes do not look at the token.
//!
//! A signature shows that a holder of the secret has published the message in this place, and when.
//! A [`Guard`] takes each message of a sender once, and none that is too old. So a message that
//! somebody publishes again does nothing.
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

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicU64, Ordering};
use core::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use hmac::{Hmac, Mac as _};
use sha2::Sha256;

use super::delivery::Medium;
use crate::{Secret, Time};

/// The name of the member or field that has the token.
pub(super) const MEMBER: &str = "sig";

/// How many characters a token has.
pub(super) const TOKEN_CHARS: usize = 75;

const STAMP_BYTES: usize = 24;
/// How many bytes a token has before it is written as text.
pub(super) const TOKEN_BYTES: usize = STAMP_BYTES + 32;

/// What the signed bytes begin with, so that no other use of the secret has the same signatures.
const CONTEXT: &[u8] = b"sio cluster 1\0";

/// Who has signed, its how many-th message this is, and when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stamp {
    /// Random, new with each start of a process.
    pub(super) sender: u64,
    /// Counts up from one, for each medium.
    pub(super) number: u64,
    /// Since the beginning of 1970.
    pub(super) milliseconds: u64,
}

impl Stamp {
    fn bytes(&self) -> [u8; STAMP_BYTES] {
        let mut bytes = [0; STAMP_BYTES];
        let words = [self.sender, self.number, self.milliseconds];
        for (place, byte) in bytes.iter_mut().zip(words.iter().flat_map(|word| word.to_be_bytes())) {
            *place = byte;
        }
        bytes
    }

    fn read(bytes: &[u8]) -> Option<Self> {
        let mut words = bytes
            .chunks_exact(8)
            .map(|word| word.try_into().map(u64::from_be_bytes));
        let mut word = || words.next()?.ok();
        Some(Self {
            sender: word()?,
            number: word()?,
            milliseconds: word()?,
        })
    }
}

/// Numbers the messages of one sender, and knows the time.
#[derive(Clone, Debug)]
pub(super) struct Signer {
    sender: u64,
    /// The number of the last message. Clones count on together.
    number: Arc<AtomicU64>,
    /// A moment, and its distance from the beginning of 1970.
    clock: (Time, Duration),
}

impl Signer {
    pub(super) fn new(sender: u64) -> Self {
        Self {
            sender,
            number: Arc::default(),
            clock: (Time::ZERO, Duration::ZERO),
        }
    }

    pub(super) const fn set_unix_time(&mut self, now: Time, time: Duration) {
        self.clock = (now, time);
    }

    /// The milliseconds since the beginning of 1970.
    pub(super) fn milliseconds(&self, now: Time) -> u64 {
        let (then, time) = self.clock;
        let time = time.saturating_add(now.saturating_since(then));
        u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
    }

    /// What signs the next message.
    pub(super) fn seal(&self, now: Time, secret: Secret) -> Seal {
        let stamp = Stamp {
            sender: self.sender,
            number: self.number.fetch_add(1, Ordering::Relaxed).saturating_add(1),
            milliseconds: self.milliseconds(now),
        };
        Seal { secret, stamp }
    }
}

/// Signs one message.
#[derive(Clone, Debug)]
pub(super) struct Seal {
    pub(super) secret: Secret,
    pub(super) stamp: Stamp,
}

impl Seal {
    /// Returns the token of a message for this place.
    fn token(&self, medium: Medium, place: &[u8], message: &[u8]) -> String {
        URL_SAFE_NO_PAD.encode(self.bytes(medium, place, message))
    }

    /// Returns the token of a message on this channel as bytes.
    pub(super) fn raw_token(&self, channel: &[u8], message: &[u8]) -> [u8; TOKEN_BYTES] {
        self.bytes(Medium::Channel, channel, message)
    }

    fn bytes(&self, medium: Medium, place: &[u8], message: &[u8]) -> [u8; TOKEN_BYTES] {
        let stamp = self.stamp.bytes();
        let mut token = [0; TOKEN_BYTES];
        token[..STAMP_BYTES].copy_from_slice(&stamp);
        if let Some(mac) = mac(&self.secret, medium, place, &stamp, message) {
            token[STAMP_BYTES..].copy_from_slice(&mac.finalize().into_bytes());
        }
        token
    }
}

/// How a message is signed for its place: a channel, a stream, or the key of a record.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sealing<'a> {
    pub(super) seal: &'a Seal,
    pub(super) medium: Medium,
    pub(super) place: &'a [u8],
}

impl Sealing<'_> {
    /// The token of a message on a channel, or of a record.
    pub(super) fn token(&self, message: &[u8]) -> String {
        self.seal.token(self.medium, self.place, message)
    }

    /// The token of an entry of a stream.
    pub(super) fn entry_token(&self, fields: &[(Bytes, Bytes)]) -> String {
        self.seal.token(Medium::Stream, self.place, &entry_parts(fields))
    }
}

/// `None` does not occur: a key of this algorithm may have any length.
fn mac(secret: &Secret, medium: Medium, place: &[u8], stamp: &[u8], message: &[u8]) -> Option<Hmac<Sha256>> {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).ok()?;
    mac.update(CONTEXT);
    mac.update(&[match medium {
        Medium::Channel => 0,
        Medium::Stream => 1,
        Medium::Record => 2,
    }]);
    mac.update(&(place.len() as u32).to_be_bytes());
    mac.update(place);
    mac.update(stamp);
    mac.update(message);
    Some(mac)
}

/// Why a message is not believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Doubt {
    /// It has no token.
    Unsigned,
    /// No secret of this node fits its token.
    Forged,
}

/// Looks whether a token fits its message. The comparison takes the same time wherever it fails.
pub(super) fn verify(
    secrets: &[Secret],
    token: Option<&[u8]>,
    medium: Medium,
    place: &[u8],
    message: &[u8],
) -> Result<Stamp, Doubt> {
    let token = token.ok_or(Doubt::Unsigned)?;
    let mut bytes = [0; TOKEN_BYTES];
    let decoded = URL_SAFE_NO_PAD.decode_slice(token, &mut bytes);
    if decoded != Ok(TOKEN_BYTES) {
        return Err(Doubt::Forged);
    }
    verify_raw(secrets, Some(&bytes), medium, place, message)
}

/// As [`verify`], for a token that is not written as text.
pub(super) fn verify_raw(
    secrets: &[Secret],
    token: Option<&[u8; TOKEN_BYTES]>,
    medium: Medium,
    place: &[u8],
    message: &[u8],
) -> Result<Stamp, Doubt> {
    let (stamp, signature) = token.ok_or(Doubt::Unsigned)?.split_at(STAMP_BYTES);
    let fits = secrets.iter().any(|secret| {
        mac(secret, medium, place, stamp, message).is_some_and(|mac| mac.verify_slice(signature).is_ok())
    });
    match Stamp::read(stamp) {
        Some(stamp) if fits => Ok(stamp),
        _ => Err(Doubt::Forged),
    }
}

/// Splits a message on a channel into what is signed and its token, if it has one.
pub(super) fn split(payload: &[u8]) -> (&[u8], Option<&[u8]>) {
    let cut = || {
        if payload.first() == Some(&b'{') {
            let (front, token) = payload.strip_suffix(b"\"}")?.split_last_chunk::<TOKEN_CHARS>()?;
            return Some((front.strip_suffix(b",\"sig\":\"")?, &token[..]));
        }
        let (front, token) = payload.split_last_chunk::<TOKEN_CHARS>()?;
        let front = front.strip_suffix(&[0xd9, TOKEN_CHARS as u8])?;
        // A list has the token as its last value, a map has it with its name.
        let is_list = payload.first().is_some_and(|first| first & 0xf0 == 0x90);
        let front = if is_list {
            front
        } else {
            front.strip_suffix(b"\xa3sig")?
        };
        Some((front, &token[..]))
    };
    match cut() {
        Some((front, token)) => (front, Some(token)),
        None => (payload, None),
    }
}

/// The parts of an entry that are signed: the lengths and bytes of all names and values, without
/// the token.
fn entry_parts(fields: &[(Bytes, Bytes)]) -> Vec<u8> {
    let signed = fields.iter().filter(|(name, _)| name != MEMBER.as_bytes());
    let mut parts = Vec::new();
    for part in signed.flat_map(|(name, value)| [name, value]) {
        parts.extend_from_slice(&(part.len() as u32).to_be_bytes());
        parts.extend_from_slice(part);
    }
    parts
}

/// Looks whether an entry of a stream is signed, as [`verify`] does.
pub(super) fn verify_entry(secrets: &[Secret], stream: &[u8], fields: &[(Bytes, Bytes)]) -> Result<Stamp, Doubt> {
    let mut tokens = fields.iter().rev().filter(|(name, _)| name == MEMBER.as_bytes());
    let token = tokens.next().map(|(_, token)| &token[..]);
    // What is not signed is not put together.
    let parts = token.map(|_| entry_parts(fields)).unwrap_or_default();
    verify(secrets, token, Medium::Stream, stream, &parts)
}

/// The time in the id of an entry.
pub(super) fn milliseconds_of(id: &[u8]) -> Option<u64> {
    let digits = id.split(|byte| *byte == b'-').next()?;
    core::str::from_utf8(digits).ok()?.parse().ok()
}

/// What a message is not taken for, although its signature fits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Old {
    /// It was signed too long before or after it came.
    Stale,
    /// It has come before, or so many others of its sender have come since that nobody knows.
    Replayed,
    /// As many senders as may be known have signed lately.
    TooMany,
}

/// How far behind its sender's last message a message may come. Threads of a sender may publish in
/// another order than they sign.
const WINDOW: u64 = 65_536;

/// Takes each message of each sender once.
#[derive(Debug, Default)]
pub(super) struct Guard {
    seen: BTreeMap<(u64, bool), Seen>,
}

#[derive(Debug)]
struct Seen {
    last: u64,
    /// When the sender has signed last.
    milliseconds: u64,
    /// The numbers that have come, each at its place modulo [`WINDOW`].
    come: Box<[u64]>,
}

impl Seen {
    fn take(&mut self, number: u64) -> bool {
        if number > self.last {
            // The places of numbers that were left out are free again.
            let from = self.last.saturating_add(1).max(number.saturating_sub(WINDOW - 1));
            for free in from..=number {
                self.mark(free, false);
            }
            self.last = number;
        } else if self.last.saturating_sub(number) >= WINDOW {
            return false;
        }
        !self.mark(number, true)
    }

    /// Marks a number. Returns how it was marked before.
    fn mark(&mut self, number: u64, come: bool) -> bool {
        let (word, bit) = ((number % WINDOW / 64) as usize, 1 << (number % 64));
        let Some(word) = self.come.get_mut(word) else {
            return come;
        };
        let before = *word & bit != 0;
        *word = if come { *word | bit } else { *word & !bit };
        before
    }
}

impl Guard {
    /// Takes a message, if it is new. `moment` is when it has come, in milliseconds since 1970: the
    /// time of this node for a channel, and that of the broker for an entry of a stream.
    pub(super) fn take(
        &mut self,
        stamp: Stamp,
        medium: Medium,
        moment: u64,
        max_age: Duration,
        max_senders: usize,
    ) -> Result<(), Old> {
        let max_age = u64::try_from(max_age.as_millis()).unwrap_or(u64::MAX);
        if stamp.milliseconds.abs_diff(moment) > max_age {
            return Err(Old::Stale);
        }
        let key = (stamp.sender, medium == Medium::Stream);
        if !self.seen.contains_key(&key) {
            if self.seen.len() >= max_senders {
                // What they have signed is too old by now, so it need not be known any more.
                let oldest = moment.saturating_sub(max_age.saturating_mul(2));
                self.seen.retain(|_, seen| seen.milliseconds >= oldest);
            }
            if self.seen.len() >= max_senders {
                return Err(Old::TooMany);
            }
        }
        let seen = self.seen.entry(key).or_insert_with(|| Seen {
            last: 0,
            milliseconds: 0,
            come: alloc::vec![0; (WINDOW / 64) as usize].into(),
        });
        seen.milliseconds = seen.milliseconds.max(stamp.milliseconds);
        match seen.take(stamp.number) {
            true => Ok(()),
            false => Err(Old::Replayed),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const AGE: Duration = Duration::from_secs(30);

    fn stamp(sender: u64, number: u64, milliseconds: u64) -> Stamp {
        Stamp {
            sender,
            number,
            milliseconds,
        }
    }

    fn take(guard: &mut Guard, number: u64) -> Result<(), Old> {
        guard.take(stamp(1, number, 100_000), Medium::Channel, 100_000, AGE, 10)
    }

    /// RFC 4231 §4.2 (test case 1): the algorithm is HMAC-SHA256.
    #[test]
    fn the_algorithm_is_the_standard_one() {
        let mut mac = Hmac::<Sha256>::new_from_slice(&[0x0b; 20]).unwrap();
        mac.update(b"Hi There");
        let expected = "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7";
        let found: String = mac
            .finalize()
            .into_bytes()
            .iter()
            .map(|byte| alloc::format!("{byte:02x}"))
            .collect();
        assert_eq!(found, expected);
    }

    /// A signature is for one message in one place, also among places whose names are as long.
    #[test]
    fn a_signature_fits_only_its_place_and_message() {
        let secret = Secret::new([1; 16]);
        let seal = Seal {
            secret: secret.clone(),
            stamp: stamp(1, 2, 3),
        };
        let token = seal.token(Medium::Channel, b"place-a", b"message");
        let verified = |secret: &Secret, medium, place: &[u8], message: &[u8]| {
            verify(
                core::slice::from_ref(secret),
                Some(token.as_bytes()),
                medium,
                place,
                message,
            )
        };
        assert_eq!(
            verified(&secret, Medium::Channel, b"place-a", b"message"),
            Ok(stamp(1, 2, 3))
        );
        for (secret, medium, place, message) in [
            (&secret, Medium::Channel, &b"place-b"[..], &b"message"[..]),
            (&secret, Medium::Stream, b"place-a", b"message"),
            (&secret, Medium::Channel, b"place-a", b"massage"),
            (&secret, Medium::Channel, b"place-am", b"essage"),
            (&Secret::new([2; 16]), Medium::Channel, b"place-a", b"message"),
        ] {
            assert_eq!(verified(secret, medium, place, message), Err(Doubt::Forged));
        }
    }

    #[test]
    fn each_number_counts_once_in_any_order() {
        let mut guard = Guard::default();
        for number in [1, 3, 2, 70, 5, 69] {
            assert_eq!(take(&mut guard, number), Ok(()), "{number}");
            assert_eq!(take(&mut guard, number), Err(Old::Replayed), "{number}");
        }
        assert_eq!(take(&mut guard, 10 * WINDOW), Ok(()));
        assert_eq!(
            take(&mut guard, 9 * WINDOW),
            Err(Old::Replayed),
            "outside of the window"
        );
        assert_eq!(take(&mut guard, 9 * WINDOW + 1), Ok(()));
        assert_eq!(take(&mut guard, 9 * WINDOW + 3), Ok(()), "its place is free again");
        assert_eq!(take(&mut guard, 9 * WINDOW + 3), Err(Old::Replayed));
        assert_eq!(take(&mut guard, u64::MAX), Ok(()));
        assert_eq!(take(&mut guard, 0), Err(Old::Replayed));
    }

    #[test]
    fn what_is_too_old_or_too_new_is_refused() {
        let mut guard = Guard::default();
        for (signed, comes, expected) in [
            (100_000, 130_000, Ok(())),
            (100_000, 130_001, Err(Old::Stale)),
            (130_001, 100_000, Err(Old::Stale)),
            (0, 100_000, Err(Old::Stale)),
        ] {
            let number = guard.seen.len() as u64 + signed + comes;
            let found = guard.take(stamp(1, number, signed), Medium::Channel, comes, AGE, 10);
            assert_eq!(found, expected, "{signed} {comes}");
        }
    }

    /// A sender that could forget its numbers must not be forgotten as long as its messages would
    /// be young enough.
    #[test]
    fn senders_are_bounded_and_forgotten_when_their_messages_are_too_old() {
        let mut guard = Guard::default();
        let mut take = |sender, at| guard.take(stamp(sender, 1, at), Medium::Channel, at, AGE, 2);
        assert_eq!(take(1, 100_000), Ok(()));
        assert_eq!(take(2, 100_000), Ok(()));
        assert_eq!(take(3, 150_000), Err(Old::TooMany));
        assert_eq!(take(3, 160_001), Ok(()));
        assert_eq!(take(1, 160_001), Ok(()));
        assert_eq!(guard.seen.len(), 2);
    }
}
