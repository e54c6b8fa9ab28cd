//! Files of named tensors with a kind, a text and a digest that detects every changed byte.

use super::replace::{BLOCK, regular, replace};
use crate::par::pause;
use crate::{Error, Result};
use safetensors::tensor::{Dtype as StoredDtype, SafeTensorError, SafeTensors, TensorView};
use std::borrow::Cow;
use std::fmt;
use std::fs::{self, File};
use std::io::{self, ErrorKind, Read};
use std::path::Path;
use std::str::FromStr;
use twox_hash::xxhash3_128::Hasher;

/// The version of the format that this library writes, and the newest that it reads.
pub const FORMAT_VERSION: u32 = 1;

const FORMAT: &str = "fermiac";
/// Number of bytes before the header, which hold its length.
const PREFIX: usize = 8;
/// The text before the digest in the header. It occurs once, as quotes inside texts are escaped.
const MARK: &[u8] = br#""digest":""#;
const NO_DIGEST: &str = "00000000000000000000000000000000";

/// The number type of a tensor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dtype {
    /// 64-bit floating-point numbers.
    F64,
    /// 64-bit signed integers.
    I64,
    /// 64-bit unsigned integers.
    U64,
    /// Bytes.
    U8,
}

impl Dtype {
    fn stored(self) -> StoredDtype {
        match self {
            Self::F64 => StoredDtype::F64,
            Self::I64 => StoredDtype::I64,
            Self::U64 => StoredDtype::U64,
            Self::U8 => StoredDtype::U8,
        }
    }
}

impl fmt::Display for Dtype {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.stored().fmt(f)
    }
}

impl FromStr for Dtype {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self> {
        [Self::F64, Self::I64, Self::U64, Self::U8]
            .into_iter()
            .find(|dtype| dtype.to_string() == name)
            .ok_or_else(|| {
                Error::argument("dtype", format!("'{name}' given; F64, I64, U64 and U8 are stored"))
            })
    }
}

/// An array of numbers, as little-endian bytes in C order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tensor<'a> {
    dtype: Dtype,
    shape: Vec<usize>,
    bytes: Cow<'a, [u8]>,
}

impl<'a> Tensor<'a> {
    /// A tensor over `bytes`, whose number must fit `dtype` and `shape`.
    pub fn new(dtype: Dtype, shape: Vec<usize>, bytes: impl Into<Cow<'a, [u8]>>) -> Result<Self> {
        let bytes = bytes.into();
        // The safetensors crate does not check the product of the shape for overflow.
        let countable = shape.iter().try_fold(8_usize, |n, s| n.checked_mul(*s)).is_some();
        if countable && TensorView::new(dtype.stored(), shape.clone(), &bytes).is_ok() {
            return Ok(Self { dtype, shape, bytes });
        }
        Err(Error::argument(
            "tensor",
            format!("{} bytes given for {dtype} of shape {shape:?}", bytes.len()),
        ))
    }

    /// The type of its numbers.
    pub fn dtype(&self) -> Dtype {
        self.dtype
    }

    /// Its shape.
    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// Its bytes.
    pub fn into_bytes(self) -> Vec<u8> {
        self.bytes.into_owned()
    }
}

/// The content of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Container<'a> {
    /// The kind of the content, such as a result or a checkpoint.
    pub kind: String,
    /// All other data, in a format of the caller's.
    pub text: String,
    /// The tensors, by name.
    pub tensors: Vec<(String, Tensor<'a>)>,
}

/// Writes or replaces a file atomically.
pub fn write(path: &Path, content: &Container<'_>) -> Result<()> {
    let bytes = encode(content).map_err(|error| refuse(path, format!("not writable: {error}")))?;
    replace(path, &bytes).map_err(|error| refuse(path, format!("it could not be written: {error}")))
}

/// Reads a file of this kind; any change of its bytes since it was written is an error.
pub fn read(path: &Path, kind: &str) -> Result<Container<'static>> {
    let whole = || -> io::Result<Vec<u8>> {
        let metadata = fs::metadata(path)?;
        regular(metadata.file_type())?;
        let mut file = File::open(path)?;
        let mut bytes = Vec::new();
        bytes.try_reserve_exact(usize::try_from(metadata.len()).unwrap_or(usize::MAX))?;
        while file.by_ref().take(BLOCK as u64).read_to_end(&mut bytes)? > 0 {
            pause();
        }
        Ok(bytes)
    };
    let bytes = whole().map_err(|error| match error.kind() {
        ErrorKind::NotFound => refuse(path, "there is no such file"),
        _ => refuse(path, format!("it could not be read: {error}")),
    })?;
    decode(&bytes, kind).map_err(|why| refuse(path, why))
}

