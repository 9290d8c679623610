//! MessagePack at its lowest level: a cursor that reads one header at a time, and writers that
//! choose the shortest form.
//!
//! Always holds: a length is checked against the bytes that remain before anything relies on it;
//! every form of a type is read, not only the shortest. Never: allocates while reading, or recurses
//! deeper than [`MAX_DEPTH`].

use rmp::Marker;

use super::{DecodeError, MAX_DEPTH, MAX_MAP_PAIRS, MAX_OBJECTS};
use crate::kademlia::ID_BYTES;

type Result<T> = std::result::Result<T, DecodeError>;

/// The next object, or for an array or a map its header.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Head<'a> {
    Nil,
    Bool(bool),
    Uint(u64),
    /// An integer of a signed form; non-negative ones are [`Head::Uint`].
    Negative,
    Float,
    Text(&'a str),
    Bin(&'a [u8]),
    /// The extension's type.
    Ext(i8),
    /// Elements that follow.
    Array(usize),
    /// Pairs that follow.
    Map(usize),
}

/// Reads from the front of a slice.
#[derive(Debug, Clone, Copy)]
pub(super) struct Cursor<'a> {
    rest: &'a [u8],
}

impl<'a> Cursor<'a> {
    pub(super) const fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    /// What has not been read yet.
    pub(super) const fn rest(&self) -> &'a [u8] {
        self.rest
    }

    #[inline]
    fn take(&mut self, len: usize) -> Result<&'a [u8]> {
        let (taken, rest) = self.rest.split_at_checked(len).ok_or(DecodeError::Truncated)?;
        self.rest = rest;
        Ok(taken)
    }

    #[inline]
    fn array_of<const N: usize>(&mut self) -> Result<[u8; N]> {
        let (taken, rest) = self.rest.split_first_chunk().ok_or(DecodeError::Truncated)?;
        self.rest = rest;
        Ok(*taken)
    }

    #[inline]
    fn len8(&mut self) -> Result<usize> {
        self.array_of().map(|[byte]| usize::from(byte))
    }

    #[inline]
    fn len16(&mut self) -> Result<usize> {
        self.array_of().map(|bytes| usize::from(u16::from_be_bytes(bytes)))
    }

    #[inline]
    fn len32(&mut self) -> Result<usize> {
        self.array_of().map(|bytes| u32::from_be_bytes(bytes) as usize)
    }

    /// Reads the next object; of an array or a map only its header.
    #[inline]
    pub(super) fn head(&mut self) -> Result<Head<'a>> {
        let [first] = self.array_of()?;
        Ok(match Marker::from_u8(first) {
            Marker::FixStr(len) => self.text(usize::from(len))?,
            Marker::Bin8 => Head::Bin(self.len8().and_then(|len| self.take(len))?),
            Marker::FixArray(len) => self.array(usize::from(len))?,
            Marker::FixPos(int) => Head::Uint(u64::from(int)),
            Marker::Str8 => self.len8().and_then(|len| self.text(len))?,
            Marker::Str16 => self.len16().and_then(|len| self.text(len))?,
            Marker::Str32 => self.len32().and_then(|len| self.text(len))?,
            Marker::Bin16 => Head::Bin(self.len16().and_then(|len| self.take(len))?),
            Marker::Bin32 => Head::Bin(self.len32().and_then(|len| self.take(len))?),
            Marker::Array16 => self.len16().and_then(|len| self.array(len))?,
            Marker::Array32 => self.len32().and_then(|len| self.array(len))?,
            Marker::FixMap(len) => self.map(usize::from(len))?,
            Marker::Map16 => self.len16().and_then(|len| self.map(len))?,
            Marker::Map32 => self.len32().and_then(|len| self.map(len))?,
            Marker::Null => Head::Nil,
            Marker::False => Head::Bool(false),
            Marker::True => Head::Bool(true),
            Marker::U8 => Head::Uint(u64::from(u8::from_be_bytes(self.array_of()?))),
            Marker::U16 => Head::Uint(u64::from(u16::from_be_bytes(self.array_of()?))),
            Marker::U32 => Head::Uint(u64::from(u32::from_be_bytes(self.array_of()?))),
            Marker::U64 => Head::Uint(u64::from_be_bytes(self.array_of()?)),
            Marker::FixNeg(_) => Head::Negative,
            Marker::I8 => signed(i64::from(i8::from_be_bytes(self.array_of()?))),
            Marker::I16 => signed(i64::from(i16::from_be_bytes(self.array_of()?))),
            Marker::I32 => signed(i64::from(i32::from_be_bytes(self.array_of()?))),
            Marker::I64 => signed(i64::from_be_bytes(self.array_of()?)),
            Marker::F32 => self.take(4).map(|_| Head::Float)?,
            Marker::F64 => self.take(8).map(|_| Head::Float)?,
            Marker::FixExt1 => self.ext(1)?,
            Marker::FixExt2 => self.ext(2)?,
            Marker::FixExt4 => self.ext(4)?,
            Marker::FixExt8 => self.ext(8)?,
            Marker::FixExt16 => self.ext(16)?,
            Marker::Ext8 => self.len8().and_then(|len| self.ext(len))?,
            Marker::Ext16 => self.len16().and_then(|len| self.ext(len))?,
            Marker::Ext32 => self.len32().and_then(|len| self.ext(len))?,
            Marker::Reserved => return Err(DecodeError::Reserved),
        })
    }

    #[inline]
    fn text(&mut self, len: usize) -> Result<Head<'a>> {
        let text = str::from_utf8(self.take(len)?).map_err(|_| DecodeError::NotUtf8)?;
        Ok(Head::Text(text))
    }

    #[inline]
    fn array(&mut self, len: usize) -> Result<Head<'a>> {
        // An element takes a byte at least.
        if len > self.rest.len() {
            return Err(DecodeError::Truncated);
        }
        Ok(Head::Array(len))
    }

    fn map(&mut self, pairs: usize) -> Result<Head<'a>> {
        if pairs > self.rest.len() / 2 {
            return Err(DecodeError::Truncated);
        }
        Ok(Head::Map(pairs))
    }

    fn ext(&mut self, len: usize) -> Result<Head<'a>> {
        let [kind] = self.array_of()?;
        self.take(len)?;
        Ok(Head::Ext(i8::from_be_bytes([kind])))
    }

    /// An array's header, where nothing else may stand.
    #[inline]
    pub(super) fn expect_array(&mut self) -> Result<usize> {
        match self.head()? {
            Head::Array(len) => Ok(len),
            _ => Err(DecodeError::Expected("an array")),
        }
    }

    /// A string, where nothing else may stand.
    #[inline]
    pub(super) fn expect_text(&mut self) -> Result<&'a str> {
        match self.head()? {
            Head::Text(text) => Ok(text),
            _ => Err(DecodeError::Expected("a string")),
        }
    }

    /// Bytes, where nothing else may stand.
    #[inline]
    pub(super) fn expect_bin(&mut self) -> Result<&'a [u8]> {
        match self.head()? {
            Head::Bin(bytes) => Ok(bytes),
            _ => Err(DecodeError::Expected("bytes")),
        }
    }

    /// An integer of at least 0, where nothing else may stand.
    #[inline]
    pub(super) fn expect_uint(&mut self) -> Result<u64> {
        match self.head()? {
            Head::Uint(int) => Ok(int),
            _ => Err(DecodeError::Expected("an integer of at least 0")),
        }
    }

    /// An id or a key: exactly 20 bytes.
    #[inline]
    pub(super) fn expect_id(&mut self) -> Result<[u8; ID_BYTES]> {
        let bytes = self.expect_bin()?;
        bytes.try_into().map_err(|_| DecodeError::IdLength(bytes.len()))
    }

    /// Reads an object that lies within so many arrays and maps, as strictly as a value that is to
    /// be handed on needs it.
    ///
    /// It is [`DecodeError::Unsupported`] beyond the limits of this module, and where a Python peer
    /// could not read it back, so that one value cannot make a whole answer unreadable: `umsgpack`
    /// raises on equal keys of a map (to Python `1`, `1.0` and `true` are equal, so only strings
    /// are keys here) and on timestamps of a length it does not know (extension -1; MessagePack
    /// keeps all negative ones for itself).
    pub(super) fn check_value(&mut self, outer: usize) -> Result<()> {
        let mut objects = MAX_OBJECTS;
        self.walk(outer, &mut objects)
    }

    fn walk(&mut self, outer: usize, objects: &mut usize) -> Result<()> {
        *objects = objects.checked_sub(1).ok_or(DecodeError::Unsupported)?;
        match self.head()? {
            Head::Array(_) | Head::Map(_) if outer >= MAX_DEPTH => Err(DecodeError::Unsupported),
            Head::Array(len) => (0..len).try_for_each(|_| self.walk(outer + 1, objects)),
            Head::Map(pairs) => {
                let mut keys = Keys::default();
                for _ in 0..pairs {
                    let Head::Text(key) = self.head()? else {
                        return Err(DecodeError::Unsupported);
                    };
                    keys.add(key)?;
                    self.walk(outer + 1, objects)?;
                }
                Ok(())
            }
            Head::Ext(kind) if kind < 0 => Err(DecodeError::Unsupported),
            _ => Ok(()),
        }
    }

    /// Reads past one object of any shape and size; its short strings may be anything. Without
    /// recursion, since its depth is anything.
    pub(super) fn skip(&mut self) -> Result<()> {
        let mut due: usize = 1;
        while let Some(others) = due.checked_sub(1) {
            // The commonest strings, which need not be looked at.
            if let Some((first @ 0xa0..=0xbf, rest)) = self.rest.split_first() {
                self.rest = rest.get(usize::from(first & 0x1f)..).ok_or(DecodeError::Truncated)?;
                due = others;
                continue;
            }
            due = others.saturating_add(match self.head()? {
                Head::Array(len) => len,
                Head::Map(pairs) => pairs * 2,
                _ => 0,
            });
        }
        Ok(())
    }
}

