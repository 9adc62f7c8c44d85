//! Caches encoded bytes, so that each encoding of a snapshot or a patch is made at most once and
//! shared by all readers.

use std::sync::OnceLock;

use bytes::Bytes;

/// The index of a slot in a [`WireCache`]. What a slot holds is decided by its user; the core knows
/// no format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WireSlot(usize);

impl WireSlot {
    /// How many slots a cache has.
    pub const COUNT: usize = 16;

    /// Returns the slot with this index. An index past the last slot does not compile:
    ///
    /// ```compile_fail
    /// let _ = kairanban_core::WireSlot::at::<{ kairanban_core::WireSlot::COUNT }>();
    /// ```
    #[must_use]
    pub const fn at<const INDEX: usize>() -> Self {
        const { assert!(INDEX < Self::COUNT, "the cache has no such slot") };
        Self(INDEX)
    }
}

type Slots = [OnceLock<Bytes>; WireSlot::COUNT];

/// Holds two encodings for each [`WireSlot`]: plain, and compressed for readers that asked for it.
#[derive(Debug, Default)]
pub struct WireCache {
    plain: Slots,
    /// Allocated for the first reader that asks for compression; few do.
    packed: OnceLock<Box<Slots>>,
}

impl WireCache {
    /// Returns the bytes in `slot`. The first caller encodes them; concurrent callers block until
    /// it is done.
    pub fn get_or_encode(&self, slot: WireSlot, encode: impl FnOnce() -> Bytes) -> Bytes {
        self.plain[slot.0].get_or_init(encode).clone()
    }

    /// Returns the bytes in `slot`, made by an encoding that may fail. First callers that come at
    /// the same time may each encode; all are returned the same bytes.
    ///
    /// # Errors
    /// The error of `encode`; the slot stays empty.
    pub fn get_or_try_encode<E>(
        &self,
        slot: WireSlot,
        encode: impl FnOnce() -> Result<Bytes, E>,
    ) -> Result<Bytes, E> {
        let slot = &self.plain[slot.0];
        if let Some(bytes) = slot.get() {
            return Ok(bytes.clone());
        }
        let bytes = encode()?;
        Ok(slot.get_or_init(|| bytes).clone())
    }

    /// Returns the compressed bytes in `slot`, made as in [`get_or_encode`](Self::get_or_encode).
    pub fn get_or_pack(&self, slot: WireSlot, pack: impl FnOnce() -> Bytes) -> Bytes {
        self.packed.get_or_init(Box::default)[slot.0]
            .get_or_init(pack)
            .clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn encodes_each_slot_once() {
        let cache = WireCache::default();
        let slot = WireSlot::at::<0>();
        let first = cache.get_or_encode(slot, || Bytes::from_static(b"a"));
        let second = cache.get_or_encode(slot, || unreachable!("made already"));
        assert_eq!((first.as_ref(), second.as_ref()), (&b"a"[..], &b"a"[..]));
        assert_eq!(
            cache.get_or_try_encode(slot, || Err("not again")),
            Ok(first)
        );
        let failing = WireSlot::at::<1>();
        assert_eq!(
            cache.get_or_try_encode(failing, || Err("failed")),
            Err("failed")
        );
        assert_eq!(
            cache.get_or_try_encode(failing, || Ok::<_, ()>(Bytes::from_static(b"d"))),
            Ok(Bytes::from_static(b"d")),
            "a failure is not remembered"
        );
        let last = WireSlot::at::<{ WireSlot::COUNT - 1 }>();
        assert_eq!(
            cache.get_or_encode(last, || Bytes::from_static(b"b")),
            "b",
            "slots are independent"
        );
        assert_eq!(
            cache.get_or_pack(slot, || Bytes::from_static(b"c")),
            "c",
            "so are plain and compressed bytes"
        );
    }
}
