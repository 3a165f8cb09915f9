//! stub
/// stub
pub fn server(_data: &[u8]) {}
