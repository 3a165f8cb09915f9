//! What adapters call: connections, requests of other HTTP servers, listeners, and the tasks that watch
//! the time.

pub(crate) mod background;
pub(crate) mod connection;
pub(crate) mod connections;
pub(crate) mod exchange;
pub(crate) mod place;
pub(crate) mod serve;
