//! The cursors: what a rule works on.
//!
//! ```text
//!   Shard ── an input ─► Input ── at(key) ─► At ── a rule ─► At …     the session goes on
//!                          ▲                  └─── end ────► Ended    only its outputs are left
//!                          └─ the session leaves its slot when the rule has returned
//! ```
//! An input begins with an [`Input`]. It has no session yet: it finds one, opens one, or works on
//! several one after the other. [`At`] stands at one live session, and the rules are methods on it.
//! The session and the [`Core`] are two references, so a rule can read the settings while it
//! changes its session, and no rule looks its session up again.
//!
//! `At<'_, Engine>` stands at a session of Engine.IO, and so for the other generations. A plain
//! `At<'_>` stands at any session; `generation.rs` finds out which rules that session follows.
//!
//! Invariants:
//! - A cursor stands at a live session. A rule that ends the session takes the cursor by value, so
//!   code that uses the cursor afterwards does not compile. A rule that may end the session returns
//!   a [`Fate`].
//! - A cursor of one generation stands at a session of that generation. Only [`Input::at`],
//!   [`Input::open`] and `generation.rs` make such a cursor.
//! - Nobody finds a session whose [`State`] is [`State::Over`]: [`Input::at`] takes the session out
//!   of its slot before the next rule runs.

use core::marker::PhantomData;

use super::generation::OfGeneration;
use super::{Core, Outputs, Permit, Role, Session, Shard, State, TransportKind, Wiring};
use crate::{LinkId, SessionKey, Time};

/// One input at work: it has no session yet, or several one after the other.
pub(crate) struct Input<'a> {
    pub(crate) shard: &'a mut Shard,
    pub(crate) now: Time,
    pub(crate) out: &'a mut Outputs,
}

/// One input at work on one live session, by the rules of the generation `G`, or by the rules that
/// all generations share.
pub(crate) struct At<'a, G = Any> {
    /// What the sessions of the shard share.
    pub(crate) core: &'a mut Core,
    pub(crate) session: &'a mut Session,
    pub(crate) key: SessionKey,
    pub(crate) now: Time,
    pub(crate) out: &'a mut Outputs,
    generation: PhantomData<G>,
}

/// A session of whatever generation.
pub(crate) enum Any {}

/// The session has ended. What is left of its cursor is where answers go.
pub(crate) struct Ended<'a> {
    pub(crate) out: &'a mut Outputs,
}

/// What has become of a session: the cursor, if the session goes on.
pub(crate) type Fate<'a, G = Any> = Result<At<'a, G>, Ended<'a>>;

impl<'a, G> At<'a, G> {
    /// A cursor at a session that the caller has found.
    const fn new(
        core: &'a mut Core,
        session: &'a mut Session,
        key: SessionKey,
        now: Time,
        out: &'a mut Outputs,
    ) -> Self {
        Self {
            core,
            session,
            key,
            now,
            out,
            generation: PhantomData,
        }
    }

    /// The same cursor for other rules. Who calls it knows the generation of the session.
    pub(super) fn retyped<H>(self) -> At<'a, H> {
        let Self {
            core,
            session,
            key,
            now,
            out,
            generation: _,
        } = self;
        At::new(core, session, key, now, out)
    }

    /// The session is over. It leaves its slot when the rule has returned.
    pub(super) fn over(self) -> Ended<'a> {
        self.session.state = State::Over;
        Ended { out: self.out }
    }
}

impl Input<'_> {
    /// Has a rule work on the session of this name; `None` if it is gone, or of another generation
    /// than the rule.
    pub(crate) fn at<G: OfGeneration, T>(&mut self, key: SessionKey, rule: impl FnOnce(At<'_, G>) -> T) -> Option<T> {
        let Shard { core, sessions, .. } = &mut *self.shard;
        let session = sessions.named_mut(key).filter(|session| G::is(&session.wiring))?;
        debug_assert!(session.state != State::Over, "it is taken out of its slot at once");
        let value = rule(At::new(core, &mut *session, key, self.now, self.out));
        if session.state == State::Over {
            sessions.remove(key.slot);
        }
        Some(value)
    }

    /// Has a rule work on the session that uses this link, as its [`Role`] says. Nothing happens if
    /// no session uses it.
    pub(crate) fn at_link(&mut self, link: LinkId, rule: impl FnOnce(At<'_>, Role)) {
        if let Some((key, role)) = self.shard.core.links.get(link) {
            let found = self.at(key, |at| rule(at, role));
            debug_assert!(found.is_some(), "a link is forgotten with its session");
        }
    }

    /// Opens a session for the request that the permit was given to, and has a rule begin it.
    pub(crate) fn open<G: OfGeneration + Into<Wiring>>(
        &mut self,
        permit: Permit,
        transport: TransportKind,
        link: Option<LinkId>,
        wiring: G,
        rule: impl FnOnce(At<'_, G>),
    ) {
        let key = self.shard.open_session(permit, transport, link, wiring.into());
        let found = self.at(key, |mut at: At<'_, G>| {
            at.enter_lobby();
            rule(at);
        });
        debug_assert!(found.is_some(), "it has been opened above");
    }
}
