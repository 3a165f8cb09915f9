//! What is served: which transports, and which generations of the wire.

use super::setters::setters;

/// Which transports are offered. [`Transports::polling`] and [`Transports::websocket`] are for
/// clients of Engine.IO and of 0.7 to 0.9, the others for clients of 0.6, too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Transports {
    /// HTTP long polling, and htmlfile. Default true.
    pub polling: bool,
    /// WebSocket, whoever speaks it. Default true.
    pub websocket: bool,
    /// Polling by scripts (JSONP), where there is polling. Default true: old browsers have nothing
    /// else from another origin. Answers are scripts, which every page may load, so all that keeps
    /// other pages from reading them is what the request says of its page ([`Origins`]). Servers
    /// without clients of before 2013 do well to turn it off.
    pub jsonp: bool,
    /// Endless pages of scripts (htmlfile), where there is polling. Default true. Only Internet
    /// Explorer before 10 uses them.
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

/// Which generations of the wire are served. One that is off is refused the way a server without it
/// refuses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Generations {
    /// Engine.IO 4: Socket.IO 3.x and 4.x. Default true.
    pub engine4: bool,
    /// Engine.IO 2 and 3: Socket.IO 1.x and 2.x. Default true.
    pub engine3: bool,
    /// The `/1/` wire of 0.7 to 0.9. Default true.
    pub legacy09: bool,
    /// The plain-message wire of 0.6 and before, in whatever codec. Default true.
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
