//! RabbitMQ: Debian's package, in a root of its own so that this machine's packages stay as they are.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use super::Server;
use super::place::Place;
use super::security::{AUTHORITY, CERTIFICATE_USER, PASSWORD, SERVER_CERTIFICATE, SERVER_KEY, USER};
use super::state::State;
use crate::command::{output, program};

const VERSION: &str = "4.0";
const OLDER_VERSION: &str = "3.10";
/// Where the data are, seen from inside.
const DATA: &str = "/srv/rabbit";

pub(super) const SERVER: Server = Server {
    name: "rabbit",
    product: "rabbit",
    version: VERSION,
    variable: "SAGA_RABBIT_URL",
    by_default: true,
    ports: &["client", "distribution", "names", "tls"],
    install,
    prepare,
    command,
    url: |state| format!("amqp://guest:guest@{}", state.address("client")),
    more: |state| vec![("SAGA_RABBIT_TLS".to_owned(), state.address("tls"))],
    answers,
    data: None,
};

/// The oldest version that the adapter works with.
pub(super) const OLDER: Server = Server {
    name: "rabbit-3.10",
    version: OLDER_VERSION,
    variable: "SAGA_RABBIT_3_10_URL",
    by_default: false,
    more: |_| Vec::new(),
    ..SERVER
};

/// The Debian release that has this version.
fn release(version: &str) -> &'static str {
    if version == OLDER_VERSION { "bookworm" } else { "trixie" }
}

fn install(place: &Place) -> Result<(), String> {
    if place.is_installed() {
        return Ok(());
    }
    let version = place.version();
    println!("rabbit: installing {version}; this takes about a minute, once");
    place.begin_install()?;
    let run = |program: &str, args: &[&str]| {
        let mut command = Command::new(program);
        command.env("DEBIAN_FRONTEND", "noninteractive").args(args);
        output(command)
    };
    if run("debootstrap", &["--version"]).is_err() {
        run("apt-get", &["update", "-qq"])?;
        run("apt-get", &["install", "-qq", "--yes", "--no-install-recommends", "debootstrap"])?;
    }
    let root = root(place);
    let root = root.to_string_lossy();
    let with_own_mounts = [&OWN_MOUNTS[..], &["debootstrap", "--variant=minbase", release(version), &root]];
    run("unshare", &[&with_own_mounts.concat()[..], &[&mirror()?]].concat())?;
    // Without a sandbox user: the root may lie below folders that other users cannot enter.
    let install =
        ["apt-get", "-o", "APT::Sandbox::User=root", "install", "-qq", "--yes", "--no-install-recommends"];
    run("chroot", &[&[&*root], &install[..], &["rabbitmq-server"]].concat())?;
    place.end_install()
}

fn root(place: &Place) -> PathBuf {
    place.installed("root")
}

/// The mirror that this machine installs its own packages from.
fn mirror() -> Result<String, String> {
    let policy = output(program(Path::new("apt-cache"), ["policy"]))?;
    let mut mirrors = policy.lines().filter_map(|line| {
        let mut words = line.split_whitespace();
        let (_, url, suite) = (words.next()?, words.next()?, words.next()?);
        (url.starts_with("http") && suite.ends_with("/main") && !suite.contains("security"))
            .then(|| url.to_owned())
    });
    mirrors.rfind(|url| url.trim_end_matches('/').ends_with("debian")).ok_or_else(|| {
        "apt names no Debian mirror; set SAGA_RABBIT_URL to a server of your own, or see compose.yaml"
            .to_owned()
    })
}

fn prepare(place: &Place, state: &State) -> Result<(), String> {
    let data = root(place).join(DATA.trim_start_matches('/'));
    if data.exists() {
        fs::remove_dir_all(&data).map_err(|error| format!("{}: {error}", data.display()))?;
    }
    for name in [AUTHORITY, SERVER_CERTIFICATE, SERVER_KEY] {
        let (from, to) = (place.certificate(name), data.join(name));
        fs::create_dir_all(&data).and_then(|()| fs::copy(&from, &to)).map_err(|error| {
            format!("{} could not be copied to {}: {error}", from.display(), to.display())
        })?;
    }
    // Erlang looks the node's host up.
    place.write_at(&root(place).join("etc/hosts"), "127.0.0.1 localhost\n")?;
    place.write_at(&data.join("rabbitmq.conf"), &config(state))?;
    place.write_at(&data.join("definitions.json"), &definitions().to_string())?;
    place.write_at(&data.join("enabled_plugins"), "[rabbitmq_auth_mechanism_ssl].\n")
}

