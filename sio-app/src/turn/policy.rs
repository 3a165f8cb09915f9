//! What becomes of a message for a client that does not take it at once, as the application says
//! it. The core has the queue and its policies; here is how two messages become one.

use std::fmt;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use bytestring::ByteString;
use serde::Serialize;
use sio_proto::server::{self, Key};
use sio_proto::socket::Args;

use crate::args::{RawArgs, to_args};
use crate::error::EmitError;
use crate::guarded::guarded;

/// The most bytes of arguments that [`Policy::append`] puts together. The cost of each message
/// stays small, because what waits is copied for each message that is appended.
const MOST_APPENDED: usize = 16 * 1024;

/// Makes the arguments of one message of those of two: a waiting message and a new one. The number
/// is that of the bytes that a queue may hold. `None` if both have to be sent.
pub(crate) type MergeFn = Arc<dyn Fn(&Args, &Args, usize) -> Result<Option<Args>, EmitError> + Send + Sync>;

/// Makes the key of a message of its arguments.
pub(crate) type KeyFn = Arc<dyn Fn(&RawArgs) -> String + Send + Sync>;

/// What becomes of a message for a client that does not take it at once, because it reads more
/// slowly than the server sends, or is between two polls.
///
/// Emitters take a policy ([`SocketEmitter::policy`](crate::SocketEmitter::policy),
/// [`Emitter::policy`](crate::Emitter::policy)), and a namespace has one for the events that it
/// names ([`Namespace::event_policy`](crate::Namespace::event_policy)). Without a policy, an emit
/// to a full queue is an error, and a broadcast disconnects the socket. Events that ask for an
/// acknowledgement have no policy.
///
/// A message with a key waits only until the next message of its namespace, event and key: that
/// message goes to the end of the queue and takes its place. A key has at most 256 bytes. Clients
/// that take what is sent get every message.
///
/// ```
/// # use sio_app::{Io, Policy, Socket};
/// # fn example(io: &Io, socket: &Socket, player: u32) {
/// // The newest position of each player is enough.
/// io.to("game").policy(Policy::newest(player.to_string())).emit("position", (player, 1, 2));
/// // A text that comes in pieces: the pieces that wait become one.
/// socket.policy(Policy::append("answer")).emit("token", "and");
/// // The same for all events of this name.
/// io.of("/").event_policy("log", Policy::DROP_OLDEST);
/// # }
/// ```
#[derive(Clone)]
pub struct Policy(pub(crate) Kind);

#[derive(Clone)]
pub(crate) enum Kind {
    Refuse,
    Drop,
    DropOldest,
    End,
    Newest(Arc<str>),
    NewestBy(KeyFn),
    Merge(Arc<str>, MergeFn),
}

impl Policy {
    /// If the queue is full, the message is refused: the emitter counts it
    /// ([`Sent::refused`](crate::Sent)), and a broadcast leaves the client out.
    pub const REFUSE: Self = Self(Kind::Refuse);

    /// If the queue is full, the message is dropped ([`Sent::dropped`](crate::Sent)).
    pub const DROP: Self = Self(Kind::Drop);

    /// If the queue is full, the oldest waiting messages with this policy are dropped. If that
    /// makes no room, the message itself is dropped.
    pub const DROP_OLDEST: Self = Self(Kind::DropOldest);

    /// If the queue is full, the client is disconnected, as for a broadcast without a policy. Its
    /// disconnect handler gets the [`Breach`](crate::Breach), and the log shows it.
    pub const END: Self = Self(Kind::End);

    /// Only the newest message of the key waits. If there is no room even so, the message is
    /// refused.
    #[must_use]
    pub fn newest(key: impl Into<String>) -> Self {
        Self(Kind::Newest(key.into().into()))
    }

