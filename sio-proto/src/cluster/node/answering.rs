//! What this node answers to others, in one call.

use alloc::vec::Vec;

use bytestring::ByteString;

use super::Node;
use crate::Time;
use crate::cluster::delivery::Asker;
use crate::cluster::emitter::NotSent;
use crate::cluster::order::RemoteSocket;
use crate::cluster::output::Outputs;
use crate::cluster::voice::{Voice, Written};
use crate::socket::Args;

/// Answers, as [`Voice`] writes them.
///
/// # Errors
///
/// [`NotSent::TooLarge`], [`NotSent::UnknownNamespace`]. The other node then counts this one as
/// silent.
impl Node {
    /// [`Voice::answer_sockets`].
    ///
    /// # Errors
    ///
    /// As above.
    pub fn answer_sockets(
        &mut self,
        now: Time,
        asker: &Asker,
        sockets: Vec<RemoteSocket>,
        out: &mut Outputs,
    ) -> Result<(), NotSent> {
        self.answer(now, asker, out, |voice| voice.answer_sockets(asker, sockets))
    }

    /// [`Voice::answer_rooms`].
    ///
    /// # Errors
    ///
    /// As above.
    pub fn answer_rooms(
        &mut self,
        now: Time,
        asker: &Asker,
        rooms: Vec<ByteString>,
        out: &mut Outputs,
    ) -> Result<(), NotSent> {
        self.answer(now, asker, out, |voice| voice.answer_rooms(asker, rooms))
    }

    /// [`Voice::answer_server_side_emit`].
    ///
    /// # Errors
    ///
    /// As above.
    pub fn answer_server_side_emit(
        &mut self,
        now: Time,
        asker: &Asker,
        value: Args,
        out: &mut Outputs,
    ) -> Result<(), NotSent> {
        self.answer(now, asker, out, |voice| voice.answer_server_side_emit(asker, value))
    }

    /// [`Voice::answer_recipients`].
    ///
    /// # Errors
    ///
    /// As above.
    pub fn answer_recipients(
        &mut self,
        now: Time,
        asker: &Asker,
        count: u64,
        out: &mut Outputs,
    ) -> Result<(), NotSent> {
        self.answer(now, asker, out, |voice| voice.answer_recipients(asker, count))
    }

    /// [`Voice::answer_ack`].
    ///
    /// # Errors
    ///
    /// As above.
    pub fn answer_ack(&mut self, now: Time, asker: &Asker, value: Args, out: &mut Outputs) -> Result<(), NotSent> {
        self.answer(now, asker, out, |voice| voice.answer_ack(asker, value))
    }

    /// [`Voice::answer_done`].
    ///
    /// # Errors
    ///
    /// As above.
    pub fn answer_done(&mut self, now: Time, asker: &Asker, out: &mut Outputs) -> Result<(), NotSent> {
        self.answer(now, asker, out, |voice| voice.answer_done(asker))
    }

    fn answer(
        &mut self,
        now: Time,
        asker: &Asker,
        out: &mut Outputs,
        write: impl FnOnce(Voice) -> Result<Option<Written>, NotSent>,
    ) -> Result<(), NotSent> {
        let voice = self.voice(now, &asker.namespace).ok_or(NotSent::UnknownNamespace)?;
        match write(voice)? {
            Some(written) => self.send(now, written, out).map(drop),
            None => Ok(()),
        }
    }
}