fn config(state: &State) -> String {
    format!(
        "listeners.tcp.1 = {}\n\
         loopback_users = none\n\
         vm_memory_high_watermark.absolute = 1GB\n\
         disk_free_limit.absolute = 50MB\n\
         log.console = true\n\
         log.console.level = warning\n\
         load_definitions = {DATA}/definitions.json\n\
         listeners.ssl.1 = {}\n\
         ssl_options.cacertfile = {DATA}/{AUTHORITY}\n\
         ssl_options.certfile = {DATA}/{SERVER_CERTIFICATE}\n\
         ssl_options.keyfile = {DATA}/{SERVER_KEY}\n\
         ssl_options.verify = verify_peer\n\
         ssl_options.fail_if_no_peer_cert = false\n\
         auth_mechanisms.1 = PLAIN\n\
         auth_mechanisms.2 = EXTERNAL\n\
         ssl_cert_login_from = common_name\n",
        state.address("client"),
        state.address("tls"),
    )
}

/// The users: the usual one, one with a password, and one that only a certificate can be.
fn definitions() -> serde_json::Value {
    let users = ["guest", USER, CERTIFICATE_USER];
    let may_all = users.map(|user| {
        serde_json::json!({"user": user, "vhost": "/", "configure": ".*", "write": ".*", "read": ".*"})
    });
    serde_json::json!({
        "vhosts": [{"name": "/"}],
        "users": [
            {"name": "guest", "password": "guest", "tags": "administrator"},
            {"name": USER, "password": PASSWORD, "tags": ""},
            {"name": CERTIFICATE_USER, "password_hash": "", "tags": ""},
        ],
        "permissions": may_all,
    })
}

fn command(place: &Place, state: &State) -> Command {
    let mut command = Command::new("unshare");
    command.args(OWN_MOUNTS).args(["sh", "-c", ENTER]).arg(root(place));
    command.arg("/usr/lib/rabbitmq/bin/rabbitmq-server");
    command.env_clear().env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
    let paths = [
        ("HOME", ""),
        ("RABBITMQ_MNESIA_BASE", "/mnesia"),
        ("RABBITMQ_LOG_BASE", "/log"),
        ("RABBITMQ_CONFIG_FILE", "/rabbitmq.conf"),
        ("RABBITMQ_ENABLED_PLUGINS_FILE", "/enabled_plugins"),
    ];
    command.envs(paths.map(|(name, path)| (name, format!("{DATA}{path}"))));
    command
        .env("RABBITMQ_NODENAME", format!("saga{}@localhost", state.port("client")))
        .env("RABBITMQ_NODE_PORT", state.port("client").to_string())
        .env("RABBITMQ_DIST_PORT", state.port("distribution").to_string())
        .env("ERL_EPMD_PORT", state.port("names").to_string())
        .env("ERL_EPMD_ADDRESS", "127.0.0.1");
    command
}

/// What is mounted is seen by the process alone and goes with it: whoever deletes the target directory must not reach this machine's devices.
const OWN_MOUNTS: [&str; 3] = ["--mount", "--propagation", "private"];

/// Enters the root that is its first argument, with what Erlang needs there, and runs the others.
const ENTER: &str = r#"mount --bind /proc "$0/proc" && mount --bind /dev "$0/dev" && exec chroot "$0" "$@""#;

/// It answers a greeting with one of its own.
fn answers(_: &Place, state: &State) -> bool {
    let Ok(mut stream) = TcpStream::connect(state.address("client")) else { return false };
    let mut answer = [0; 1];
    let limited = stream.set_read_timeout(Some(Duration::from_secs(2)));
    limited.is_ok()
        && stream.write_all(b"AMQP\x00\x00\x09\x01").is_ok()
        && stream.read_exact(&mut answer).is_ok()
        // A method frame, which begins the negotiation.
        && answer == [1]
}
