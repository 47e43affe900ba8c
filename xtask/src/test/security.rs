//! Encryption and authentication, on servers that demand them.

use super::cases::count;
use super::{Cases, Context, Outcome};
use crate::built;
use crate::command::program;
use crate::servers;

const SERVERS: [&str; 5] = ["kafka", "rabbit", "nats-token", "nats-user", "nats-nkey"];
const PACKAGES: [&str; 3] = ["saga-kafka", "saga-rabbit", "saga-nats"];

pub(super) fn check(context: &Context) -> Outcome {
    let target = &context.workspace.target_directory;
    let checked = servers::up(target, &SERVERS).and_then(|variables| check_all(&variables));
    match (checked, servers::down(target, &SERVERS)) {
        (Ok(cases), Ok(())) => Outcome::Cases(cases),
        (Err(why), _) | (_, Err(why)) => Outcome::Failed(why),
    }
}

fn check_all(variables: &[(String, String)]) -> Result<Cases, String> {
    let suites = built::tests(&["security"])?;
    PACKAGES.iter().try_fold(Cases::default(), |sum, package| {
        let suite = built::find(&suites, package, "security")?;
        match count(program(&suite.path, ["--ignored"]), variables)? {
            Cases { passed: 0, failed: 0, .. } => Err(format!("no case of {package} was run")),
            cases => Ok(sum + cases),
        }
    })
}
