//! The transports and the generations of the wire that are served.

use super::setters::setters;

/// Which transports are offered. [`Transports::polling`] and [`Transports::websocket`] are for
/// clients of Engine.IO and of 0.7 to 0.9. The other fields also apply to clients of 0.6.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Transports {
    /// HTTP long polling, and htmlfile. Default true.
    pub polling: bool,
    /// WebSocket, for every generation. Default true.
    pub websocket: bool,
    /// Polling by scripts (JSONP), if polling is on. Default true, because old browsers have no
    /// other transport from another origin. The answers are scripts, which every page may load.
    /// Only the facts that a request gives about its page keep other pages from reading them
    /// ([`Origins`](crate::Origins)). Turn it off on a server without clients from before 2013.
    pub jsonp: bool,
    /// Endless pages of scripts (htmlfile), if polling is on. Default true. Only Internet Explorer
    /// before 10 uses them.
    pub htmlfile: bool,
}

impl Default for Transports {
    fn default() -> Self {
        Self {
            polling: true,
            websocket: true,
            jsonp: true,
            htmlfile: true,
        }
    }
}

setters! {
    Transports {
        polling: bool,
        websocket: bool,
        jsonp: bool,
        htmlfile: bool,
    }
}

/// Which generations of the wire are served. A generation that is off is refused as by a server
/// that does not have it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Generations {
    /// Engine.IO 4: Socket.IO 3.x and 4.x. Default true.
    pub engine4: bool,
    /// Engine.IO 2 and 3: Socket.IO 1.x and 2.x. Default true.
    pub engine3: bool,
    /// The `/1/` wire of 0.7 to 0.9. Default true.
    pub legacy09: bool,
    /// The plain-message wire of 0.6 and before, in every codec. Default true.
    pub legacy06: bool,
}

impl Default for Generations {
    fn default() -> Self {
        Self {
            engine4: true,
            engine3: true,
            legacy09: true,
            legacy06: true,
        }
    }
}

impl Generations {
    /// Only Engine.IO 4.
    #[must_use]
    pub const fn modern() -> Self {
        Self {
            engine4: true,
            engine3: false,
            legacy09: false,
            legacy06: false,
        }
    }
}

setters! {
    Generations {
        engine4: bool,
        engine3: bool,
        legacy09: bool,
        legacy06: bool,
    }
}
