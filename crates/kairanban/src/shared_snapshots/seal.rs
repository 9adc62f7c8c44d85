//! Signs and bounds values in Redis: an HMAC over key and content, and a limit of the length.

use std::io::{self, Write};

use hmac::{Hmac, KeyInit as _, Mac as _};
use serde::{Serialize, de::DeserializeOwned};
use sha2::Sha256;

/// Bytes of an HMAC-SHA256.
const TAG_BYTES: usize = 32;

/// Signs and checks what is kept in Redis. Cheap to clone.
#[derive(Clone)]
pub struct Seal {
    /// `None` if nothing is signed.
    mac: Option<Hmac<Sha256>>,
    bytes_max: usize,
}

impl Seal {
    /// Creates a seal with a key, or, if that is empty, one that only bounds the length.
    #[must_use]
    pub fn new(key: &str, bytes_max: usize) -> Self {
        let mac = if key.is_empty() {
            None
        } else {
            Hmac::new_from_slice(key.as_bytes()).ok()
        };
        Self { mac, bytes_max }
    }

    /// Returns whether values are signed, so that other users of that Redis cannot forge one.
    #[must_use]
    pub const fn is_signed(&self) -> bool {
        self.mac.is_some()
    }

    /// Returns the longest value that is accepted, in bytes.
    #[must_use]
    pub const fn bytes_max(&self) -> usize {
        self.bytes_max
    }

    /// Encodes and signs a value that is to be kept under `key`.
    pub(super) fn close(&self, key: &str, value: &impl Serialize) -> Result<Vec<u8>, &'static str> {
        let tag_bytes = if self.is_signed() { TAG_BYTES } else { 0 };
        let mut sealed = Bounded {
            bytes: vec![0; tag_bytes],
            bytes_max: self.bytes_max,
        };
        serde_json::to_writer(&mut sealed, value)
            .map_err(|_| "it is longer than backplane.snapshot_bytes_max")?;
        let mut sealed = sealed.bytes;
        if let Some(mac) = self.mac_of(key, &sealed[tag_bytes..]) {
            sealed[..tag_bytes].copy_from_slice(&mac.finalize().into_bytes());
        }
        Ok(sealed)
    }

    /// Decodes what was found under `key`, if it is signed by us and complete.
    pub(super) fn open<T: DeserializeOwned>(
        &self,
        key: &str,
        found: &[u8],
    ) -> Result<T, &'static str> {
        if found.len() > self.bytes_max {
            return Err("it is longer than backplane.snapshot_bytes_max");
        }
        let content = if self.is_signed() {
            let (tag, content) = found.split_at_checked(TAG_BYTES).ok_or("it is cut off")?;
            let mac = self.mac_of(key, content).ok_or("there is no key")?;
            // In constant time.
            mac.verify_slice(tag)
                .map_err(|_| "it is cut off, or was not signed with backplane.redis_key")?;
            content
        } else {
            found
        };
        serde_json::from_slice(content).map_err(|_| "it cannot be read")
    }

    fn mac_of(&self, key: &str, content: &[u8]) -> Option<Hmac<Sha256>> {
        let mut mac = self.mac.clone()?;
        // The length first, so that no key and content run into each other.
        mac.update(&key.len().to_be_bytes());
        mac.update(key.as_bytes());
        mac.update(content);
        Some(mac)
    }
}

/// Takes bytes up to a bound.
struct Bounded {
    bytes: Vec<u8>,
    bytes_max: usize,
}

impl Write for Bounded {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.bytes.len() + bytes.len() > self.bytes_max {
            return Err(io::ErrorKind::StorageFull.into());
        }
        self.bytes.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_was_signed_for_this_key_and_is_whole_is_read() {
        let seal = Seal::new("0123456789abcdef", 100);
        let sealed = seal.close("main", &["hello"]).expect("short enough");
        let open =
            |seal: &Seal, key: &str, bytes: &[u8]| seal.open::<Vec<String>>(key, bytes).is_ok();
        assert!(open(&seal, "main", &sealed));
        assert!(!open(&seal, "other", &sealed), "moved");
        assert!(
            !open(&Seal::new("another key is here", 100), "main", &sealed),
            "signed by another"
        );
        assert!(!open(&seal, "main", b"[\"hello\"]"), "not signed");
        for cut in 0..sealed.len() {
            assert!(!open(&seal, "main", &sealed[..cut]), "cut at {cut}");
            let mut changed = sealed.clone();
            changed[cut] ^= 1;
            assert!(!open(&seal, "main", &changed), "changed at {cut}");
        }
        let (small, long) = (Seal::new("0123456789abcdef", 60), "x".repeat(60));
        assert!(small.close("main", &[&long]).is_err() && !open(&small, "main", &[b' '; 61]));
    }
}
