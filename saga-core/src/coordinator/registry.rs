use std::collections::BTreeMap;
use std::sync::Arc;

use crate::definition::Definition;
use crate::error::{Error, ErrorKind};
use crate::record::DefinitionRef;

/// The definitions a coordinator knows: several versions of each saga.
#[derive(Debug, Default)]
pub(crate) struct Registry {
    /// By name; the newest version last.
    by_name: BTreeMap<Arc<str>, Vec<Arc<Definition>>>,
}

impl Registry {
    pub(crate) fn new(definitions: Vec<Arc<Definition>>) -> Result<Self, Error> {
        let mut registry = Self::default();
        for definition in definitions {
            let versions = registry.by_name.entry(Arc::clone(&definition.id.name)).or_default();
            if let Some(same) = versions.iter().find(|known| known.id.version == definition.id.version) {
                let message = format!(
                    "saga {}: version {} is registered twice ({} and {}); give the changed definition a higher version",
                    definition.id.name, definition.id.version, same.id.digest, definition.id.digest,
                );
                return Err(Error::new(ErrorKind::Invalid, message));
            }
            versions.push(definition);
            versions.sort_by_key(|known| known.id.version);
        }
        Ok(registry)
    }

    /// The definition an instance is pinned to.
    pub(crate) fn pinned(&self, id: &DefinitionRef) -> Option<&Arc<Definition>> {
        self.by_name.get(&id.name)?.iter().find(|known| known.id == *id)
    }

    pub(crate) fn knows(&self, name: &str) -> bool {
        self.by_name.contains_key(name)
    }

    /// The newest version of each saga.
    pub(crate) fn newest_of_each(&self) -> impl Iterator<Item = &Arc<Definition>> {
        self.by_name.values().filter_map(|versions| versions.last())
    }

    pub(crate) fn all(&self) -> impl Iterator<Item = &Arc<Definition>> {
        self.by_name.values().flatten()
    }
}