const fn signed<'a>(int: i64) -> Head<'a> {
    if int < 0 { Head::Negative } else { Head::Uint(int.cast_unsigned()) }
}

/// The keys of one map so far.
#[derive(Debug, Default)]
struct Keys<'a> {
    seen: [&'a str; MAX_MAP_PAIRS],
    len: usize,
}

impl<'a> Keys<'a> {
    /// Takes one more, unless it was there or there are too many.
    fn add(&mut self, key: &'a str) -> Result<()> {
        if self.seen.iter().take(self.len).any(|seen| *seen == key) {
            return Err(DecodeError::Unsupported);
        }
        let slot = self.seen.get_mut(self.len).ok_or(DecodeError::Unsupported)?;
        *slot = key;
        self.len += 1;
        Ok(())
    }
}

/// Bytes of an array's header.
pub(super) const fn array_header_len(len: usize) -> usize {
    match len {
        0..=15 => 1,
        16..=65_535 => 3,
        _ => 5,
    }
}

/// Begins an array of at most 65,535 elements: no datagram holds more.
pub(super) fn write_array(out: &mut Vec<u8>, len: usize) {
    debug_assert!(u16::try_from(len).is_ok(), "no datagram holds so many elements");
    if len <= 15 {
        out.push(Marker::FixArray(len as u8).to_u8());
    } else {
        out.push(Marker::Array16.to_u8());
        out.extend_from_slice(&(len as u16).to_be_bytes());
    }
}

