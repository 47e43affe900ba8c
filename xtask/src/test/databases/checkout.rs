//! The checkout with what it knows in a database: in one process, in one that is killed and started again, and in many.

use std::path::Path;
use std::time::{Duration, Instant};

use crate::checkout::lines;
use crate::checkout::roles::{Lasting, Roles};
use crate::command::{program, run, run_lines};
use crate::processes::Processes;

/// Where it is kept.
pub(super) struct Kept {
    pub(super) log: String,
    pub(super) books: String,
}

impl Kept {
    /// In files of this folder, which is emptied.
    pub(super) fn in_folder(folder: &Path) -> Result<Self, String> {
        let _none_yet = std::fs::remove_dir_all(folder);
        std::fs::create_dir_all(folder).map_err(|error| format!("{}: {error}", folder.display()))?;
        let folder = folder.display();
        Ok(Self { log: format!("sqlite:{folder}/log.db"), books: format!("sqlite:{folder}/books") })
    }

    /// In schemas of this server that begin with this name.
    pub(super) fn on_server(url: &str, name: &str) -> Self {
        Self { log: format!("{url}?schema={name}_log"), books: format!("{url}?schema={name}") }
    }
}

/// In one process, with and without an order that is refused: the second run finds the books of the first.
pub(super) fn twice(example: &Path, folder: &Path, kept: &Kept) -> Result<(), String> {
    for (name, trouble) in [("kept", &[][..]), ("refused", &["--fail", "payment"])] {
        let orders = write_orders(folder, name, 200)?;
        let args = ["--log", &kept.log, "--books", &kept.books, "--orders", &orders];
        run(program(example, [&args[..], trouble].concat()))?;
    }
    Ok(())
}

/// In one process that is killed in the middle. The next one finds every order that had been placed, and the books must be right about all
/// of them.
pub(super) fn killed(example: &Path, folder: &Path, kept: &Kept) -> Result<(), String> {
    const BEGINS_WITHIN: Duration = Duration::from_secs(60);
    let orders = write_orders(folder, "killed", 20_000)?;
    let args = ["--log", &kept.log, "--books", &kept.books, "--fail", "payment:10", "--orders", &orders];
    let mut processes = Processes::new(folder);
    processes.start("killed", program(example, args))?;
    // The first word of progress: now orders are under way.
    processes.says("killed", " orders: ", BEGINS_WITHIN)?;
    processes.kill("killed")?;
    // Fewer, so that it does not take long: most of them had been placed.
    let orders = write_orders(folder, "killed", 300)?;
    let args = ["--log", &kept.log, "--books", &kept.books, "--fail", "payment:10", "--orders", &orders];
    let (mut repeated, begun) = (false, Instant::now());
    let is_right = run_lines(program(example, args), |line| {
        println!("{line}");
        repeated |= line.contains("repeated") && !line.trim_start().starts_with("0 ");
    })?;
    println!("the second run took {:.1} s", begun.elapsed().as_secs_f64());
    match (is_right, repeated) {
        (true, true) => Ok(()),
        (true, false) => Err("the first run had placed no order: it was killed too early".to_owned()),
        (false, _) => Err("the checkout did not come out right".to_owned()),
    }
}

/// In many processes, two of them for the stock and two for the money. One of each is killed while orders are under way, and started again.
pub(super) fn side_by_side(example: &Path, folder: &Path, bus: &str, kept: &Kept) -> Result<(), String> {
    const TWICE: [&str; 2] = ["inventory", "payment"];
    let lasting = Lasting { log: Some(&kept.log), books: Some(&kept.books), twice: &TWICE };
    let mut roles = Roles::start(example, folder, bus, lasting, None)?;
    let orders = write_orders(folder, "side-by-side", 1_000)?;
    let shop = [
        "--role",
        "shop",
        "--bus",
        bus,
        "--fail",
        "payment:10",
        "--report",
        &roles.report("shop"),
        "--orders",
    ];
    let mut killed = None;
    let shopped = run_lines(program(example, [&shop[..], &[&orders]].concat()), |line| {
        println!("{line}");
        // The first word of progress that tells of any: now orders are under way.
        if line.contains(" orders: ") && !line.starts_with("0 ") && killed.is_none() {
            killed = Some(kill_and_start(&mut roles, bus, &kept.books));
        }
    })?;
    killed.ok_or("the orders ended before anything was killed: more are needed")??;
    if !shopped {
        return Err(format!("the shop's orders did not end as they should; see {}", folder.display()));
    }
    roles.stop_and_check(&["shop"])
}

fn kill_and_start(roles: &mut Roles, bus: &str, books: &str) -> Result<(), String> {
    for (role, trouble) in [("inventory", &[][..]), ("payment", &["--fail", "payment:10"])] {
        println!("{role}-2 is killed, and started again");
        roles.processes.kill(&format!("{role}-2"))?;
        let args = ["--bus", bus, "--books", books];
        roles.spawn_as(&format!("{role}-2"), role, &[&args[..], trouble].concat())?;
    }
    Ok(())
}

/// Orders whose ids are their numbers, so that every tenth is told by its id.
fn write_orders(folder: &Path, name: &str, count: u32) -> Result<String, String> {
    let path = folder.join(format!("{name}.jsonl"));
    let text = lines(count).replace(r#""order_id":""#, &format!(r#""order_id":"{name}-"#));
    std::fs::write(&path, text).map_err(|error| format!("{}: {error}", path.display()))?;
    Ok(path.to_string_lossy().into_owned())
}
