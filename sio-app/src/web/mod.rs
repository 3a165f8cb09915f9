//! The application's own HTTP: requests that are not for Socket.IO, the answers to them, and the
//! files of the client.

pub(crate) mod client_files;
pub(crate) mod request;
