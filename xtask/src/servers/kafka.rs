//! Kafka: its jars are Maven artifacts; one node that is broker and controller.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::Command;
use std::time::Duration;

use super::Server;
use super::place::Place;
use super::security::{AUTHORITY, PASSWORD, SERVER_CERTIFICATE, SERVER_KEY, USER};
use super::state::State;
use crate::command::output;

const VERSION: &str = "4.1.1";

pub(super) const SERVER: Server = Server {
    name: "kafka",
    product: "kafka",
    version: VERSION,
    variable: "SAGA_KAFKA_URL",
    by_default: true,
    ports: &["client", "controller", "proxied", "proxy", "sasl", "mutual"],
    install,
    prepare,
    command,
    url: |state| format!("kafka://{}", state.address("client")),
    // A listener that tells its clients the address of a proxy, for the tests that cut connections.
    // Two that encrypt: one demands a user, one a certificate.
    more: |state| {
        let proxy = format!("{}=>{}", state.address("proxy"), state.address("proxied"));
        let variables = [
            ("SAGA_KAFKA_PROXY", proxy),
            ("SAGA_KAFKA_TLS_SASL", state.address("sasl")),
            ("SAGA_KAFKA_TLS_MUTUAL", state.address("mutual")),
        ];
        variables.map(|(name, value)| (name.to_owned(), value)).into()
    },
    answers,
    data: None,
};

fn install(place: &Place) -> Result<(), String> {
    if place.is_installed() {
        return Ok(());
    }
    println!("kafka: installing {VERSION}; this takes some seconds");
    place.begin_install()?;
    let project = format!(
        "<project xmlns=\"http://maven.apache.org/POM/4.0.0\">\
         <modelVersion>4.0.0</modelVersion><groupId>saga</groupId><artifactId>kafka</artifactId><version>1</version>\
         <packaging>pom</packaging><dependencies><dependency>\
         <groupId>org.apache.kafka</groupId><artifactId>kafka_2.13</artifactId><version>{VERSION}</version>\
         </dependency></dependencies></project>"
    );
    place.write_at(&place.installed("pom.xml"), &project)?;
    let mut maven = Command::new("mvn");
    maven.args(["--batch-mode", "--quiet", "-f"]).arg(place.installed("pom.xml"));
    maven.args(["dependency:copy-dependencies", "-DincludeScope=runtime", "-DoutputDirectory=lib"]);
    output(maven)?;
    place.end_install()
}

fn prepare(place: &Place, state: &State) -> Result<(), String> {
    place.write_at(
        &place.home("server.properties"),
        &(properties(place, state) + &security_properties(place)),
    )?;
    place.write_at(&place.home(KEYSTORE), &keystore(place)?)?;
    let mut format = java(place, "128m");
    format
        .args(["kafka.tools.StorageTool", "format", "-t", CLUSTER, "-c"])
        .arg(place.home("server.properties"));
    for mechanism in SCRAM {
        format.args(["--add-scram", &format!("{mechanism}=[name={USER},password={PASSWORD}]")]);
    }
    output(format).map(drop)
}

const SCRAM: [&str; 2] = ["SCRAM-SHA-256", "SCRAM-SHA-512"];

/// The key and its certificate, which Java wants in one file.
const KEYSTORE: &str = "keystore.pem";

fn keystore(place: &Place) -> Result<String, String> {
    let read = |name| {
        let path = place.certificate(name);
        fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()))
    };
    Ok(read(SERVER_KEY)? + &read(SERVER_CERTIFICATE)?)
}

/// Any identifier will do: each server is a cluster of its own.
const CLUSTER: &str = "MkU3OEVBNTcwNTJENDM2Qk";

fn properties(place: &Place, state: &State) -> String {
    let (client, controller) = (state.address("client"), state.address("controller"));
    let (proxied, proxy) = (state.address("proxied"), state.address("proxy"));
    let (sasl, mutual) = (state.address("sasl"), state.address("mutual"));
    format!(
        "process.roles=broker,controller\n\
         node.id=1\n\
         controller.quorum.voters=1@{controller}\n\
         controller.listener.names=CONTROLLER\n\
         listeners=CLIENT://{client},PROXIED://{proxied},SASL://{sasl},MUTUAL://{mutual},CONTROLLER://{controller}\n\
         advertised.listeners=CLIENT://{client},PROXIED://{proxy},SASL://{sasl},MUTUAL://{mutual}\n\
         inter.broker.listener.name=CLIENT\n\
         listener.security.protocol.map=CLIENT:PLAINTEXT,PROXIED:PLAINTEXT,CONTROLLER:PLAINTEXT,SASL:SASL_SSL,MUTUAL:SSL\n\
         log.dirs={}\n\
         offsets.topic.replication.factor=1\n\
         offsets.topic.num.partitions=4\n\
         transaction.state.log.replication.factor=1\n\
         transaction.state.log.num.partitions=4\n\
         transaction.state.log.min.isr=1\n\
         share.coordinator.state.topic.replication.factor=1\n\
         share.coordinator.state.topic.min.isr=1\n\
         broker.session.timeout.ms=3000\n\
         broker.heartbeat.interval.ms=1000\n\
         group.initial.rebalance.delay.ms=0\n\
         auto.create.topics.enable=false\n",
        place.home("data").display()
    )
}

/// Of the listeners that encrypt.
fn security_properties(place: &Place) -> String {
    const MODULES: &str = "org.apache.kafka.common.security";
    let scram = SCRAM.map(|mechanism| {
        let mechanism = mechanism.to_lowercase();
        format!(
            "listener.name.sasl.{mechanism}.sasl.jaas.config={MODULES}.scram.ScramLoginModule required;\n"
        )
    });
    format!(
        "sasl.enabled.mechanisms=PLAIN,{}\n\
         listener.name.sasl.plain.sasl.jaas.config={MODULES}.plain.PlainLoginModule required user_{USER}=\"{PASSWORD}\";\n\
         {}\
         listener.name.mutual.ssl.client.auth=required\n\
         ssl.keystore.type=PEM\n\
         ssl.keystore.location={}\n\
         ssl.truststore.type=PEM\n\
         ssl.truststore.location={}\n",
        SCRAM.join(","),
        scram.concat(),
        place.home(KEYSTORE).display(),
        place.certificate(AUTHORITY).display()
    )
}

fn command(place: &Place, _: &State) -> Command {
    let mut command = java(place, "512m");
    command.arg("kafka.Kafka").arg(place.home("server.properties"));
    command
}

fn java(place: &Place, memory: &str) -> Command {
    let mut command = Command::new("java");
    command.arg(format!("-Xmx{memory}")).arg("-cp").arg(place.installed("lib/*"));
    command
}

/// It says which versions of its protocol it speaks.
fn answers(_: &Place, state: &State) -> bool {
    /// Its length; ApiVersions in version 0, with 1 as the number of the request and no client's name.
    const REQUEST: [u8; 14] = [0, 0, 0, 10, 0, 18, 0, 0, 0, 0, 0, 1, 0xff, 0xff];
    let Ok(mut stream) = TcpStream::connect(state.address("client")) else { return false };
    let mut answer = [0; 8];
    stream.set_read_timeout(Some(Duration::from_secs(2))).is_ok()
        && stream.write_all(&REQUEST).is_ok()
        && stream.read_exact(&mut answer).is_ok()
        // Behind its length stands the number of the request.
        && answer[4..] == [0, 0, 0, 1]
}
