//! Where the sub-cases keep their books: what `--books` names.

#[cfg(feature = "sqlite")]
use super::Failure;
use crate::bus::MEMORY;
#[cfg(any(feature = "postgres", feature = "sqlite"))]
use crate::trouble::SubCase;

/// What the names of the schemas begin with if the URL does not say.
#[cfg(feature = "postgres")]
const SCHEMA: &str = "checkout";

/// A place for the books of all sub-cases. Each has its own there, as if it were another company's.
#[derive(Clone)]
pub(crate) struct Place(String);

impl Place {
    pub(crate) fn new(url: String) -> Result<Self, String> {
        match url.split_once(':') {
            Some(("memory", "")) => {}
            Some(("sqlite", _)) if cfg!(feature = "sqlite") => {}
            Some(("postgres" | "postgresql", _)) if cfg!(feature = "postgres") => {}
            Some((scheme @ ("sqlite" | "postgres" | "postgresql"), _)) => {
                let feature = if scheme == "sqlite" { scheme } else { "postgres" };
                return Err(format!(
                    "--books {scheme}: needs the feature {feature}: add --features {feature}"
                ));
            }
            _ => return Err("--books takes memory:, sqlite:FOLDER or postgres://…".to_owned()),
        }
        Ok(Self(url))
    }

    /// Whether what is kept there outlives the process.
    pub(crate) fn lasts(&self) -> bool {
        self.0 != MEMORY
    }

    /// The URL of a sub-case's own file, if the place is a folder. The folder is made if it is not there.
    #[cfg(feature = "sqlite")]
    pub(crate) fn file(&self, case: SubCase) -> Result<Option<String>, Failure> {
        let Some(rest) = self.0.strip_prefix("sqlite:") else { return Ok(None) };
        let (folder, query) = rest.split_at(rest.find('?').unwrap_or(rest.len()));
        let url = format!("sqlite:{}/{}.db{query}", folder.trim_end_matches('/'), case.name());
        let path = saga::sql::sqlite::SqliteInboxConfig::from_url(&url)?.path;
        if let Some(folder) = path.parent() {
            let made = std::fs::create_dir_all(folder);
            made.map_err(|error| format!("--books: {}: {error}", folder.display()))?;
        }
        Ok(Some(url))
    }

    /// The URL with a sub-case's own schema, if the place is a server.
    #[cfg(feature = "postgres")]
    pub(crate) fn schema(&self, case: SubCase) -> Option<String> {
        if !self.0.starts_with("postgres") {
            return None;
        }
        let (server, query) = self.0.split_once('?').unwrap_or((&self.0, ""));
        let (mut begins, mut more) = (SCHEMA, String::new());
        for setting in query.split('&').filter(|setting| !setting.is_empty()) {
            match setting.strip_prefix("schema=") {
                Some(name) => begins = name,
                None => more = format!("{more}&{setting}"),
            }
        }
        Some(format!("{server}?schema={begins}_{}{more}", case.name()))
    }
}

/// It may hold a password.
impl std::fmt::Debug for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Place").field(&self.0.split_once(':').map_or("", |(scheme, _)| scheme)).finish()
    }
}

#[cfg(all(test, feature = "sqlite", feature = "postgres"))]
mod tests {
    use super::*;

    #[test]
    fn each_sub_case_has_its_own() {
        let place = |url: &str| Place::new(url.to_owned()).unwrap();
        let folder = std::env::temp_dir().join(format!("checkout-place-{}", std::process::id()));
        let url = format!("sqlite:{}/?synchronous=normal", folder.display());
        let expected = format!("sqlite:{}/payment.db?synchronous=normal", folder.display());
        assert_eq!(place(&url).file(SubCase::Payment).unwrap(), Some(expected));
        std::fs::remove_dir(folder).unwrap();
        assert_eq!(place("memory:").file(SubCase::Payment).unwrap(), None);
        let schema = |url| place(url).schema(SubCase::History).unwrap();
        assert_eq!(schema("postgres://u:p@h/d"), "postgres://u:p@h/d?schema=checkout_history");
        let url = "postgres://u:p@h/d?sslmode=require&schema=a&x=1";
        assert_eq!(schema(url), "postgres://u:p@h/d?schema=a_history&sslmode=require&x=1");
        assert!(!format!("{:?}", place(url)).contains("u:p"));
        assert!(place(url).lasts() && !place("memory:").lasts());
        assert!(Place::new("mysql://h".to_owned()).is_err());
    }
}
