//! The application's own HTTP: what it is asked and answers beside Socket.IO, and the files of the
//! client.

pub(crate) mod client_files;
pub(crate) mod request;
