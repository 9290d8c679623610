//! Values as they stand in a datagram, and what a list of them means in each dialect.
//!
//! Always holds: what was decoded is one well-formed object, and each value taken from it can be
//! kept and handed on. Never: copies a value before it is asked to.

use super::msgpack::{Cursor, Head};
use super::{DecodeError, MAX_VALUES};
use crate::kademlia::{Dialect, Value};

/// A [`Value`] that borrows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ValueRef<'a> {
    /// A string.
    Text(&'a str),
    /// Any other MessagePack object, packed: exactly one.
    Foreign(&'a [u8]),
}

impl<'a> From<&'a Value> for ValueRef<'a> {
    fn from(value: &'a Value) -> Self {
        match value {
            Value::Text(text) => Self::Text(text),
            Value::Foreign(packed) => Self::Foreign(packed),
        }
    }
}

impl<'a> ValueRef<'a> {
    /// A copy that stays.
    pub fn to_value(self) -> Value {
        match self {
            Self::Text(text) => Value::Text(text.to_owned()),
            Self::Foreign(packed) => Value::Foreign(packed.into()),
        }
    }

    /// Reads the next object, whatever it is.
    #[inline]
    pub(super) fn read(cursor: &mut Cursor<'a>) -> Result<Self, DecodeError> {
        let start = cursor.rest();
        let mut ahead = *cursor;
        if let Head::Text(text) = ahead.head()? {
            *cursor = ahead;
            return Ok(Self::Text(text));
        }
        cursor.skip()?;
        Ok(Self::Foreign(&start[..start.len() - cursor.rest().len()]))
    }

    /// Whether it can be kept and handed on.
    pub(super) fn supported(&self) -> bool {
        match self {
            Self::Text(_) => true,
            // The map and the list of an answer are around it.
            Self::Foreign(packed) => Cursor::new(packed).check_value(2).is_ok(),
        }
    }

    fn array_len(self) -> Option<(usize, Cursor<'a>)> {
        let Self::Foreign(packed) = self else {
            return None;
        };
        let mut cursor = Cursor::new(packed);
        let len = cursor.expect_array().ok()?;
        Some((len, cursor))
    }
}

/// The one object that stands for a key's value in a `store` or in a `find_value` answer. A list
/// is several values in the list dialect, and one in the scalar dialect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StoredValue<'a> {
    object: ValueRef<'a>,
    /// Whether a list of one is to be written around it.
    in_list: bool,
}

impl<'a> StoredValue<'a> {
    /// One value to be stored at a peer. A value that is itself a list is put into another one in
    /// the list dialect, where the receiver would take it apart.
    pub fn one(value: &'a Value, dialect: Dialect) -> Self {
        let object = ValueRef::from(value);
        Self { object, in_list: dialect == Dialect::List && object.array_len().is_some() }
    }

    pub(super) const fn of_object(object: ValueRef<'a>) -> Self {
        Self { object, in_list: false }
    }

    /// The object as it stands in the datagram.
    pub const fn object(self) -> ValueRef<'a> {
        self.object
    }

    /// Whether a list of one goes around the object.
    pub(super) const fn in_list(self) -> bool {
        self.in_list
    }

    /// The values that a peer means who stores this.
    ///
    /// In the list dialect the elements of a list, else the object itself; of an empty list none.
    /// In the scalar dialect the object itself; of nil none, since there it reads as absent. A value
    /// that cannot be handed on ([`DecodeError::Unsupported`]) is left out in both.
    pub fn stored(self, dialect: Dialect) -> Values<'a> {
        match (dialect, self.object) {
            (_, object) if self.in_list => Values::one(object),
            (Dialect::List, object) => match object.array_len() {
                Some((len, elements)) => Values::newest(len, elements),
                None => Values::one(object),
            },
            (Dialect::Scalar, ValueRef::Foreign([0xc0])) => Values::none(),
            (Dialect::Scalar, object) => Values::one(object),
        }
    }

    /// The values that a holder means who answers with this.
    ///
    /// As [`Self::stored`], but that a list of nothing but strings counts as several values in the
    /// scalar dialect too: it most likely comes from a node that was started in the list dialect,
    /// since the `set` of the scalar dialect's Python peers takes no lists.
    pub fn answered(self, dialect: Dialect) -> Values<'a> {
        let several = self.stored(Dialect::List);
        let strings = several.clone().all(|value| matches!(value, ValueRef::Text(_)));
        if strings && several.clone().next().is_some() { several } else { self.stored(dialect) }
    }
}

/// Values of one key, oldest first where the sender keeps an order: at most [`MAX_VALUES`], the
/// last ones. Their bytes are the datagram's own.
#[derive(Debug, Clone)]
pub struct Values<'a> {
    left: usize,
    from: Place<'a>,
}

#[derive(Debug, Clone)]
enum Place<'a> {
    One(ValueRef<'a>),
    List(Cursor<'a>),
}

impl<'a> Values<'a> {
    const fn one(value: ValueRef<'a>) -> Self {
        Self { left: 1, from: Place::One(value) }
    }

    const fn none() -> Self {
        Self { left: 0, from: Place::List(Cursor::new(&[])) }
    }

    fn newest(len: usize, mut elements: Cursor<'a>) -> Self {
        let left = len.min(MAX_VALUES);
        for _ in left..len {
            if elements.skip().is_err() {
                return Self::none();
            }
        }
        Self { left, from: Place::List(elements) }
    }

    /// Copies that stay: at most [`MAX_VALUES`] of them.
    pub fn to_vec(self) -> Vec<Value> {
        self.map(ValueRef::to_value).collect()
    }
}

impl<'a> Iterator for Values<'a> {
    type Item = ValueRef<'a>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            self.left = self.left.checked_sub(1)?;
            let value = match &mut self.from {
                Place::One(value) => *value,
                Place::List(elements) => ValueRef::read(elements).ok()?,
            };
            if value.supported() {
                return Some(value);
            }
        }
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (0, Some(self.left))
    }
}
