//! The cursors: the values that rules work on.
//!
//! ```text
//!   Shard ── an input ─► Input ── at(key) ─► At ── a rule ─► At …     the session goes on
//!                          ▲                  └─── end ────► Ended    only its outputs are left
//!                          └─ the session leaves its slot when the rule has returned
//! ```
//! An input begins with an [`Input`]. It has no session yet: it finds a session, opens one, or
//! works on several sessions one after the other. [`At`] stands at one live session, and the rules
//! are methods on it. The session and the [`Core`] are two references, so a rule can read the
//! settings while it changes its session, and no rule looks its session up again.
//!
//! `At<'_, Engine>` stands at a session of Engine.IO. The other generations have such cursors too.
//! A plain `At<'_>` stands at any session; `generation.rs` finds the rules for this session.
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

/// One input at work. It has no session yet, or works on several sessions one after the other.
pub(crate) struct Input<'a> {
    pub(crate) shard: &'a mut Shard,
    pub(crate) now: Time,
    pub(crate) out: &'a mut Outputs,
}

/// One input at work on one live session, by the rules of the generation `G`, or by the rules that
/// all generations share.
pub(crate) struct At<'a, G = Any> {
    /// The state that the sessions of the shard share.
    pub(crate) core: &'a mut Core,
    pub(crate) session: &'a mut Session,
    pub(crate) key: SessionKey,
    pub(crate) now: Time,
    pub(crate) out: &'a mut Outputs,
    generation: PhantomData<G>,
}

/// A session of any generation.
pub(crate) enum Any {}

/// The session has ended. Only the outputs of its cursor are left.
pub(crate) struct Ended<'a> {
    pub(crate) out: &'a mut Outputs,
}

/// The result of a rule that may end a session: the cursor, if the session goes on.
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

    /// The same cursor for other rules. The caller knows the generation of the session.
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
    /// Lets a rule work on the session of this name. Returns `None` if the session is gone, or if
    /// its generation is not the generation of the rule.
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

    /// Lets a rule work on the session that uses this link. The rule gets the [`Role`] of the link.
    /// Nothing happens if no session uses the link.
    pub(crate) fn at_link(&mut self, link: LinkId, rule: impl FnOnce(At<'_>, Role)) {
        if let Some((key, role)) = self.shard.core.links.get(link) {
            let found = self.at(key, |at| rule(at, role));
            debug_assert!(found.is_some(), "a link is forgotten with its session");
        }
    }

    /// Opens a session for the request of the permit, and lets a rule begin the session.
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
