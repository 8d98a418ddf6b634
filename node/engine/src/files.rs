//! The only place that touches secret files: keys and tokens, mode 0600, written atomically.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
};

use data_encoding::BASE32_NOPAD;
use proto::keys::{DeviceKey, IdentityKey};
use zeroize::Zeroizing;

/// Bytes of a seed.
const SEED_LEN: usize = 32;
/// A secret file is never longer; more is somebody else's file.
const SECRET_BYTES_MAX: u64 = 1_024;

/// Makes the data folder with mode 0700 where it is missing, and takes others' permissions away.
///
/// # Errors
/// The file system's.
pub fn make_data_dir(dir: &Path) -> io::Result<()> {
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(dir)?;
    let mode = fs::metadata(dir)?.permissions().mode();
    if mode & 0o077 != 0 {
        fs::set_permissions(dir, fs::Permissions::from_mode(0o700))?;
    }
    Ok(())
}

/// Writes a file so that after a power cut there is the old one or the new one, whole.
///
/// # Errors
/// The file system's.
pub fn write_atomically(path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    let dir = path.parent().ok_or_else(|| {
        io::Error::new(io::ErrorKind::InvalidInput, "expected a path with a folder")
    })?;
    let mut random = [0; 8];
    fill_random(&mut random);
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let temporary: PathBuf = dir.join(format!(".{name}.{:016x}", u64::from_be_bytes(random)));
    let written = (|| {
        let mut file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(mode)
            .open(&temporary)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&temporary, path)?;
        File::open(dir)?.sync_all()
    })();
    if written.is_err() {
        let _ = fs::remove_file(&temporary);
    }
    written
}

/// Writes a file that its owner alone may read, whole or not at all.
///
/// # Errors
/// The file system's.
pub fn write_private(path: &Path, bytes: &[u8]) -> io::Result<()> {
    write_atomically(path, bytes, 0o600)
}

/// Writes over what stands in a private file, so that where the disk does as it is told nothing of it is
/// left. It must be short, and what is half written be recognised by its reader.
///
/// # Errors
/// The file system's.
pub(crate) fn write_over(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).open(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

/// The token in a file, made where it is missing: 256 random bits as base32.
///
/// # Errors
/// The file system's, or a file that holds no token.
pub fn read_or_create_token(path: &Path) -> io::Result<String> {
    if let Some(text) = read_secret(path)? {
        let token = std::str::from_utf8(&text).unwrap_or_default().trim();
        if token.len() >= 32 && token.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
            return Ok(token.to_owned());
        }
        return Err(invalid(path, "a token of at least 32 letters and digits"));
    }
    let seed = random_seed();
    let token = BASE32_NOPAD.encode(&*seed).to_ascii_lowercase();
    write_atomically(path, format!("{token}\n").as_bytes(), 0o600)?;
    Ok(token)
}

/// Fills a buffer from the operating system's source of randomness.
pub(crate) fn fill_random(bytes: &mut [u8]) {
    // Without randomness no key is safe, so there is nothing to go on with. Linux can't fail here
    // once it has booted.
    #[expect(
        clippy::expect_used,
        reason = "there is no safe way on without randomness"
    )]
    getrandom::fill(bytes).expect("the operating system gives randomness");
}

/// 32 random bytes that are erased on drop.
pub(crate) fn random_seed() -> Zeroizing<[u8; SEED_LEN]> {
    let mut seed = Zeroizing::new([0; SEED_LEN]);
    fill_random(&mut *seed);
    seed
}

/// The keys of a device that is set up.
#[derive(Debug, Clone)]
pub(crate) struct Keys {
    pub(crate) identity: IdentityKey,
    pub(crate) device: DeviceKey,
}

const IDENTITY_FILE: &str = "identity.key";
const DEVICE_FILE: &str = "device.key";
const ENDPOINT_FILE: &str = "endpoint.key";

impl Keys {
    /// The keys in the folder; `None` before set-up.
    pub(crate) fn load(dir: &Path) -> io::Result<Option<Self>> {
        let identity = read_seed(&dir.join(IDENTITY_FILE))?;
        let device = read_seed(&dir.join(DEVICE_FILE))?;
        Ok(match (identity, device) {
            (Some(identity), Some(device)) => Some(Self {
                identity: IdentityKey::from_seed(&identity),
                device: DeviceKey::from_seed(&device),
            }),
            _ => None,
        })
    }

