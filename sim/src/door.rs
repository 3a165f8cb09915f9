//! Who may open a session: the hook of the application, which refuses at random, and the naive
//! model beside it.
//!
//! A session may begin only while a request is handled that came from its address and that the hook
//! has allowed. The quota of sessions sees each session begin and end, so no session begins unseen,
//! whatever its generation and transport.

use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use fastrand::Rng;
use sio_proto::server::{Admission, LocalQuota, NoRoom, QuotaLimits, Request, SessionQuota};

use crate::thief::{FOREIGN_PAGE, HOST};

/// The most addresses.
pub(crate) const MOST_PEERS: usize = 8;

#[derive(Debug)]
struct Book {
    rng: Rng,
    /// How many of a hundred requests are refused.
    refuses: u32,
    /// The sessions that may begin now, by address.
    permits: [u32; MOST_PEERS],
    /// The sessions that there are, by address.
    sessions: [usize; MOST_PEERS],
    /// An address that has opened a session without permission.
    intruder: Option<usize>,
    /// Whether there were too many sessions for one more during this input.
    was_full: bool,
    /// Whether a session found no room because of their number, and none has found room since.
    is_turned_away: bool,
}

/// See the [module](self).
#[derive(Clone, Debug)]
pub(crate) struct Door(Arc<Mutex<Book>>);

impl Door {
    pub(crate) fn new(seed: u64, refuses: u32) -> Self {
        Self(Arc::new(Mutex::new(Book {
            rng: Rng::with_seed(seed ^ 0xd00d),
            refuses,
            permits: [0; MOST_PEERS],
            sessions: [0; MOST_PEERS],
            intruder: None,
            was_full: false,
            is_turned_away: false,
        })))
    }

    fn book(&self) -> MutexGuard<'_, Book> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The hook's decision. A page of another site may not open a session, whatever the hook says.
    /// Neither may a script that says nothing of its page, nor a page that uses another name of the
    /// server.
    pub(crate) fn decide(&self, request: &Request) -> Admission {
        let mut book = self.book();
        let (refuses, drawn) = (book.refuses, book.rng.u32(0..100));
        if drawn < refuses {
            return Admission::Refused("not today".into());
        }
        let target = &request.http.target;
        let is_script = ["&j=", "jsonp", "htmlfile"].iter().any(|mark| target.contains(mark));
        let says_nothing = ["origin", "referer"]
            .iter()
            .all(|name| request.http.headers.get(name).is_none());
        let is_rebound = request.http.headers.get("host") != Some(HOST.as_bytes());
        let is_foreign = request.http.headers.get("origin") == Some(FOREIGN_PAGE) || is_script && says_nothing;
        if let Some(peer) = request.peer.address.and_then(|address| index(address.ip()))
            && !is_foreign
            && !is_rebound
        {
            book.permits[peer] += 1;
        }
        Admission::Allowed
    }

    /// A new input begins: what was allowed before is used up.
    pub(crate) fn begin_input(&self) {
        let mut book = self.book();
        book.permits = [0; MOST_PEERS];
        (book.was_full, book.is_turned_away) = (false, false);
    }

    /// Whether there were too many sessions for one more during this input.
    pub(crate) fn was_full(&self) -> bool {
        self.book().was_full
    }

    /// Whether the server has no room for the session that came last, because there are too many.
    pub(crate) fn is_turned_away(&self) -> bool {
        self.book().is_turned_away
    }

    fn is_full(&self, in_total: bool) {
        let mut book = self.book();
        (book.was_full, book.is_turned_away) = (true, in_total);
    }

    /// From now on nobody is refused.
    pub(crate) fn open(&self) {
        self.book().refuses = 0;
    }

    /// From now on so many of a hundred requests are refused.
    pub(crate) fn close(&self, refuses: u32) {
        self.book().refuses = refuses;
    }

    /// A server that is killed takes its sessions along.
    pub(crate) fn forget_sessions(&self) {
        self.book().sessions = [0; MOST_PEERS];
    }

    /// How many sessions an address has.
    pub(crate) fn sessions(&self, peer: usize) -> usize {
        self.book().sessions[peer]
    }

    /// The address that has opened a session without permission, if there is one.
    pub(crate) fn intruder(&self) -> Option<usize> {
        self.book().intruder
    }

    fn enters(&self, address: Option<IpAddr>) {
        let mut book = self.book();
        book.is_turned_away = false;
        let Some(peer) = address.and_then(index) else { return };
        book.sessions[peer] += 1;
        match book.permits[peer].checked_sub(1) {
            Some(left) => book.permits[peer] = left,
            None => book.intruder = Some(peer),
        }
    }

    fn leaves(&self, address: Option<IpAddr>) {
        if let Some(peer) = address.and_then(index) {
            let sessions = &mut self.book().sessions[peer];
            *sessions = sessions.saturating_sub(1);
        }
    }
}

/// The peer with this address.
pub(crate) fn index(address: IpAddr) -> Option<usize> {
    match address {
        IpAddr::V4(ip) => usize::from(ip.octets()[3]).checked_sub(1).filter(|at| *at < MOST_PEERS),
        IpAddr::V6(_) => None,
    }
}

/// The quota of a server, which tells the door of each session. All shards share it.
#[derive(Clone, Debug)]
pub(crate) struct Watched {
    quota: Arc<Mutex<LocalQuota>>,
    /// How many sessions there may be.
    most: usize,
    door: Door,
}

impl Watched {
    pub(crate) fn new(limits: QuotaLimits, door: &Door) -> Self {
        Self {
            most: limits.max_sessions,
            quota: Arc::new(Mutex::new(LocalQuota::new(limits))),
            door: door.clone(),
        }
    }

    fn quota(&self) -> MutexGuard<'_, LocalQuota> {
        self.quota.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl SessionQuota for Watched {
    fn enter(&mut self, address: Option<IpAddr>, bytes: usize) -> Result<(), NoRoom> {
        let entered = self.quota().enter(address, bytes);
        if let Err(why) = entered {
            let is_by_number = self.quota().taken().0 >= self.most;
            self.door.is_full(why == NoRoom::Total && is_by_number);
            return Err(why);
        }
        self.door.enters(address);
        Ok(())
    }

    fn grow(&mut self, address: Option<IpAddr>, bytes: usize) -> Result<(), NoRoom> {
        self.quota().grow(address, bytes)
    }

    fn shrink(&mut self, address: Option<IpAddr>, bytes: usize) {
        self.quota().shrink(address, bytes);
    }

    fn leave(&mut self, address: Option<IpAddr>, bytes: usize) {
        self.quota().leave(address, bytes);
        self.door.leaves(address);
    }

    fn is_crowded(&self) -> bool {
        self.quota().is_crowded()
    }

    fn network(&self, address: IpAddr) -> IpAddr {
        self.quota().network(address)
    }
}
