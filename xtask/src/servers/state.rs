use std::collections::BTreeMap;
use std::net::TcpListener;

use serde::{Deserialize, Serialize};

use super::place::Place;

/// What is known of a server that was started.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct State {
    pub(super) pid: u32,
    ports: BTreeMap<String, u16>,
}

impl State {
    /// Not started yet, with free ports of these names.
    pub(super) fn with_ports(names: &[&str]) -> Result<Self, String> {
        // All are held until all are chosen, so that none is chosen twice.
        let mut held = Vec::new();
        let mut ports = BTreeMap::new();
        for name in names {
            let listener =
                TcpListener::bind("127.0.0.1:0").map_err(|error| format!("no port is free: {error}"))?;
            let port = listener.local_addr().map_err(|error| error.to_string())?.port();
            ports.insert((*name).to_owned(), port);
            held.push(listener);
        }
        Ok(Self { pid: 0, ports })
    }

    pub(super) fn port(&self, name: &str) -> u16 {
        self.ports[name]
    }

    pub(super) fn address(&self, name: &str) -> String {
        format!("127.0.0.1:{}", self.port(name))
    }

    pub(super) fn write(&self, place: &Place) -> Result<(), String> {
        let text = serde_json::to_string(self).expect("it is plain data");
        place.write_at(&place.home("state.json"), &text)
    }

    /// `None` when nothing was started, or what is written there is no state.
    pub(super) fn read(place: &Place) -> Option<Self> {
        let text = std::fs::read_to_string(place.home("state.json")).ok()?;
        serde_json::from_str(&text).ok()
    }

    pub(super) fn remove(place: &Place) {
        // It may not be there.
        let _gone = std::fs::remove_file(place.home("state.json"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_state_is_read_as_it_was_written() {
        let folder = std::env::temp_dir().join(format!("saga-state-{}", std::process::id()));
        let place = Place::new(&folder, "x", "x", "1");
        let state = State { pid: 7, ..State::with_ports(&["a", "b"]).unwrap() };
        assert_ne!(state.port("a"), state.port("b"));
        assert_eq!(State::read(&place), None);
        state.write(&place).unwrap();
        assert_eq!(State::read(&place), Some(state));
        place.write_at(&place.home("state.json"), "nonsense").unwrap();
        assert_eq!(State::read(&place), None);
        std::fs::remove_dir_all(folder).unwrap();
    }
}
