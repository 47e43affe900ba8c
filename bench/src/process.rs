//! What the operating system says of processes. Linux only: the figures come from `/proc`.

use std::time::Duration;

/// CPU time used so far by this process, of all threads, to 10 ms (one clock tick of the kernel's statistics).
pub(crate) fn cpu_time() -> Duration {
    Stat::of("self").expect("/proc is there").cpu
}

/// CPU time used so far by the server that a process belongs to, all its processes together. Zero if it runs elsewhere.
pub(crate) fn cpu_time_of(one: u32) -> Duration {
    let Some(server) = Stat::of(&one.to_string()).filter(|one| one.name == "postgres") else {
        return Duration::ZERO;
    };
    let processes = std::fs::read_dir("/proc").expect("/proc is there");
    let processes = processes.filter_map(|entry| Stat::of(&entry.ok()?.file_name().to_string_lossy()));
    let family = processes.filter(|it| it.parent == server.parent || it.pid == server.parent);
    family.map(|it| it.cpu + it.children_cpu).sum()
}

struct Stat {
    pid: u32,
    name: String,
    parent: u32,
    cpu: Duration,
    /// Of children that have ended.
    children_cpu: Duration,
}

impl Stat {
    fn of(process: &str) -> Option<Self> {
        let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
        // The name, in parentheses, may have spaces: count from its end.
        let (before, after_name) = stat.rsplit_once(')')?;
        let (pid, name) = before.split_once(" (")?;
        let fields: Vec<u64> = after_name.split(' ').map(|field| field.parse().unwrap_or(0)).collect();
        let ticks = |at: usize| Duration::from_millis((fields[at] + fields[at + 1]) * 10);
        Some(Self {
            pid: pid.parse().ok()?,
            name: name.to_owned(),
            parent: u32::try_from(fields[2]).ok()?,
            cpu: ticks(12),
            children_cpu: ticks(14),
        })
    }
}

/// Resident memory, in bytes.
pub(crate) fn resident_bytes() -> u64 {
    of_status("VmRSS:")
}

/// The most resident memory that there has been, in bytes.
pub(crate) fn peak_resident_bytes() -> u64 {
    of_status("VmHWM:")
}

fn of_status(name: &str) -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("/proc is there");
    let line = status.lines().find(|line| line.starts_with(name)).expect("a line for it");
    let kib: u64 = line.split_whitespace().nth(1).and_then(|n| n.parse().ok()).expect("a number of KiB");
    kib * 1024
}

/// CPU time used so far by one process, if it is there.
pub(crate) fn cpu_time_of_process(pid: u32) -> Option<Duration> {
    Some(Stat::of(&pid.to_string())?.cpu)
}

/// The process that listens on a port of this machine, if it can be told.
pub(crate) fn listener(port: u16) -> Option<u32> {
    /// As the kernel writes it.
    const LISTENS: &str = "0A";
    let sockets = ["tcp", "tcp6"].map(|family| std::fs::read_to_string(format!("/proc/net/{family}")));
    let sockets = sockets.into_iter().flatten().collect::<String>();
    let end = format!(":{port:04X}");
    let inode = sockets.lines().find_map(|line| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let (local, state, inode) = (fields.get(1)?, fields.get(3)?, fields.get(9)?);
        (local.ends_with(&end) && *state == LISTENS).then(|| format!("socket:[{inode}]"))
    })?;
    let has_it = |pid: &u32| {
        let open = std::fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
        open.filter_map(|entry| std::fs::read_link(entry.path()).ok())
            .any(|link| link.to_string_lossy() == inode)
    };
    let processes = std::fs::read_dir("/proc").ok()?.flatten();
    processes.filter_map(|entry| entry.file_name().to_string_lossy().parse().ok()).find(has_it)
}
