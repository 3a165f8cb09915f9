//! A failure is made shorter: fewer clients, fewer operations, fewer faults, as long as the same
//! promise is broken.

use crate::plan::{Kind, Less};
use crate::seeds::run_one;
use crate::transcript::Mode;
use crate::violation::Violation;

/// The most runs for one failure.
const MOST_RUNS: usize = 300;

/// What can be left out of a seed without losing the failure.
pub(crate) fn shrink(seed: u64, known: &Violation, less: &Less) -> Less {
    let mut best = less.clone();
    let mut runs = 0;
    let mut fails = |less: &Less| {
        runs += 1;
        runs <= MOST_RUNS
            && run_one(seed, less, Mode::Off)
                .failure
                .is_some_and(|failure| failure.is_like(known))
    };
    let mut keep = |best: &mut Less, less: Less| {
        let is_kept = less != *best && fails(&less);
        if is_kept {
            *best = less;
        }
        is_kept
    };
    // The end of the operations, by halving.
    let (mut low, mut high) = (0, best.ops.unwrap_or(160));
    while low + 1 < high {
        let middle = (low + high) / 2;
        let mut shorter = best.clone();
        shorter.ops = Some(middle);
        match keep(&mut best, shorter) {
            true => high = middle,
            false => low = middle,
        }
    }
    for clients in 1..4 {
        let mut fewer = best.clone();
        fewer.clients = Some(clients);
        if keep(&mut best, fewer) {
            break;
        }
    }
    for kind in Kind::ALL {
        let mut fewer = best.clone();
        fewer.without.insert(kind);
        keep(&mut best, fewer);
    }
    let ops = best.ops.unwrap_or(160);
    let mut size = ops.div_ceil(2).max(1);
    loop {
        for from in (0..ops).step_by(size) {
            let mut fewer = best.clone();
            fewer.skip.extend(from..(from + size).min(ops));
            keep(&mut best, fewer);
        }
        if size == 1 {
            return best;
        }
        size = size.div_ceil(2);
    }
}