    /// Does what [`Policy::newest`] does, with a key that the function makes of the arguments of
    /// each message. So one policy of a namespace serves events of many things:
    ///
    /// ```
    /// # use sio_app::{Io, Policy, RawArgs};
    /// # fn example(io: &Io) {
    /// let player = |args: &RawArgs| args.json().split(',').next().unwrap_or_default().to_owned();
    /// io.of("/").event_policy("position", Policy::newest_by(player));
    /// io.to("game").emit("position", (7, 1, 2));
    /// # }
    /// ```
    ///
    /// The function runs on the thread that emits, under no lock, once for each emit. If it panics,
    /// the message is not sent: the emit fails with [`EmitError::KeyFailed`].
    #[must_use]
    pub fn newest_by(key: impl Fn(&RawArgs) -> String + Send + Sync + 'static) -> Self {
        Self(Kind::NewestBy(Arc::new(key)))
    }

    /// Appends the text of the message to the text that waits. The text is the last argument, and
    /// the arguments before it have to be the same in both messages. Otherwise, or when 16 KiB (or
    /// half of what a queue may hold) wait in one message, the next message begins. Nothing is
    /// lost: if there is no room, the message is refused.
    #[must_use]
    pub fn append(key: impl Into<String>) -> Self {
        Self(Kind::Merge(
            key.into().into(),
            Arc::new(|waiting, new, most| Ok(appended(waiting, new, MOST_APPENDED.min(most / 2)))),
        ))
    }

    /// Puts the message and the waiting message of its key together. The function gets the
    /// arguments of the waiting message and of the new one, and returns the arguments of the
    /// message that is sent instead of both.
    ///
    /// The function runs on the thread that emits, under no lock, once for each client for which a
    /// message waits. If another thread emits with the same key meanwhile, it is called again. If
    /// it panics, or its result cannot be sent, this is reported to
    /// [`Io::on_error`](crate::Io::on_error), and both messages are sent. It may emit. If its own
    /// events are merged, too, it is called inside itself once, and no deeper: then both messages
    /// are sent.
    ///
    /// ```
    /// # use sio_app::{Io, Policy, RawArgs};
    /// # fn example(io: &Io) {
    /// let sum = |waiting: &RawArgs, new: &RawArgs| {
    ///     let count = |args: &RawArgs| args.json().parse::<u64>().unwrap_or_default();
    ///     count(waiting) + count(new)
    /// };
    /// io.policy(Policy::merge("visitors", sum)).emit("visitors", 1);
    /// # }
    /// ```
    #[must_use]
    pub fn merge<A: Serialize>(
        key: impl Into<String>,
        merge: impl Fn(&RawArgs, &RawArgs) -> A + Send + Sync + 'static,
    ) -> Self {
        let merge = move |waiting: &Args, new: &Args, _: usize| {
            let merged = merge(&RawArgs(waiting.clone()), &RawArgs(new.clone()));
            Ok(Some(to_args(&merged, &mut BytesMut::new())?))
        };
        Self(Kind::Merge(key.into().into(), Arc::new(merge)))
    }

    /// Returns the policy of the core for this event.
    ///
    /// # Errors
    /// [`EmitError::KeyTooLong`], [`EmitError::KeyFailed`].
    pub(crate) fn in_core(&self, namespace: &str, event: &str, args: &Args) -> Result<server::Policy, EmitError> {
        let key = |text: &str| Key::new(namespace, event, text).ok_or(EmitError::KeyTooLong);
        Ok(match &self.0 {
            Kind::Refuse => server::Policy::Refuse,
            Kind::Drop => server::Policy::Drop,
            Kind::DropOldest => server::Policy::DropOldest,
            Kind::End => server::Policy::Ordered,
            Kind::Newest(text) => server::Policy::Newest(key(text)?),
            Kind::NewestBy(make) => {
                let made = guarded(|| make(&RawArgs(args.clone()))).map_err(|_| EmitError::KeyFailed)?;
                server::Policy::Newest(key(&made)?)
            }
            Kind::Merge(text, _) => server::Policy::Merge(key(text)?),
        })
    }

