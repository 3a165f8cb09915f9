//! What recovery keeps for clients that come back, compared with its limits (promise 7), and seeds
//! in which these limits are narrow.

use std::collections::BTreeMap;

use fastrand::Rng;
use sio_proto::RecoveryConfig;

use crate::comeback::Comebacks;
use crate::plan::Plan;
use crate::violation::Promise;
use crate::world::World;

/// One seed with recovery of so many has narrow limits for what it keeps.
const NARROW_OF: u32 = 4;

/// What each room counts beside its name.
const ROOM: usize = 64;

/// What each record counts at least beside its rooms.
const RECORD: usize = 300;

impl Plan {
    /// Makes one or two limits of recovery narrow, in some seeds. All numbers come from a generator
    /// of its own.
    pub(crate) fn keep_little(&mut self) {
        let mut rng = Rng::with_seed(self.seed ^ 0x4ece_55ed);
        let Some(config) = &mut self.recovery else { return };
        if rng.u32(0..NARROW_OF) > 0 {
            return;
        }
        for _ in 0..rng.usize(1..3) {
            let known = config.clone();
            *config = match rng.u32(0..7) {
                0 => known.max_away(rng.usize(1..4)),
                1 => known.max_away_per_address(1usize),
                2 => known.max_away_bytes(rng.usize(700..2_000)),
                3 => known.max_log_packets(rng.usize(2..20)),
                4 => known.max_log_bytes(rng.usize(600..8_000)),
                5 => known.max_total_log_bytes(rng.usize(600..8_000)),
                _ => known.max_record_bytes(rng.usize(ROOM..4 * ROOM)),
            };
        }
    }
}

impl World {
    /// Promise 7: recovery keeps no more records and messages than it may.
    pub(crate) fn check_kept(&mut self) {
        let (Some(comebacks), Some(config)) = (&self.comebacks, &self.plan.recovery) else {
            return;
        };
        if let Some((what, has, most)) = comebacks.excess(config) {
            let words = format_args!("recovery keeps {has} {what}, at most {most}");
            self.fail(Promise::Price, words);
        }
    }
}

impl Comebacks {
    /// What it keeps too much of, how much, and how much it may keep. All is counted anew.
    fn excess(&self, config: &RecoveryConfig) -> Option<(&'static str, usize, usize)> {
        let (mut away, mut away_bytes, mut most_rooms) = (0, 0, 0);
        let mut of_network = BTreeMap::new();
        for record in self.machine.holding_of_records() {
            let rooms = record.rooms.bytes + ROOM * record.rooms.count;
            most_rooms = most_rooms.max(rooms);
            if record.is_away {
                away += 1;
                away_bytes += RECORD + rooms;
                *of_network.entry(record.network).or_insert(0) += 1;
            }
        }
        let keys = self.machine.keys().into_iter();
        let away_keys = keys.filter(|key| self.machine.is_away(*key));
        away_bytes += away_keys
            .filter_map(|key| Some(self.machine.data(key)?.bytes))
            .sum::<usize>();
        let (mut packets, mut bytes, mut all) = (0, 0, 0);
        for log in self.machine.holding_of_logs() {
            packets = packets.max(log.count);
            bytes = bytes.max(log.bytes);
            all += log.bytes;
        }
        let most_of_network = of_network.into_values().max().unwrap_or_default();
        let kept = [
            ("clients that are away", away, config.max_away),
            (
                "clients of one address that are away",
                most_of_network,
                config.max_away_per_address,
            ),
            ("bytes of clients that are away", away_bytes, config.max_away_bytes),
            ("bytes of rooms of one client", most_rooms, config.max_record_bytes),
            ("messages of one namespace", packets, config.max_log_packets),
            ("bytes of messages of one namespace", bytes, config.max_log_bytes),
            ("bytes of messages of all namespaces", all, config.max_total_log_bytes),
        ];
        kept.into_iter().find(|(_, has, most)| has > most)
    }
}
