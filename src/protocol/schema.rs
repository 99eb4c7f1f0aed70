//! Owns the schema language: one line a field, from which the structure, its default, its decoder and its encoder come.
//! Kafka: the message generator and its JSON files.
//!
//! ```text
//! message! {
//!     /// What it is for.
//!     produce_request::ProduceRequest, 0..=11, flexible 9..;         module, main structure, versions, first flexible one
//!
//!     ProduceRequest {
//!         transactional_id: Option<Str>, 3..;                        name, type, versions that have the field
//!         timeout_ms: i32 = 30_000, 0..;                             a default that is not the type's own
//!         rack: Str, 11.., [ignorable];                              left out of versions without it, even when set
//!         name: Option<Str>, 0.., null 10..;                         null is allowed in these versions only
//!         0 => cluster_id: Option<Str>, 12..;                        tag 0; tagged lines come last, in ascending order
//!     }
//! }
//! ```
//!
//! Types: the JSON's int8 is i8 and so on, string `Str`, bytes `Bytes`, records `Records`, uuid `Uuid`, []T `Vec<T>`,
//! nullable T `Option<T>`. A field that a version lacks decodes to its default. Each structure also carries
//! `unknown_tagged_fields`. Names are the JSON's, fields in snake case.

/// Declares the structures of one request or response; see the module's page.
macro_rules! message {
    (
        $(#[$doc:meta])*
        $module:ident::$main:ident, $supported:expr $(, flexible $flexible:literal ..)?;
        $($name:ident {
            $($field:ident: $type:ty $(= $default:expr)?, $versions:expr
                $(, null $null:expr)? $(, [$ignorable:ident])?;)*
            $($tag:literal => $tagged:ident: $tagged_type:ty $(= $tagged_default:expr)?, $tagged_versions:expr
                $(, null $tagged_null:expr)? $(, [$tagged_ignorable:ident])?;)*
        })+
    ) => {
        $(#[$doc])*
        pub mod $module {
            #[allow(unused_imports, reason = "one list for every message")]
            use crate::common::Uuid;
            #[allow(unused_imports, reason = "one list for every message")]
            use crate::protocol::codec::{
                DecodeError, EncodeError, Message, RawTaggedField, Reader, Records, Str, Structure, Version, Wire, Writer,
            };
            #[allow(unused_imports, reason = "one list for every message")]
            use bytes::Bytes;

            impl Message for $main {
                const NAME: &'static str = stringify!($main);
                const VERSIONS: std::ops::RangeInclusive<i16> = $supported;
                const FLEXIBLE_FROM: Option<i16> = $crate::protocol::schema::optional!($($flexible)?);
            }

            $(
                #[derive(Clone, Debug, PartialEq)]
                pub struct $name {
                    $(pub $field: $type,)*
                    $(pub $tagged: $tagged_type,)*
                    pub unknown_tagged_fields: Vec<RawTaggedField>,
                }

                impl Structure for $name {}

                impl Default for $name {
                    fn default() -> Self {
                        Self {
                            $($field: $crate::protocol::schema::default!($type $(= $default)?),)*
                            $($tagged: $crate::protocol::schema::default!($tagged_type $(= $tagged_default)?),)*
                            unknown_tagged_fields: Vec::new(),
                        }
                    }
                }

                #[allow(unused_variables, unused_mut, reason = "a structure may have no tagged fields")]
                impl Wire for $name {
                    fn read(r: &mut Reader, v: Version) -> Result<Self, DecodeError> {
                        $(
                            let $field: $type = if ($versions).contains(&v.number) {
                                Wire::read(r, v)?
                            } else {
                                $crate::protocol::schema::default!($type $(= $default)?)
                            };
                            $(if Wire::is_null(&$field) && !($null).contains(&v.number) {
                                return Err(DecodeError::Null);
                            })?
                        )*
                        $(let mut $tagged = $crate::protocol::schema::default!($tagged_type $(= $tagged_default)?);)*
                        let unknown_tagged_fields = r.tagged_fields(v, &mut |r, tag| {
                            $(if tag == $tag && ($tagged_versions).contains(&v.number) {
                                $tagged = Wire::read(r, v)?;
                                $(if Wire::is_null(&$tagged) && !($tagged_null).contains(&v.number) {
                                    return Err(DecodeError::Null);
                                })?
                                return Ok(true);
                            })*
                            Ok(false)
                        })?;
                        Ok(Self { $($field,)* $($tagged,)* unknown_tagged_fields })
                    }

                    fn write(&self, w: &mut Writer, v: Version) -> Result<(), EncodeError> {
                        $(
                            if ($versions).contains(&v.number) {
                                $(if Wire::is_null(&self.$field) && !($null).contains(&v.number) {
                                    return Err(EncodeError::NullNotInVersion {
                                        field: stringify!($field),
                                        version: v.number,
                                    });
                                })?
                                Wire::write(&self.$field, w, v)?;
                            } else {
                                $crate::protocol::schema::refuse_if_set!(
                                    [$($ignorable)?] self.$field, $field, v,
                                    $crate::protocol::schema::default!($type $(= $default)?)
                                );
                            }
                        )*
                        $(
                            let mut $tagged =
                                self.$tagged != $crate::protocol::schema::default!($tagged_type $(= $tagged_default)?);
                            if $tagged && !($tagged_versions).contains(&v.number) {
                                $crate::protocol::schema::refuse_if_set!(
                                    [$($tagged_ignorable)?] self.$tagged, $tagged, v,
                                    $crate::protocol::schema::default!($tagged_type $(= $tagged_default)?)
                                );
                                $tagged = false;
                            }
                        )*
                        let mut unknown = self.unknown_tagged_fields.as_slice();
                        if v.flexible {
                            w.tag_count(0 $(+ usize::from($tagged))*, unknown)?;
                            $(if $tagged {
                                unknown = w.raw_tags_below($tag, unknown)?;
                                w.tagged_field($tag, &self.$tagged, v)?;
                            })*
                            w.raw_tags(unknown)
                        } else if unknown.is_empty() {
                            Ok(())
                        } else {
                            Err(EncodeError::TaggedFieldsNotInVersion { version: v.number })
                        }
                    }
                }

                #[cfg(test)]
                impl $crate::protocol::random::Random for $name {
                    fn random(rng: &mut rand::rngs::StdRng, v: Version) -> Self {
                        use $crate::protocol::random;
                        let mut value = Self::default();
                        $(if ($versions).contains(&v.number) {
                            let null = true $(&& ($null).contains(&v.number))?;
                            value.$field = random::field(rng, v, null);
                        })*
                        $(if ($tagged_versions).contains(&v.number) {
                            let null = true $(&& ($tagged_null).contains(&v.number))?;
                            value.$tagged = random::field(rng, v, null);
                        })*
                        value.unknown_tagged_fields = random::unknown_tagged_fields(rng, v);
                        value
                    }
                }
            )+
        }
        pub use $module::$main;
    };
}

macro_rules! optional {
    () => {
        None
    };
    ($value:expr) => {
        Some($value)
    };
}

macro_rules! default {
    ($type:ty) => {
        <$type>::default()
    };
    ($type:ty = $default:expr) => {
        $default
    };
}

macro_rules! refuse_if_set {
    ([ignorable] $value:expr, $field:ident, $v:ident, $default:expr) => {};
    ([] $value:expr, $field:ident, $v:ident, $default:expr) => {
        if $value != $default {
            return Err(EncodeError::FieldNotInVersion { field: stringify!($field), version: $v.number });
        }
    };
}

pub(crate) use {default, message, optional, refuse_if_set};
