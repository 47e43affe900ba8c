use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// Where a server is installed and keeps its data, below the target directory.
pub(super) struct Place {
    version: String,
    install: PathBuf,
    home: PathBuf,
    certificates: PathBuf,
}

impl Place {
    /// Servers of one product and version share what is installed.
    pub(super) fn new(target: &Path, name: &str, product: &str, version: &str) -> Self {
        let servers = target.join("servers");
        Self {
            version: version.to_owned(),
            install: servers.join("install").join(format!("{product}-{version}")),
            home: servers.join(name),
            certificates: certificates(target),
        }
    }

    /// What is to be installed.
    pub(super) fn version(&self) -> &str {
        &self.version
    }

    /// A path in the installation.
    pub(super) fn installed(&self, path: &str) -> PathBuf {
        self.install.join(path)
    }

    /// A path beside the data.
    pub(super) fn home(&self, path: &str) -> PathBuf {
        self.home.join(path)
    }

    /// A file among the certificates, which all servers share.
    pub(super) fn certificate(&self, name: &str) -> PathBuf {
        self.certificates.join(name)
    }

    pub(super) fn log(&self) -> PathBuf {
        self.home("log")
    }

    /// The installation is whole: it was not broken off.
    pub(super) fn is_installed(&self) -> bool {
        self.installed(".installed").exists()
    }

    pub(super) fn begin_install(&self) -> Result<(), String> {
        fs::create_dir_all(&self.install).map_err(|error| told(&self.install, error))
    }

    pub(super) fn end_install(&self) -> Result<(), String> {
        self.write_at(&self.installed(".installed"), "")
    }

    /// Empties the folder of data.
    pub(super) fn renew(&self) -> Result<(), String> {
        match fs::remove_dir_all(&self.home) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(told(&self.home, error)),
            _ => {}
        }
        fs::create_dir_all(&self.home).map_err(|error| told(&self.home, error))
    }

    pub(super) fn write_at(&self, path: &Path, text: &str) -> Result<(), String> {
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder).map_err(|error| told(folder, error))?;
        }
        fs::write(path, text).map_err(|error| told(path, error))
    }

    /// The last lines that the server said.
    pub(super) fn log_end(&self) -> String {
        const LINES: usize = 30;
        let log = fs::read(self.log()).unwrap_or_default();
        let log = String::from_utf8_lossy(&log);
        let lines: Vec<_> = log.lines().collect();
        lines[lines.len().saturating_sub(LINES)..].join("\n")
    }
}

/// The folder of the certificates, of all servers.
pub(super) fn certificates(target: &Path) -> PathBuf {
    target.join("servers").join("certificates")
}

fn told(path: &Path, error: io::Error) -> String {
    format!("{}: {error}", path.display())
}
