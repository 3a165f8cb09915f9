//! What a connection has beside its link only for a while, or only if its client does something
//! unusual. It is in one piece of memory, which an idle connection does not have.

use sio_proto::LinkId;
use sio_proto::server::Write;

use crate::host::asking::Asking;
use crate::host::delay::Delay;
use crate::host::pacing::Pacing;
#[cfg(feature = "redis")]
use crate::host::relay::Passing;
use crate::turn::later::Later;
use crate::user::sleep::Sleep;

#[derive(Default)]
pub(crate) struct Aside(Option<Box<Parts>>);

// Every connection has one.
const _: () = assert!(size_of::<Aside>() <= 8);

#[derive(Default)]
pub(crate) struct Parts {
    /// The request that waits for the application's decision.
    pub(super) asking: Option<Box<Asking>>,
    /// What is not handed over yet.
    pub(super) pacing: Option<Box<Pacing>>,
    /// A large message that waits for room before it is decoded.
    pub(super) delay: Option<Box<Delay>>,
    /// The request that another node answers.
    #[cfg(feature = "redis")]
    pub(super) passing: Option<Box<Passing>>,
    /// The link's second id, for requests that overtake the GET which is held on it. It is set when
    /// the first such request comes, and belongs to the seat.
    pub(super) overtaking: Option<LinkId>,
    /// The answers to a request that has overtaken the held GET. They wait until the handlers have
    /// run.
    pub(super) overtaken: Option<Vec<Write>>,
    /// The pause behind the head of a handshake.
    pub(super) rest: Option<Sleep>,
    /// Work that has been left, because other connections had to have their turn.
    pub(super) later: Later,
}

impl Parts {
    const fn is_empty(&self) -> bool {
        self.counts_nothing()
            && self.delay.is_none()
            && self.overtaking.is_none()
            && self.overtaken.is_none()
            && self.rest.is_none()
            && self.later.is_empty()
    }

    /// Whether something is among them for which the connection is not read.
    pub(super) fn hold_back(&self) -> bool {
        self.pacing.is_some() || self.delay.as_ref().is_some_and(|delay| delay.waits())
    }

    /// Whether a large message has waited that is not complete.
    pub(super) const fn is_delayed(&self) -> bool {
        self.delay.is_some()
    }

    /// Whether nothing is among them that counts as received.
    pub(super) const fn counts_nothing(&self) -> bool {
        #[cfg(feature = "redis")]
        if self.passing.is_some() {
            return false;
        }
        self.asking.is_none() && self.pacing.is_none()
    }
}

impl Aside {
    #[inline]
    pub(super) fn get(&self) -> Option<&Parts> {
        self.0.as_deref()
    }

    #[inline]
    pub(super) fn get_mut(&mut self) -> Option<&mut Parts> {
        self.0.as_deref_mut()
    }

    /// Returns the parts, for something that is put among them.
    pub(super) fn parts(&mut self) -> &mut Parts {
        self.0.get_or_insert_default()
    }

    /// Gives the memory back if nothing is in it.
    pub(super) fn tidy(&mut self) {
        self.0.take_if(|parts| parts.is_empty());
    }

    /// Takes something out. If it was the last, the memory is given back.
    #[inline]
    pub(super) fn take<T>(&mut self, take: impl FnOnce(&mut Parts) -> Option<T>) -> Option<T> {
        let parts = self.0.as_mut()?;
        let taken = take(parts);
        self.tidy();
        taken
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_given_back_with_the_last_part() {
        let mut aside = Aside::default();
        assert!(aside.take(|parts| parts.overtaken.take()).is_none() && aside.get().is_none());
        aside.parts().overtaking = Some(LinkId(7));
        aside.parts().overtaken = Some(Vec::new());
        assert!(aside.take(|parts| parts.overtaken.take()).is_some());
        assert!(aside.get().is_some_and(Parts::counts_nothing));
        assert_eq!(aside.take(|parts| parts.overtaking.take()), Some(LinkId(7)));
        assert!(aside.get().is_none());
    }
}
