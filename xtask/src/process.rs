//! What Linux says about a process: its memory, its descriptors, and how much processor time it has
//! used.

use crate::failure::{Failure, Outcome, While};
use crate::programs::output;
use std::fs;
use std::process::Command;

pub(crate) fn open_descriptors(process: u32) -> Outcome<usize> {
    let open = fs::read_dir(format!("/proc/{process}/fd")).when("the server's descriptors")?;
    Ok(open.count())
}

/// Returns how much processor time the process has used, in seconds.
pub(crate) fn processor_seconds(process: u32) -> Outcome<f64> {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).when("the server's times")?;
    // The name of the program may contain anything, and ends at the last parenthesis. The two times
    // are the 12th and 13th word after it.
    let words = stat.rsplit_once(')').map_or("", |(_, words)| words);
    let times: Vec<f64> = words
        .split_whitespace()
        .skip(11)
        .take(2)
        .filter_map(|w| w.parse().ok())
        .collect();
    let [user, system] = times[..] else {
        return Err(Failure::new(format!("no times in {stat:?}")));
    };
    let ticks: f64 = output(Command::new("getconf").arg("CLK_TCK"))?
        .trim()
        .parse()
        .when("getconf")?;
    Ok((user + system) / ticks)
}

/// Returns the memory that the process has now, in bytes.
pub(crate) fn resident_bytes(process: u32) -> Outcome<u64> {
    status_bytes(process, "VmRSS:")
}

/// Returns the most memory that the process has had since [`forget_peak`], in bytes.
pub(crate) fn peak_bytes(process: u32) -> Outcome<u64> {
    status_bytes(process, "VmHWM:")
}

/// Resets the process's peak of memory to the memory that it has now.
pub(crate) fn forget_peak(process: u32) -> Outcome {
    fs::write(format!("/proc/{process}/clear_refs"), "5").when("the server's peak of memory")
}

fn status_bytes(process: u32, name: &str) -> Outcome<u64> {
    let status = fs::read_to_string(format!("/proc/{process}/status")).when("the server's memory")?;
    let value = status.lines().find_map(|line| line.strip_prefix(name));
    let kib = value.and_then(|value| value.trim().trim_end_matches(" kB").parse::<u64>().ok());
    kib.map(|kib| kib * 1024)
        .ok_or_else(|| Failure::new(format!("process {process} has no {name} in its status")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_has_memory_descriptors_and_a_peak() {
        let this = std::process::id();
        assert!(open_descriptors(this).unwrap() >= 3);
        assert!(processor_seconds(this).unwrap() >= 0.0);
        let before = resident_bytes(this).unwrap();
        let filled = std::hint::black_box(vec![1_u8; 32 << 20]);
        assert!(peak_bytes(this).unwrap() >= before + (24 << 20));
        drop(filled);
        forget_peak(this).unwrap();
        assert!(peak_bytes(this).unwrap() < before + (24 << 20));
    }
}
