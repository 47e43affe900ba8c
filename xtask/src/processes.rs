//! Processes that run beside each other, and end with this value at the latest.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use crate::command::{output, program};

/// How long a process may take to end when it is asked to.
const STOP_MAX: Duration = Duration::from_secs(60);
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// What each says is in `NAME.out` and `NAME.err` of a folder.
pub(crate) struct Processes {
    folder: PathBuf,
    running: Vec<(String, Child)>,
}

impl Processes {
    pub(crate) fn new(folder: &Path) -> Self {
        Self { folder: folder.to_owned(), running: Vec::new() }
    }

    pub(crate) fn start(&mut self, name: &str, mut command: Command) -> Result<(), String> {
        let file = |kind| {
            let path = self.said(name, kind);
            File::create(&path).map_err(|error| format!("{}: {error}", path.display()))
        };
        command.stdin(Stdio::null()).stdout(file("out")?).stderr(file("err")?);
        let child = command.spawn().map_err(|error| format!("{name} could not be started: {error}"))?;
        self.running.push((name.to_owned(), child));
        Ok(())
    }

    /// Waits until it says this, and returns the rest of that line.
    pub(crate) fn says(&mut self, name: &str, what: &str, limit: Duration) -> Result<String, String> {
        let begun = Instant::now();
        loop {
            let text = self.read(name, "out");
            // A line that is still being written is not read.
            let lines = text.split_inclusive('\n').filter_map(|line| line.strip_suffix('\n'));
            if let Some((_, rest)) = lines.filter_map(|line| line.split_once(what)).next() {
                return Ok(rest.to_owned());
            }
            self.all_run()?;
            if begun.elapsed() > limit {
                return Err(format!("{name} has not said {what:?} within {limit:?}; {}", self.ends()));
            }
            thread::sleep(LOOK_EVERY);
        }
    }

    /// Waits until it has ended, and the others run on meanwhile.
    pub(crate) fn succeeds(&mut self, name: &str, limit: Duration) -> Result<(), String> {
        let begun = Instant::now();
        let (_, mut child) = self.take(name)?;
        let ended = loop {
            match child.try_wait() {
                Ok(Some(status)) if status.success() => break Ok(()),
                Ok(Some(status)) => break Err(format!("{name} ended with {status}; {}", self.end_of(name))),
                Ok(None) => {}
                Err(error) => break Err(format!("{name} was lost: {error}")),
            }
            if let Err(why) = self.all_run() {
                break Err(why);
            }
            if begun.elapsed() > limit {
                let ends = self.ends();
                break Err(format!("{name} has not ended within {limit:?}; {}; {ends}", self.end_of(name)));
            }
            thread::sleep(LOOK_EVERY);
        };
        end(&mut child);
        ended
    }

    /// Those that run, in the order of their start.
    pub(crate) fn names(&self) -> Vec<String> {
        self.running.iter().map(|(name, _)| name.clone()).collect()
    }

    /// Asks it to end, and returns what it has said.
    pub(crate) fn stop(&mut self, name: &str) -> Result<String, String> {
        let (_, mut child) = self.take(name)?;
        let stopped = ask(&mut child, name);
        end(&mut child);
        stopped.map_err(|why| format!("{why}; {}", self.end_of(name)))?;
        Ok(self.read(name, "out"))
    }

    /// Ends it at once, as a crash does.
    pub(crate) fn kill(&mut self, name: &str) -> Result<(), String> {
        self.all_run()?;
        let (_, mut child) = self.take(name)?;
        end(&mut child);
        Ok(())
    }

    fn take(&mut self, name: &str) -> Result<(String, Child), String> {
        let place = self.running.iter().position(|(running, _)| running == name);
        place.map(|place| self.running.remove(place)).ok_or_else(|| format!("{name} was not started"))
    }

    /// Those that are there are to run until they are stopped.
    fn all_run(&mut self) -> Result<(), String> {
        let ended = self.running.iter_mut().find_map(|(name, child)| match child.try_wait() {
            Ok(Some(status)) => Some((name.clone(), status.to_string())),
            Ok(None) => None,
            Err(error) => Some((name.clone(), error.to_string())),
        });
        match ended {
            Some((name, how)) => Err(format!("{name} has ended too early: {how}; {}", self.end_of(&name))),
            None => Ok(()),
        }
    }