    /// New keys, durable when this returns. A file that is there already is kept: set-up may have
    /// been cut in the middle.
    pub(crate) fn create(dir: &Path) -> io::Result<Self> {
        let identity = read_or_create_seed(&dir.join(IDENTITY_FILE))?;
        let device = read_or_create_seed(&dir.join(DEVICE_FILE))?;
        Ok(Self {
            identity: IdentityKey::from_seed(&identity),
            device: DeviceKey::from_seed(&device),
        })
    }
}

/// The endpoint's secret, made where it is missing.
pub(crate) fn endpoint_seed(dir: &Path) -> io::Result<Zeroizing<[u8; SEED_LEN]>> {
    read_or_create_seed(&dir.join(ENDPOINT_FILE))
}

fn read_or_create_seed(path: &Path) -> io::Result<Zeroizing<[u8; SEED_LEN]>> {
    if let Some(seed) = read_seed(path)? {
        return Ok(seed);
    }
    let seed = random_seed();
    write_atomically(path, &*seed, 0o600)?;
    Ok(seed)
}

fn read_seed(path: &Path) -> io::Result<Option<Zeroizing<[u8; SEED_LEN]>>> {
    let Some(bytes) = read_secret(path)? else {
        return Ok(None);
    };
    let seed = bytes
        .as_slice()
        .try_into()
        .map_err(|_| invalid(path, "a key of 32 bytes"))?;
    Ok(Some(Zeroizing::new(seed)))
}

/// The content of a secret file; `None` where it is missing. Takes others' permissions away.
fn read_secret(path: &Path) -> io::Result<Option<Zeroizing<Vec<u8>>>> {
    read_private(path, SECRET_BYTES_MAX)
}

/// The content of a file that is its owner's alone, of at most so many bytes; `None` where it is
/// missing. Takes others' permissions away. It is written by [`write_private`].
///
/// # Errors
/// The file system's, or a longer file.
pub fn read_private(path: &Path, bytes_max: u64) -> io::Result<Option<Zeroizing<Vec<u8>>>> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let metadata = file.metadata()?;
    if metadata.len() > bytes_max {
        return Err(invalid(path, "a short secret file"));
    }
    if metadata.permissions().mode() & 0o077 != 0 {
        file.set_permissions(fs::Permissions::from_mode(0o600))?;
    }
    let mut bytes = Zeroizing::new(Vec::new());
    file.take(bytes_max).read_to_end(&mut bytes)?;
    Ok(Some(bytes))
}

fn invalid(path: &Path, expected: &str) -> io::Error {
    let text = format!(
        "expected {expected} in {}, found something else: move the file away",
        path.display()
    );
    io::Error::new(io::ErrorKind::InvalidData, text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn secrets_are_private_stable_and_repaired() {
        let dir = tempfile::tempdir().unwrap();
        let home = dir.path().join("a/b");
        make_data_dir(&home).unwrap();
        assert_eq!(mode(&home), 0o700);
        assert!(Keys::load(&home).unwrap().is_none());
        let keys = Keys::create(&home).unwrap();
        let again = Keys::load(&home).unwrap().unwrap();
        assert_eq!(
            (keys.identity.id(), keys.device.id()),
            (again.identity.id(), again.device.id())
        );
        assert_ne!(keys.identity.id().0, keys.device.id().0);
        let token = read_or_create_token(&home.join("api-token")).unwrap();
        assert_eq!(
            token,
            read_or_create_token(&home.join("api-token")).unwrap()
        );
        assert_eq!(endpoint_seed(&home).unwrap(), endpoint_seed(&home).unwrap());
        for file in [IDENTITY_FILE, DEVICE_FILE, ENDPOINT_FILE, "api-token"] {
            assert_eq!(mode(&home.join(file)), 0o600, "{file}");
        }
        fs::set_permissions(home.join(DEVICE_FILE), fs::Permissions::from_mode(0o644)).unwrap();
        Keys::load(&home).unwrap();
        assert_eq!(mode(&home.join(DEVICE_FILE)), 0o600);
        assert_eq!(
            fs::read_dir(&home).unwrap().count(),
            4,
            "no temporary file is left"
        );
    }

    #[test]
    fn a_foreign_file_is_refused_and_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(DEVICE_FILE);
        fs::write(&path, b"not a key").unwrap();
        assert!(
            Keys::create(dir.path())
                .unwrap_err()
                .to_string()
                .contains("device.key")
        );
        assert_eq!(fs::read(&path).unwrap(), b"not a key");
        fs::write(dir.path().join("api-token"), b"short").unwrap();
        assert!(read_or_create_token(&dir.path().join("api-token")).is_err());
    }
}
