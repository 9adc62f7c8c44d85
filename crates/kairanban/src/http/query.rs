//! Query parameters: read strictly, and refused by their names.

use std::{
    fmt::{self, Display},
    future::{Ready, ready},
    num::{IntErrorKind, ParseIntError},
    ops::Deref,
    slice::Iter,
    str::FromStr,
};

use actix_web::{FromRequest, HttpRequest, dev::Payload};
use kairanban_core::one_of;
use serde::{
    de::{
        self, DeserializeOwned, DeserializeSeed, Deserializer, MapAccess, Visitor,
        value::BorrowedStrDeserializer,
    },
    forward_to_deserialize_any,
};

use super::urlencoded::{self, decode};
use crate::error::ApiError;

/// Decodes the parameters of a query.
///
/// # Errors
/// If one cannot be decoded; names it.
pub fn pairs(query: &str) -> Result<Vec<(String, String)>, ApiError> {
    let decoded = urlencoded::pairs(query.as_bytes()).map(|(name, value)| {
        let name = decode(name).map_err(|fault| undecoded("query", fault))?;
        let value = decode(value).map_err(|fault| undecoded(&name, fault))?;
        Ok((name, value))
    });
    decoded.collect()
}

fn undecoded(name: &str, fault: urlencoded::DecodeError) -> ApiError {
    ApiError::bad_request_at(name, format!("{name} {fault}"))
}

/// The parameters of a request's query. `T` has a field for each that means something, an
/// `Option` of text or of a number.
#[derive(Debug)]
pub struct Query<T>(T);

impl<T> Deref for Query<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

impl<T: DeserializeOwned> Query<T> {
    /// Reads the parameters of a query.
    ///
    /// # Errors
    /// If one cannot be read, is there twice, or is unknown where `T` denies that; names it.
    pub fn parse(query: &str) -> Result<Self, ApiError> {
        let pairs = pairs(query)?;
        let parameters = Parameters {
            rest: pairs.iter(),
            current: None,
        };
        let read = T::deserialize(parameters).map(Self);
        read.map_err(|ParameterError { name, detail }| ApiError::bad_request_at(name, detail))
    }
}

impl<T: DeserializeOwned> FromRequest for Query<T> {
    type Error = ApiError;
    type Future = Ready<Result<Self, ApiError>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        ready(Self::parse(request.query_string()))
    }
}

/// A parameter that cannot be read.
#[derive(Debug)]
struct ParameterError {
    name: String,
    detail: String,
}

impl Display for ParameterError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.detail)
    }
}

impl std::error::Error for ParameterError {}

impl ParameterError {
    fn new(name: &str, must: &str) -> Self {
        Self {
            name: name.to_owned(),
            detail: format!("{name} must {must}"),
        }
    }
}

impl de::Error for ParameterError {
    fn custom<T: Display>(text: T) -> Self {
        Self {
            name: "query".to_owned(),
            detail: text.to_string(),
        }
    }

    fn unknown_field(name: &str, known: &'static [&'static str]) -> Self {
        Self {
            name: name.to_owned(),
            detail: format!(
                "there is no parameter {name} here; it must be {}",
                one_of(known)
            ),
        }
    }

    fn duplicate_field(name: &'static str) -> Self {
        Self::new(name, "appear only once")
    }
}

/// Reads all parameters into a struct.
struct Parameters<'de> {
    rest: Iter<'de, (String, String)>,
    /// The one whose name was read.
    current: Option<&'de (String, String)>,
}

impl<'de> Deserializer<'de> for Parameters<'de> {
    type Error = ParameterError;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ParameterError> {
        visitor.visit_map(self)
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 u8 u16 u32 u64 f32 f64 char str string bytes byte_buf option unit
        unit_struct newtype_struct seq tuple tuple_struct map identifier ignored_any enum struct
    }
}

