//! What a process holds, as Linux says.

use std::fmt;
use std::fs;

/// By how many bytes the memory may have grown in the second half. It is noise of the allocator.
const MOST_GROWTH: usize = 512 * 1024;

/// What the process holds at one time.
pub(crate) struct Level {
    descriptors: usize,
    threads: usize,
    tasks: usize,
    resident: usize,
}

impl Level {
    pub(crate) fn read(tasks: usize) -> std::io::Result<Self> {
        let status = fs::read_to_string("/proc/self/status")?;
        let kib = status.lines().find_map(|line| {
            line.strip_prefix("VmRSS:")?
                .trim()
                .strip_suffix(" kB")?
                .parse::<usize>()
                .ok()
        });
        Ok(Self {
            descriptors: fs::read_dir("/proc/self/fd")?.count(),
            threads: fs::read_dir("/proc/self/task")?.count(),
            tasks,
            resident: kib.ok_or(std::io::ErrorKind::InvalidData)? * 1024,
        })
    }

    /// Compares with an earlier level.
    pub(crate) fn compare(&self, before: &Self) -> Result<(), String> {
        for (name, now, before, spare) in [
            ("descriptors", self.descriptors, before.descriptors, 0),
            ("threads", self.threads, before.threads, 0),
            ("tasks", self.tasks, before.tasks, 0),
            ("bytes", self.resident, before.resident, MOST_GROWTH),
        ] {
            if now > before + spare {
                return Err(format!("{now} {name}, and {before} after the first half"));
            }
        }
        Ok(())
    }
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            descriptors,
            threads,
            tasks,
            resident,
        } = self;
        write!(
            f,
            "{descriptors} descriptors, {threads} threads, {tasks} tasks, {} KiB",
            resident / 1024
        )
    }
}
