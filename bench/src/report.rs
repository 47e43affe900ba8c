//! `bench report RESULTS DOCS`: what the benchmarks have left behind, as tables and charts in `DOCS/benchmarks.md`.

mod charts;
mod results;
mod sections;

use std::fs;
use std::path::Path;

use self::results::Results;

/// Between these lines of the page stands what is written here; around them, what people write.
const BEGIN: &str = "<!-- figures: written by `cargo xtask bench report` -->";
const END: &str = "<!-- end of the figures -->";

/// # Errors
/// Says which file cannot be read or written, or what is wrong in it.
pub(crate) fn run(results: &Path, docs: &Path) -> Result<(), String> {
    let results = Results::read(results)?;
    let charts = docs.join("benchmarks");
    fs::create_dir_all(&charts).map_err(|error| format!("{}: {error}", charts.display()))?;
    let figures = sections::page(&results, &charts)?;
    let page = docs.join("benchmarks.md");
    let failed = |error| format!("{}: {error}", page.display());
    let text = fs::read_to_string(&page).map_err(failed)?;
    fs::write(&page, replaced(&text, &figures)?).map_err(failed)?;
    println!("{} is written, with charts in {}", page.display(), charts.display());
    Ok(())
}

/// The page with these figures in the place of those that it has.
fn replaced(page: &str, figures: &str) -> Result<String, String> {
    let parts = page.split_once(BEGIN).and_then(|(before, rest)| Some((before, rest.split_once(END)?.1)));
    let (before, after) = parts.ok_or_else(|| format!("the page lacks the lines {BEGIN} and {END}"))?;
    Ok(format!("{before}{BEGIN}\n\n{figures}{END}{after}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_people_wrote_stays() {
        let page = format!("# Above\n{BEGIN}\nold\n{END}\nbelow\n");
        let new = replaced(&page, "new\n").unwrap();
        assert_eq!(new, format!("# Above\n{BEGIN}\n\nnew\n{END}\nbelow\n"));
        assert_eq!(replaced(&new, "new\n").unwrap(), new);
        assert!(replaced("no such lines", "").unwrap_err().contains(BEGIN));
    }
}
