//! What the operating system says of this process. Linux only: the figures come from `/proc`.

use std::time::Duration;

/// CPU time used so far, of all threads, to 10 ms (one clock tick of the kernel's statistics).
pub(crate) fn cpu_time() -> Duration {
    let stat = std::fs::read_to_string("/proc/self/stat").expect("/proc is there");
    // The command's name, in parentheses, may have spaces: count from its end.
    let after_name = &stat[stat.rfind(')').expect("a name") + 2..];
    let ticks: u64 = after_name
        .split(' ')
        .skip(11)
        .take(2)
        .map(|field| field.parse::<u64>().expect("a number of ticks"))
        .sum();
    Duration::from_millis(ticks * 10)
}

/// Resident memory, in bytes.
pub(crate) fn resident_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("/proc is there");
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).expect("a line for it");
    let kib: u64 = line.split_whitespace().nth(1).and_then(|n| n.parse().ok()).expect("a number of KiB");
    kib * 1024
}