impl<'de> MapAccess<'de> for Parameters<'de> {
    type Error = ParameterError;

    fn next_key_seed<K: DeserializeSeed<'de>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, ParameterError> {
        self.current = self.rest.next();
        let name = self
            .current
            .map(|(name, _)| BorrowedStrDeserializer::new(name));
        name.map(|name| seed.deserialize(name)).transpose()
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(
        &mut self,
        seed: V,
    ) -> Result<V::Value, ParameterError> {
        let (name, value) = self
            .current
            .take()
            .ok_or_else(|| de::Error::custom("a parameter without a name"))?;
        seed.deserialize(ParameterValue { name, value })
    }
}

/// Reads the value of one parameter.
struct ParameterValue<'de> {
    name: &'de str,
    value: &'de str,
}

impl ParameterValue<'_> {
    fn number<T: FromStr<Err = ParseIntError>>(&self) -> Result<T, ParameterError> {
        self.value.parse().map_err(|error: ParseIntError| {
            let must = match error.kind() {
                IntErrorKind::PosOverflow => "be a smaller number",
                // Of a negative number a type without a sign says that it has no such digit.
                _ if self.value.parse::<i64>().is_ok() => "be a larger number",
                IntErrorKind::NegOverflow => "be a larger number",
                _ => "be a whole number",
            };
            ParameterError::new(self.name, must)
        })
    }
}

impl<'de> Deserializer<'de> for ParameterValue<'de> {
    type Error = ParameterError;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ParameterError> {
        visitor.visit_borrowed_str(self.value)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ParameterError> {
        visitor.visit_some(self)
    }

    fn deserialize_i64<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ParameterError> {
        visitor.visit_i64(self.number()?)
    }

    fn deserialize_u64<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ParameterError> {
        visitor.visit_u64(self.number()?)
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 u8 u16 u32 f32 f64 char str string bytes byte_buf unit unit_struct
        newtype_struct seq tuple tuple_struct map identifier ignored_any struct enum
    }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, Default, PartialEq, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Strict {
        before: Option<i64>,
        limit: Option<usize>,
        q: Option<String>,
    }

    #[derive(Debug, Deserialize)]
    struct Tolerant {
        q: Option<String>,
    }

    #[test]
    fn parameters_are_read_as_they_are_encoded() {
        for (query, q, before) in [
            ("", None, None),
            ("q=", Some(""), None),
            ("q", Some(""), None),
            ("&q=a+b%2Bc&", Some("a b+c"), None),
            ("before=-3&q=%E5%9B%9E", Some("回"), Some(-3)),
            ("q=a=b%25", Some("a=b%"), None),
        ] {
            let read = Query::<Strict>::parse(query).expect("readable");
            let expected = Strict {
                before,
                q: q.map(str::to_owned),
                limit: None,
            };
            assert_eq!(*read, expected, "{query}");
        }
        let read = Query::<Tolerant>::parse("utm=1&q=a&utm=2").expect("a cache buster");
        assert_eq!(read.q.as_deref(), Some("a"));
    }

    #[test]
    fn a_parameter_that_cannot_be_read_is_named() {
        for (query, path, must) in [
            ("q=%ff", "q", "q must be UTF-8"),
            ("q=%ed%a0%80", "q", "q must be UTF-8"),
            ("q=%zz", "q", "q must have two hex digits"),
            ("q=100%", "q", "q must have two hex digits"),
            ("%ff=1", "query", "query must be UTF-8"),
            ("x=%ff", "x", "x must be UTF-8"),
            ("before=x", "before", "before must be a whole number"),
            ("before=", "before", "before must be a whole number"),
            ("limit=-1", "limit", "limit must be a larger number"),
            ("limit=1.5", "limit", "limit must be a whole number"),
            (
                "before=99999999999999999999",
                "before",
                "before must be a smaller number",
            ),
            ("q=a&q=b", "q", "q must appear only once"),
            ("Q=a", "Q", "it must be before, limit or q"),
        ] {
            let error = Query::<Strict>::parse(query).expect_err(query);
            let problem = error.problem();
            assert_eq!(
                (problem.status, problem.path.as_deref()),
                (400, Some(path)),
                "{query}"
            );
            assert!(problem.detail.contains(must), "{query}: {}", problem.detail);
        }
    }
}
