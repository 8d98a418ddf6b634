//! The folder of a node: what lies where, and which process owns it.
//!
//! What the files hold is others' business; the dashboard's address alone is written here.

use std::{
    env,
    fs::{self, File, OpenOptions, TryLockError},
    io::{self, Read as _, Write as _},
    os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
    thread,
    time::Duration,
};

use anyhow::{Context as _, bail};

/// Only the owner reads and writes.
const FILE_MODE: u32 = 0o600;
/// A command that asks whether a node runs holds the lock for an instant, so a node tries again
/// this often before it takes the lock for somebody else's.
const LOCK_TRIES: u32 = 20;
/// Between two tries.
const LOCK_PAUSE: Duration = Duration::from_millis(10);
/// Bytes of a small file of ours that are read at most.
const SMALL_FILE_BYTES_MAX: u64 = 4_096;

/// The folder that holds everything a node keeps.
#[derive(Debug, Clone)]
pub(crate) struct Folder {
    path: PathBuf,
}

/// Proof that no other process runs a node on the folder. Dropping it gives the folder free.
#[derive(Debug)]
pub(crate) struct Lock {
    _file: File,
}

impl Folder {
    /// The folder that was asked for, else the one that the desktop's rules name.
    #[expect(
        clippy::disallowed_methods,
        reason = "the command reads the environment"
    )]
    pub(crate) fn choose(asked: Option<PathBuf>) -> anyhow::Result<Self> {
        if let Some(path) = asked {
            return Self::at(&path);
        }
        // The base directory rules say that a relative path there is to be ignored.
        let absolute = |name| {
            env::var_os(name)
                .map(PathBuf::from)
                .filter(|path| path.is_absolute())
        };
        if let Some(data) = absolute("XDG_DATA_HOME") {
            return Self::at(&data.join("waymeet"));
        }
        match absolute("HOME") {
            Some(home) => Self::at(&home.join(".local/share/waymeet")),
            None => bail!("neither XDG_DATA_HOME nor HOME is set: name a folder with --data-dir"),
        }
    }

    /// The folder at `path`, whether it is there or not.
    pub(crate) fn at(path: &Path) -> anyhow::Result<Self> {
        let path = std::path::absolute(path)
            .with_context(|| format!("{} is no usable path", path.display()))?;
        Ok(Self { path })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn settings_file(&self) -> PathBuf {
        self.path.join("waymeet.toml")
    }

    pub(crate) fn token_file(&self) -> PathBuf {
        self.path.join("api-token")
    }

    fn url_file(&self) -> PathBuf {
        self.path.join("dashboard-url")
    }

    fn lock_file(&self) -> PathBuf {
        self.path.join("lock")
    }

    /// Makes the folder where it is missing, for its owner alone.
    ///
    /// # Errors
    ///
    /// The file system's, or a folder that everybody writes into, such as `/tmp`: named by
    /// mistake, it must not be closed to the others.
    pub(crate) fn make(&self) -> anyhow::Result<()> {
        let everybody_writes = fs::metadata(&self.path)
            .is_ok_and(|metadata| metadata.permissions().mode() & 0o002 != 0);
        if everybody_writes {
            bail!(
                "everybody may write into {}: name a folder of your own with --data-dir",
                self.path.display()
            );
        }
        engine::files::make_data_dir(&self.path)
            .with_context(|| format!("cannot make the folder {}", self.path.display()))
    }

    /// Takes the folder for this process.
    pub(crate) fn lock(&self) -> anyhow::Result<Lock> {
        let path = self.lock_file();
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(FILE_MODE)
            .open(&path)
            .with_context(|| format!("cannot open {}", path.display()))?;
        let mut tries = 0;
        loop {
            match file.try_lock() {
                Ok(()) => break,
                Err(TryLockError::WouldBlock) if tries < LOCK_TRIES => {
                    tries += 1;
                    thread::sleep(LOCK_PAUSE);
                }
                Err(TryLockError::WouldBlock) => bail!(
                    "a node runs on {folder} already{holder}: use `waymeet open` to see it, \
                     or another folder with --data-dir",
                    folder = self.path.display(),
                    holder = holder(&mut file),
                ),
                Err(TryLockError::Error(error)) => {
                    return Err(error).with_context(|| format!("cannot lock {}", path.display()));
                }
            }
        }
        file.set_len(0)
            .and_then(|()| writeln!(file, "{}", std::process::id()))
            .with_context(|| format!("cannot write {}", path.display()))?;
        Ok(Lock { _file: file })
    }

    /// Whether a node runs on the folder. The address file alone doesn't say so: a killed node
    /// leaves it behind, and another program may have taken the port since.
    pub(crate) fn is_running(&self) -> bool {
        File::open(self.lock_file())
            .is_ok_and(|file| matches!(file.try_lock_shared(), Err(TryLockError::WouldBlock)))
    }

    /// The dashboard's address, if a node has said so.
    pub(crate) fn url(&self) -> io::Result<String> {
        read_small(&self.url_file())
    }

    /// The token for the API.
    pub(crate) fn token(&self) -> io::Result<String> {
        read_small(&self.token_file())
    }

    /// Tells everybody who may read the folder where the dashboard is; never half an address.
    pub(crate) fn write_url(&self, url: &str) -> io::Result<()> {
        engine::files::write_atomically(&self.url_file(), format!("{url}\n").as_bytes(), FILE_MODE)
    }

    /// Says that no dashboard is there any more.
    pub(crate) fn remove_url(&self) -> io::Result<()> {
        match fs::remove_file(self.url_file()) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }
}

