//! What a node gives out.

use alloc::vec::Vec;

use super::delivery::Delivery;
use crate::broker::Command;

/// The outputs of a node. They belong to the caller and are used again. The caller gives all
/// commands to the broker, in their order, before the next input.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outputs {
    /// For the broker.
    pub commands: Vec<Command>,
    /// For the application.
    pub deliveries: Vec<Delivery>,
}