    fn ends(&self) -> String {
        self.running.iter().map(|(name, _)| self.end_of(name)).collect::<Vec<_>>().join("; ")
    }

    fn end_of(&self, name: &str) -> String {
        const LINES: usize = 5;
        let said = self.read(name, "out") + &self.read(name, "err");
        let lines: Vec<_> = said.lines().collect();
        format!("{name} said last: {}", lines[lines.len().saturating_sub(LINES)..].join(" | "))
    }

    fn read(&self, name: &str, kind: &str) -> String {
        let said = fs::read(self.said(name, kind)).unwrap_or_default();
        String::from_utf8_lossy(&said).into_owned()
    }

    fn said(&self, name: &str, kind: &str) -> PathBuf {
        self.folder.join(format!("{name}.{kind}"))
    }
}

impl Drop for Processes {
    fn drop(&mut self) {
        self.running.iter_mut().for_each(|(_, child)| end(child));
    }
}

fn ask(child: &mut Child, name: &str) -> Result<(), String> {
    output(program(Path::new("kill"), ["-s", "TERM", &child.id().to_string()]))?;
    let begun = Instant::now();
    while begun.elapsed() < STOP_MAX {
        match child.try_wait() {
            Ok(Some(status)) if status.success() => return Ok(()),
            Ok(Some(status)) => return Err(format!("{name}, asked to end, ended with {status}")),
            Ok(None) => thread::sleep(LOOK_EVERY),
            Err(error) => return Err(format!("{name} was lost: {error}")),
        }
    }
    Err(format!("{name} has not ended within {STOP_MAX:?} of being asked to"))
}

/// However it stands.
fn end(child: &mut Child) {
    let _it_has_ended = child.kill();
    let _it_is_gone = child.wait();
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOON: Duration = Duration::from_secs(20);

    fn shell(script: &str) -> Command {
        program(Path::new("sh"), ["-c", script])
    }

    /// A folder of its own, gone with the value.
    struct Folder(PathBuf);

    impl Folder {
        fn new(name: &str) -> Self {
            let path = std::env::temp_dir().join(format!("saga-processes-{name}-{}", std::process::id()));
            fs::create_dir_all(&path).unwrap();
            Self(path)
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            let _left_behind_otherwise = fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn a_process_is_heard_asked_to_end_and_heard_again() {
        let folder = Folder::new("heard");
        let mut processes = Processes::new(&folder.0);
        let script = "trap 'echo bye; exit 0' TERM; echo at: home; while true; do sleep 0.05; done";
        processes.start("a", shell(script)).unwrap();
        assert_eq!(processes.says("a", "at: ", SOON).unwrap(), "home");
        assert_eq!(processes.stop("a").unwrap(), "at: home\nbye\n");
        assert!(processes.stop("a").unwrap_err().contains("not started"));
    }

    #[test]
    fn whoever_ends_too_early_or_badly_is_named() {
        let folder = Folder::new("early");
        let mut processes = Processes::new(&folder.0);
        processes.start("short", shell("echo oh >&2; exit 3")).unwrap();
        processes.start("long", shell("exec sleep 60")).unwrap();
        let error = processes.succeeds("long", SOON).unwrap_err();
        assert!(error.contains("short") && error.contains('3') && error.contains("oh"), "{error}");
        assert!(processes.succeeds("short", SOON).unwrap_err().contains("ended with"));
        processes.start("slow", shell("exec sleep 60")).unwrap();
        assert!(processes.succeeds("slow", Duration::ZERO).unwrap_err().contains("not ended within"));
    }

    #[test]
    fn a_killed_one_is_gone_and_can_be_started_again() {
        let folder = Folder::new("killed");
        let mut processes = Processes::new(&folder.0);
        processes.start("a", shell("exec sleep 60")).unwrap();
        processes.kill("a").unwrap();
        assert!(processes.kill("a").unwrap_err().contains("not started"));
        processes.start("a", shell("exit 0")).unwrap();
        processes.succeeds("a", SOON).unwrap();
    }

    #[test]
    fn none_is_left_behind() {
        let folder = Folder::new("left");
        let mut processes = Processes::new(&folder.0);
        processes.start("a", shell("exec sleep 60")).unwrap();
        let proc = PathBuf::from(format!("/proc/{}", processes.running[0].1.id()));
        assert!(proc.exists());
        drop(processes);
        assert!(!proc.exists());
    }
}
