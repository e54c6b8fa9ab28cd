//! Digests of files of any size: of the whole, or of evenly spaced parts.

use super::container::refuse;
use super::replace::regular;
use crate::Result;
use crate::par::pause;
use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom};
use std::path::Path;
use twox_hash::xxhash3_128::Hasher;

/// Number of bytes of a part, and of one step through a whole file.
const PART: usize = 4096;
const STEP: usize = 1 << 20;

/// Returns the digest of the bytes of a file; with `parts`, of its length and so many parts of 4096
/// bytes, the first and the last among them.
pub fn digest_of(path: &Path, parts: Option<u64>) -> Result<String> {
    let found = || -> io::Result<String> {
        regular(fs::metadata(path)?.file_type())?;
        let mut file = File::open(path)?;
        let length = file.metadata()?.len();
        match parts {
            Some(parts) if length > parts.saturating_mul(PART as u64) => {
                of_parts(&mut file, length, parts)
            }
            _ => of_whole(&mut file),
        }
    };
    found().map_err(|error| refuse(path, format!("it could not be read: {error}")))
}

fn of_whole(file: &mut File) -> io::Result<String> {
    let (mut hasher, mut step) = (Hasher::new(), vec![0; STEP]);
    loop {
        pause();
        match file.read(&mut step) {
            Ok(0) => return Ok(format!("{:032x}", hasher.finish_128())),
            Ok(n) => hasher.write(&step[..n]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

fn of_parts(file: &mut File, length: u64, parts: u64) -> io::Result<String> {
    let (mut hasher, mut part) = (Hasher::new(), [0; PART]);
    hasher.write(&length.to_le_bytes());
    let room = u128::from(length - PART as u64);
    for i in 0..parts {
        let at = room * u128::from(i) / u128::from(parts.saturating_sub(1).max(1));
        file.seek(SeekFrom::Start(at as u64))?;
        file.read_exact(&mut part)?;
        hasher.write(&part);
    }
    Ok(format!("{:032x}", hasher.finish_128()))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn changes_within_parts_and_of_the_length_are_found() {
        let path = std::env::temp_dir().join(format!("fermiac-{}-digest", std::process::id()));
        let mut bytes = vec![7_u8; 3 * STEP + 5];
        let write = |bytes: &[u8]| {
            fs::write(&path, bytes).unwrap();
            (digest_of(&path, None).unwrap(), digest_of(&path, Some(8)).unwrap())
        };
        let good = write(&bytes);
        let end = bytes.len() - 1;
        for at in [0, end] {
            bytes[at] ^= 1;
            let bad = write(&bytes);
            assert!(bad.0 != good.0 && bad.1 != good.1);
            bytes[at] ^= 1;
        }
        bytes[PART + 1] ^= 1;
        let between = write(&bytes);
        assert!(between.0 != good.0 && between.1 == good.1);
        bytes[PART + 1] ^= 1;
        let short = write(&bytes[..end]);
        assert!(short.0 != good.0 && short.1 != good.1);
        let small = write(b"small");
        assert_eq!(small.0, small.1);
        fs::remove_file(&path).unwrap();
        assert!(digest_of(&path, None).is_err());
    }
}