fn holder(file: &mut File) -> String {
    let mut text = String::new();
    match file.take(20).read_to_string(&mut text) {
        Ok(_) if text.trim().parse::<u32>().is_ok() => format!(" (process {})", text.trim()),
        _ => String::new(),
    }
}

fn read_small(path: &Path) -> io::Result<String> {
    let mut text = String::new();
    File::open(path)?
        .take(SMALL_FILE_BYTES_MAX)
        .read_to_string(&mut text)?;
    Ok(text.trim_end().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder() -> (tempfile::TempDir, Folder) {
        let temp = tempfile::tempdir().unwrap();
        let folder = Folder::at(&temp.path().join("data")).unwrap();
        folder.make().unwrap();
        (temp, folder)
    }

    #[test]
    fn the_folder_is_private_and_nobody_elses() {
        let (temp, folder) = folder();
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o7777;
        assert_eq!(mode(folder.path()), 0o700);
        let shared = temp.path().join("shared");
        fs::create_dir(&shared).unwrap();
        fs::set_permissions(&shared, fs::Permissions::from_mode(0o1777)).unwrap();
        assert!(Folder::at(&shared).unwrap().make().is_err());
        assert_eq!(
            mode(&shared),
            0o1777,
            "a slip of the hand closes no shared folder"
        );
    }

    #[test]
    fn one_process_owns_a_folder_and_a_question_does_not_take_it() {
        let (_temp, folder) = folder();
        assert!(!folder.is_running());
        let lock = folder.lock().unwrap();
        assert!(folder.is_running());
        let text = folder.lock().unwrap_err().to_string();
        assert!(
            text.contains(&folder.path().display().to_string()),
            "{text}"
        );
        assert!(text.contains(&std::process::id().to_string()), "{text}");
        drop(lock);
        assert!(!folder.is_running());
        drop(folder.lock().unwrap());
    }

    #[test]
    fn the_address_comes_and_goes() {
        let (_temp, folder) = folder();
        assert!(folder.url().is_err());
        folder.remove_url().unwrap();
        folder.write_url("http://127.0.0.1:1").unwrap();
        folder.write_url("http://127.0.0.1:2").unwrap();
        assert_eq!(folder.url().unwrap(), "http://127.0.0.1:2");
        folder.remove_url().unwrap();
        assert!(folder.url().is_err());
    }
}