/// Writes a string.
pub(super) fn write_text(out: &mut Vec<u8>, text: &str) {
    match text.len() {
        len @ 0..=31 => out.push(Marker::FixStr(len as u8).to_u8()),
        len @ 32..=255 => out.extend_from_slice(&[Marker::Str8.to_u8(), len as u8]),
        len @ 256..=65_535 => {
            out.push(Marker::Str16.to_u8());
            out.extend_from_slice(&(len as u16).to_be_bytes());
        }
        len => {
            out.push(Marker::Str32.to_u8());
            out.extend_from_slice(&(len as u32).to_be_bytes());
        }
    }
    out.extend_from_slice(text.as_bytes());
}

/// Writes an id or a key.
pub(super) fn write_id(out: &mut Vec<u8>, id: &[u8; ID_BYTES]) {
    out.extend_from_slice(&[Marker::Bin8.to_u8(), ID_BYTES as u8]);
    out.extend_from_slice(id);
}

/// Writes an integer of 16 bits, such as a port.
pub(super) fn write_u16(out: &mut Vec<u8>, int: u16) {
    match int {
        0..=127 => out.push(int as u8),
        128..=255 => out.extend_from_slice(&[Marker::U8.to_u8(), int as u8]),
        _ => {
            out.push(Marker::U16.to_u8());
            out.extend_from_slice(&int.to_be_bytes());
        }
    }
}

/// Writes at most 255 bytes.
pub(super) fn write_bin8(out: &mut Vec<u8>, bytes: &[u8]) {
    debug_assert!(u8::try_from(bytes.len()).is_ok(), "longer strings have another header");
    out.extend_from_slice(&[Marker::Bin8.to_u8(), bytes.len() as u8]);
    out.extend_from_slice(bytes);
}

/// Writes an integer of at least 0.
pub(super) fn write_uint(out: &mut Vec<u8>, int: u64) {
    if let Ok(int) = u16::try_from(int) {
        write_u16(out, int);
    } else if let Ok(int) = u32::try_from(int) {
        out.push(Marker::U32.to_u8());
        out.extend_from_slice(&int.to_be_bytes());
    } else {
        out.push(Marker::U64.to_u8());
        out.extend_from_slice(&int.to_be_bytes());
    }
}
