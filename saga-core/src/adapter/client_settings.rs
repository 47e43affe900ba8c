use std::collections::BTreeMap;
use std::fmt;
use std::ops::{Deref, DerefMut};

/// Settings that are passed on to a client library as they are, by name.
///
/// Any of them may be a secret, such as `ssl.key.password`, so `Debug` shows only their names.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct ClientSettings(BTreeMap<String, String>);

impl Deref for ClientSettings {
    type Target = BTreeMap<String, String>;

    fn deref(&self) -> &Self::Target {
        &self.0
    }
}

impl DerefMut for ClientSettings {
    fn deref_mut(&mut self) -> &mut Self::Target {
        &mut self.0
    }
}

impl<N: Into<String>, V: Into<String>> FromIterator<(N, V)> for ClientSettings {
    fn from_iter<I: IntoIterator<Item = (N, V)>>(settings: I) -> Self {
        Self(settings.into_iter().map(|(name, value)| (name.into(), value.into())).collect())
    }
}

impl fmt::Debug for ClientSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_not_shown() {
        let mut settings = ClientSettings::from_iter([("ssl.key.password", "s3cret")]);
        settings.insert("linger.ms".to_owned(), "7".to_owned());
        assert_eq!(format!("{settings:?}"), r#"{"linger.ms", "ssl.key.password"}"#);
        assert_eq!(settings["ssl.key.password"], "s3cret");
    }
}