pub(super) fn refuse(path: &Path, why: impl Into<String>) -> Error {
    Error::Checkpoint { path: path.to_owned(), why: why.into() }
}

fn encode(content: &Container<'_>) -> std::result::Result<Vec<u8>, SafeTensorError> {
    let metadata = [
        ("format", FORMAT),
        ("format_version", &FORMAT_VERSION.to_string()),
        ("fermiac_version", env!("CARGO_PKG_VERSION")),
        ("kind", &content.kind),
        ("text", &content.text),
        ("digest", NO_DIGEST),
    ];
    let metadata = metadata.into_iter().map(|(k, v)| (k.to_owned(), v.to_owned())).collect();
    let views = content
        .tensors
        .iter()
        .map(|(name, t)| Ok((name, TensorView::new(t.dtype.stored(), t.shape.clone(), &t.bytes)?)))
        .collect::<std::result::Result<Vec<_>, SafeTensorError>>()?;
    let mut bytes = safetensors::serialize(views, Some(metadata))?;
    if let Some(at) = digest_at(&bytes) {
        let digest = digest(&bytes, at);
        bytes[at..at + NO_DIGEST.len()].copy_from_slice(digest.as_bytes());
    }
    Ok(bytes)
}

fn decode(bytes: &[u8], kind: &str) -> std::result::Result<Container<'static>, String> {
    let size = bytes.len();
    let (_, header) = SafeTensors::read_metadata(bytes).map_err(|error| match error {
        SafeTensorError::HeaderTooSmall
        | SafeTensorError::HeaderTooLarge
        | SafeTensorError::InvalidHeaderLength
        | SafeTensorError::MetadataIncompleteBuffer => {
            format!("its {size} bytes are not what its header announces: it is truncated, damaged or foreign")
        }
        error => format!("it is damaged, or no file of fermiac ({error})"),
    })?;
    let metadata = header.metadata().as_ref();
    let entry = |name: &str| metadata.and_then(|m| m.get(name)).map(String::as_str);
    if entry("format") != Some(FORMAT) {
        return Err("it is a safetensors file, but was not written by fermiac".into());
    }
    let needed = |name: &str| entry(name).ok_or_else(|| format!("it is damaged: no {name}"));
    let version = needed("format_version")?;
    if version.parse::<u32>().is_ok_and(|v| v > FORMAT_VERSION) {
        let writer = needed("fermiac_version")?;
        return Err(format!(
            "it has format {version}, written by fermiac {writer}; this version reads format \
             {FORMAT_VERSION} at most: use fermiac {writer} or later"
        ));
    }
    pause();
    let at = digest_at(bytes).ok_or("it is damaged: no digest")?;
    if bytes[at..at + NO_DIGEST.len()] != *digest(bytes, at).as_bytes() {
        return Err("it is damaged: its digest does not fit its content".into());
    }
    let found = needed("kind")?;
    if found != kind {
        return Err(format!("it holds a {found}; a {kind} is needed"));
    }
    let damaged = |error: SafeTensorError| format!("it is damaged: {error}");
    let mut tensors = Vec::new();
    for (name, view) in SafeTensors::deserialize(bytes).map_err(damaged)?.tensors() {
        let tensor = view
            .dtype()
            .to_string()
            .parse()
            .and_then(|dtype| Tensor::new(dtype, view.shape().to_vec(), view.data().to_vec()))
            .map_err(|error| format!("tensor {name}: {error}"))?;
        tensors.push((name, tensor));
        pause();
    }
    tensors.sort_by(|a, b| a.0.cmp(&b.0));
    Ok(Container { kind: found.to_owned(), text: needed("text")?.to_owned(), tensors })
}

/// Returns the position of the digest, if the file is long enough.
fn digest_at(bytes: &[u8]) -> Option<usize> {
    let length = u64::from_le_bytes(*bytes.first_chunk::<PREFIX>()?);
    let end = usize::try_from(length).ok()?.checked_add(PREFIX)?;
    let header = bytes.get(PREFIX..end)?;
    let at = header.windows(MARK.len()).position(|w| w == MARK)? + MARK.len();
    (at + NO_DIGEST.len() <= header.len()).then_some(PREFIX + at)
}

