//! Three more, each with another way to authenticate: one server has only one of them. All encrypt.

use std::process::Command;

use super::super::Server;
use super::super::place::Place;
use super::super::security::{AUTHORITY, NKEY, PASSWORD, SERVER_CERTIFICATE, SERVER_KEY, TOKEN, USER};
use super::super::state::State;
use super::SERVER;

/// Lets in whoever has the token.
pub(crate) const WITH_TOKEN: Server = Server {
    name: "nats-token",
    variable: "SAGA_NATS_TLS_TOKEN",
    prepare: |place, state| configure(place, state, "", &format!("token: {TOKEN:?}")),
    ..SECURED
};

/// Lets in a user with a password, who must show a certificate, too.
pub(crate) const WITH_USER: Server = Server {
    name: "nats-user",
    variable: "SAGA_NATS_TLS_USER",
    prepare: |place, state| {
        configure(place, state, "verify: true", &format!("user: {USER:?}, password: {PASSWORD:?}"))
    },
    ..SECURED
};

/// Lets in whoever proves to have the seed of the nkey.
pub(crate) const WITH_NKEY: Server = Server {
    name: "nats-nkey",
    variable: "SAGA_NATS_TLS_NKEY",
    prepare: |place, state| configure(place, state, "", &format!("users: [ {{ nkey: {NKEY} }} ]")),
    ..SECURED
};

const SECURED: Server = Server { command, url: |state| state.address("client"), ..SERVER };

fn configure(place: &Place, state: &State, encryption: &str, authorization: &str) -> Result<(), String> {
    let file = |name: &str| format!("{:?}", place.certificate(name));
    let config = format!(
        "listen: \"{}\"\n\
         jetstream {{ store_dir: {:?} }}\n\
         tls {{ cert_file: {}, key_file: {}, ca_file: {}, timeout: 5\n{encryption} }}\n\
         authorization {{ {authorization} }}\n",
        state.address("client"),
        place.home("data"),
        file(SERVER_CERTIFICATE),
        file(SERVER_KEY),
        file(AUTHORITY),
    );
    place.write_at(&place.home("nats.conf"), &config)
}

fn command(place: &Place, _: &State) -> Command {
    let mut command = Command::new(place.installed("python/bin/nats-server"));
    command.arg("-c").arg(place.home("nats.conf"));
    command
}
