//! What definitions look like.

use saga_core::Error;
use saga_core::record::Outline;
use sqlx::Row;

use super::log::Inner;
use crate::error::told;
use crate::stored::{read_outline, write_outline};

const DESCRIBE: &str = "\
    INSERT INTO saga_log_definitions (name, version, digest, outline) VALUES ($1, $2, $3, $4) \
    ON CONFLICT (name, version, digest) DO UPDATE SET outline = excluded.outline";

pub(super) async fn describe(inner: &Inner, outlines: &[Outline]) -> Result<(), Error> {
    let what = "the definitions cannot be described in the saga log";
    let mut lent = inner.database.lend(what).await?;
    let work = async {
        for outline in outlines {
            let id = &outline.definition;
            let describe = sqlx::query(DESCRIBE).bind(&*id.name).bind(i64::from(id.version));
            let describe = describe.bind(id.digest.to_string()).bind(write_outline(outline)?);
            describe.execute(&mut *lent).await.map_err(|error| told(what, error))?;
        }
        Ok::<_, Error>(())
    };
    inner.database.limit(what, work).await?;
    lent.done();
    Ok(())
}

pub(super) async fn outlines(inner: &Inner) -> Result<Vec<Outline>, Error> {
    let what = "the outlines of definitions cannot be read from the saga log";
    let mut lent = inner.database.lend(what).await?;
    let query = "\
        SELECT name, version, digest, outline FROM saga_log_definitions WHERE outline IS NOT NULL \
        ORDER BY name, version, digest";
    let query = sqlx::query(query).fetch_all(&mut *lent);
    let rows = inner.database.limit(what, async { query.await.map_err(|error| told(what, error)) }).await?;
    lent.done();
    Ok(rows.iter().filter_map(|row| read_outline(row.get(0), row.get(3))).collect())
}