    /// Returns the function that puts messages together.
    pub(crate) const fn merge_fn(&self) -> Option<&MergeFn> {
        match &self.0 {
            Kind::Merge(_, merge) => Some(merge),
            Kind::Refuse | Kind::Drop | Kind::DropOldest | Kind::End | Kind::Newest(_) | Kind::NewestBy(_) => None,
        }
    }
}

impl fmt::Debug for Policy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Kind::Refuse => f.write_str("Policy::REFUSE"),
            Kind::Drop => f.write_str("Policy::DROP"),
            Kind::DropOldest => f.write_str("Policy::DROP_OLDEST"),
            Kind::End => f.write_str("Policy::END"),
            Kind::Newest(key) => write!(f, "Policy::newest({key:?})"),
            Kind::NewestBy(_) => f.write_str("Policy::newest_by(…)"),
            Kind::Merge(key, _) => write!(f, "Policy::merge({key:?}, ..)"),
        }
    }
}

/// Returns arguments that queues can keep: all of their bytes are copies, so that dropping them
/// runs no code of the user.
pub(crate) fn owned(args: Args) -> Args {
    let attachments = args.attachments.iter();
    Args {
        json: ByteString::from(&*args.json),
        attachments: attachments.map(|bytes| Bytes::copy_from_slice(bytes)).collect(),
        exact: args.exact.detached(),
    }
}

/// Appends the text at the end of `new` to the text at the end of `waiting`, up to `most` bytes.
fn appended(waiting: &Args, new: &Args, most: usize) -> Option<Args> {
    let is_plain = |args: &Args| args.attachments.is_empty() && args.exact.is_empty();
    if !is_plain(waiting) || !is_plain(new) || waiting.json.len() + new.json.len() > most {
        return None;
    }
    let (before, text) = last_text(&waiting.json)?;
    let (same, more) = last_text(&new.json)?;
    if before != same {
        return None;
    }
    // The inside of a JSON string is a text of its own, with complete escapes.
    Some(Args::from(ByteString::from(format!("{before}\"{text}{more}\""))))
}

/// Returns the arguments before the last one, with their commas, and the inside of the last one, if
/// that is a JSON string.
fn last_text(json: &str) -> Option<(&str, &str)> {
    let inside = json.strip_suffix('"')?;
    // Quotes in a string have a backslash in front of them, and a backslash has another one.
    let mut at = inside.len();
    loop {
        at = inside[..at].rfind('"')?;
        let backslashes = inside[..at].bytes().rev().take_while(|byte| *byte == b'\\').count();
        if backslashes % 2 == 0 {
            break;
        }
    }
    let (before, text) = (&inside[..at], &inside[at + 1..]);
    // The last argument may be an object or an array that ends otherwise, but not with a quote.
    (before.is_empty() || before.ends_with(',')).then_some((before, text))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn append(waiting: &str, new: &str) -> Option<String> {
        let args = |json: &str| Args::from(ByteString::from(json));
        appended(&args(waiting), &args(new), MOST_APPENDED).map(|args| args.json.to_string())
    }

    #[test]
    fn texts_are_appended() {
        assert_eq!(append("\"a\"", "\"b\"").unwrap(), "\"ab\"");
        assert_eq!(append("\"\"", "\"\"").unwrap(), "\"\"");
        assert_eq!(append("7,\"a\"", "7,\"b\"").unwrap(), "7,\"ab\"");
        assert_eq!(append(r#""say \"hi\"""#, r#""\\""#).unwrap(), r#""say \"hi\"\\""#);
        assert_eq!(append(r#""a,b","c""#, r#""a,b",",""#).unwrap(), r#""a,b","c,""#);
    }

    #[test]
    fn what_is_no_text_is_not_appended() {
        assert_eq!(append("7,\"a\"", "8,\"b\""), None, "another argument");
        assert_eq!(append("1", "\"b\""), None);
        assert_eq!(append("\"a\"", "[\"b\"]"), None);
        assert_eq!(append("", "\"a\""), None);
        let half = format!("\"{}\"", "x".repeat(MOST_APPENDED / 2));
        assert_eq!(append(&half, &half), None, "too much for one message");
    }
}
