//! Atomic replacement of a file: a crash at any moment leaves the old file or the new one.

use crate::par::pause;
use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process;
use std::sync::atomic::{AtomicU64, Ordering};

/// Two writers of one process must not share a temporary name.
static COUNTER: AtomicU64 = AtomicU64::new(0);
/// The number of links that Linux follows.
const MAX_LINKS: usize = 40;
/// Bytes that are read or written between two pauses.
pub(super) const BLOCK: usize = 1 << 24;

/// Writes `bytes` beside `path`, syncs them to the disk and renames the file.
///
/// A symbolic link is kept, and its target replaced.
pub(super) fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let path = &followed(path)?;
    let temporary = fill_beside(path, bytes)?;
    if let Err(error) = fs::rename(&temporary, path) {
        discard(&temporary);
        return Err(error);
    }
    sync_folder(path);
    Ok(())
}

/// Returns the regular file, or the free name, that `path` leads to.
fn followed(path: &Path) -> io::Result<PathBuf> {
    let mut path = path.to_owned();
    for _ in 0..MAX_LINKS {
        let kind = match fs::symlink_metadata(&path) {
            Ok(metadata) => metadata.file_type(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(path),
            Err(error) => return Err(error),
        };
        if !kind.is_symlink() {
            return regular(kind).map(|()| path);
        }
        // A relative link starts from its own folder; an absolute one replaces the path.
        path = path.with_file_name("").join(fs::read_link(&path)?);
    }
    Err(io::Error::new(io::ErrorKind::InvalidInput, "too many symbolic links"))
}

/// Refuses folders, devices and pipes: a device would be replaced or read without end.
pub(super) fn regular(kind: fs::FileType) -> io::Result<()> {
    if kind.is_file() {
        return Ok(());
    }
    let what = if kind.is_dir() { "it is a folder" } else { "it is no regular file" };
    Err(io::Error::new(io::ErrorKind::InvalidInput, what))
}

/// Writes a file with a new name beside `path` and returns the name.
fn fill_beside(path: &Path, bytes: &[u8]) -> io::Result<PathBuf> {
    loop {
        let temporary = beside(path)?;
        match fill(&temporary, bytes) {
            Ok(()) => return Ok(temporary),
            // Left by a killed process with the same id, as happens in containers.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error),
        }
    }
}

/// Removes an unfinished file; the earlier error is the one to report.
fn discard(temporary: &Path) {
    let _ = fs::remove_file(temporary);
}

fn fill(path: &Path, bytes: &[u8]) -> io::Result<()> {
    /// Removes the file if writing it is cancelled.
    struct Unfinished<'a>(&'a Path);
    impl Drop for Unfinished<'_> {
        fn drop(&mut self) {
            discard(self.0);
        }
    }
    let mut file = OpenOptions::new().write(true).create_new(true).open(path)?;
    let unfinished = Unfinished(path);
    for block in bytes.chunks(BLOCK) {
        file.write_all(block)?;
        // What waits for the disk at the end would not be cancelled.
        if block.len() == BLOCK {
            file.sync_data()?;
        }
        pause();
    }
    file.sync_all()?;
    std::mem::forget(unfinished);
    Ok(())
}

fn beside(path: &Path) -> io::Result<PathBuf> {
    let name = path
        .file_name()
        .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "the path names no file"))?;
    let count = COUNTER.fetch_add(1, Ordering::Relaxed);
    let mut temporary = std::ffi::OsString::from(".");
    temporary.push(name);
    temporary.push(format!(".{}-{count}.tmp", process::id()));
    Ok(path.with_file_name(temporary))
}

/// Syncs the folder, which makes a rename durable. Not all file systems can do that, and the file is
/// complete without it, so errors are ignored.
#[cfg(unix)]
fn sync_folder(path: &Path) {
    let folder = path.parent().filter(|p| !p.as_os_str().is_empty());
    if let Ok(folder) = fs::File::open(folder.unwrap_or_else(|| Path::new("."))) {
        let _ = folder.sync_all();
    }
}

#[cfg(not(unix))]
fn sync_folder(_path: &Path) {}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn folder(name: &str) -> PathBuf {
        let path = std::env::temp_dir().join(format!("fermiac-{}-{name}", process::id()));
        fs::create_dir(&path).unwrap();
        path
    }

    #[test]
    fn leftovers_of_a_killed_process_of_the_same_number_do_not_matter() {
        let folder = folder("leftovers");
        let path = folder.join("file");
        let next = COUNTER.load(Ordering::Relaxed);
        for count in next..next + 50 {
            fs::write(folder.join(format!(".file.{}-{count}.tmp", process::id())), "old").unwrap();
        }
        replace(&path, b"new").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"new");
        fs::remove_dir_all(folder).unwrap();
    }

    #[cfg(unix)]
    #[test]
    fn links_are_followed() {
        use std::os::unix::fs::symlink;
        let folder = folder("links");
        fs::create_dir(folder.join("scratch")).unwrap();
        symlink("scratch/second", folder.join("first")).unwrap();
        symlink(folder.join("real"), folder.join("scratch/second")).unwrap();
        for text in ["made", "replaced"] {
            replace(&folder.join("first"), text.as_bytes()).unwrap();
            assert_eq!(fs::read(folder.join("real")).unwrap(), text.as_bytes());
        }
        assert!(fs::symlink_metadata(folder.join("first")).unwrap().is_symlink());
        symlink("loop", folder.join("loop")).unwrap();
        assert!(replace(&folder.join("loop"), b"").is_err());
        fs::remove_dir_all(folder).unwrap();
    }

    #[cfg(unix)]
    #[test]
    fn devices_and_folders_are_not_replaced() {
        let socket = std::env::temp_dir().join(format!("fermiac-{}-socket", process::id()));
        let _listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
        for path in [socket.as_path(), &std::env::temp_dir()] {
            assert_eq!(replace(path, b"").unwrap_err().kind(), io::ErrorKind::InvalidInput);
        }
        fs::remove_file(socket).unwrap();
    }
}
