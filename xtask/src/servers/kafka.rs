//! Kafka: its jars are Maven artifacts; one node that is broker and controller.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::Command;
use std::time::Duration;

use super::Server;
use super::place::Place;
use super::state::State;
use crate::command::output;

const VERSION: &str = "4.1.1";

pub(super) const SERVER: Server = Server {
    name: "kafka",
    version: VERSION,
    variable: "SAGA_KAFKA_URL",
    ports: &["client", "controller", "proxied", "proxy"],
    install,
    prepare,
    command,
    url: |state| format!("kafka://{}", state.address("client")),
    // A listener that tells its clients the address of a proxy, for the tests that cut connections.
    more: |state| {
        vec![(
            "SAGA_KAFKA_PROXY".to_owned(),
            format!("{}=>{}", state.address("proxy"), state.address("proxied")),
        )]
    },
    answers,
    clean: |_| {},
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
    place.write_at(&place.home("server.properties"), &properties(place, state))?;
    let mut format = java(place, "128m");
    format
        .args(["kafka.tools.StorageTool", "format", "-t", CLUSTER, "-c"])
        .arg(place.home("server.properties"));
    output(format).map(drop)
}

/// Any identifier will do: each server is a cluster of its own.
const CLUSTER: &str = "MkU3OEVBNTcwNTJENDM2Qk";

fn properties(place: &Place, state: &State) -> String {
    let (client, controller) = (state.address("client"), state.address("controller"));
    let (proxied, proxy) = (state.address("proxied"), state.address("proxy"));
    format!(
        "process.roles=broker,controller\n\
         node.id=1\n\
         controller.quorum.voters=1@{controller}\n\
         controller.listener.names=CONTROLLER\n\
         listeners=CLIENT://{client},PROXIED://{proxied},CONTROLLER://{controller}\n\
         advertised.listeners=CLIENT://{client},PROXIED://{proxy}\n\
         inter.broker.listener.name=CLIENT\n\
         listener.security.protocol.map=CLIENT:PLAINTEXT,PROXIED:PLAINTEXT,CONTROLLER:PLAINTEXT\n\
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