/// Returns the digest of a file, with its own digest at `at` taken as zeros.
fn digest(bytes: &[u8], at: usize) -> String {
    let mut hasher = Hasher::new();
    hasher.write(&bytes[..at]);
    hasher.write(NO_DIGEST.as_bytes());
    hasher.write(&bytes[at + NO_DIGEST.len()..]);
    format!("{:032x}", hasher.finish_128())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::path::PathBuf;

    use proptest::prelude::*;

    use super::*;

    fn sample() -> Container<'static> {
        let numbers = [1.5, f64::NAN, f64::NEG_INFINITY, -0.0].map(f64::to_le_bytes).concat();
        Container {
            kind: "result".into(),
            text: r#"{"digest":"not this one","é":[1,2]}"#.into(),
            tensors: vec![
                ("a".into(), Tensor::new(Dtype::F64, vec![2, 2], numbers).unwrap()),
                ("digest".into(), Tensor::new(Dtype::U8, vec![3], vec![7, 8, 9]).unwrap()),
                ("empty".into(), Tensor::new(Dtype::I64, vec![0, 4], vec![]).unwrap()),
                ("u".into(), Tensor::new(Dtype::U64, vec![], vec![255; 8]).unwrap()),
            ],
        }
    }

    fn temporary(name: &str) -> PathBuf {
        std::env::temp_dir().join(format!("fermiac-{}-{name}", std::process::id()))
    }

    #[test]
    fn what_is_written_is_read() {
        let path = temporary("round-trip");
        write(&path, &sample()).unwrap();
        assert_eq!(read(&path, "result").unwrap(), sample());
        let other = Container { text: "new".into(), ..sample() };
        write(&path, &other).unwrap();
        assert_eq!(read(&path, "result").unwrap(), other);
        fs::remove_file(&path).unwrap();
    }

    #[test]
    fn every_flipped_bit_is_found() {
        let good = encode(&sample()).unwrap();
        for i in 0..good.len() {
            for bit in 0..8 {
                let mut bad = good.clone();
                bad[i] ^= 1 << bit;
                assert!(decode(&bad, "result").is_err(), "bit {bit} of byte {i}");
            }
        }
    }

    #[test]
    fn every_truncation_and_extension_is_found() {
        let good = encode(&sample()).unwrap();
        for end in 0..good.len() {
            assert!(decode(&good[..end], "result").is_err(), "{end} bytes");
        }
        let mut long = good;
        long.push(0);
        assert!(decode(&long, "result").is_err());
    }

    #[test]
    fn files_of_others_and_of_other_kinds_are_refused() {
        let none: Vec<(String, TensorView<'_>)> = Vec::new();
        let foreign = safetensors::serialize(none, None).unwrap();
        assert!(decode(&foreign, "result").unwrap_err().contains("not written by fermiac"));
        let good = encode(&sample()).unwrap();
        assert!(decode(&good, "checkpoint").unwrap_err().contains("it holds a result"));
    }

    #[test]
    fn a_newer_format_is_named() {
        let good = encode(&sample()).unwrap();
        let mark = br#""format_version":""#;
        let at = good.windows(mark.len()).position(|w| w == mark).unwrap() + mark.len();
        let mut newer = good;
        newer[at] = b'9';
        assert!(decode(&newer, "result").unwrap_err().contains("it has format 9"));
    }

    #[test]
    fn a_path_that_cannot_be_written_is_named() {
        let error = write(Path::new("/no/such/folder/file"), &sample()).unwrap_err();
        let text = error.to_string();
        assert!(text.starts_with("/no/such/folder/file: it could not be written"), "{text}");
        assert!(read(Path::new("/no/such/file"), "result").is_err());
        #[cfg(unix)]
        for (path, why) in [("/dev/zero", "it is no regular file"), ("/tmp", "it is a folder")] {
            let text = read(Path::new(path), "result").unwrap_err().to_string();
            assert!(text.ends_with(why), "{text}");
        }
    }

    #[test]
    fn tensors_must_fit_their_shapes() {
        assert!(Tensor::new(Dtype::F64, vec![2], vec![0; 8]).is_err());
        assert!(Tensor::new(Dtype::U8, vec![usize::MAX, 2], vec![0; 8]).is_err());
        assert!("F16".parse::<Dtype>().is_err());
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_are_refused(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            prop_assert!(decode(&bytes, "result").is_err());
        }

        #[test]
        fn a_damaged_length_of_the_header_is_refused(length in any::<u64>()) {
            let mut bytes = encode(&sample()).unwrap();
            prop_assume!(bytes[..PREFIX] != length.to_le_bytes());
            bytes[..PREFIX].copy_from_slice(&length.to_le_bytes());
            prop_assert!(decode(&bytes, "result").is_err());
        }
    }
}
