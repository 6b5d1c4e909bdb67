//! Macros by which the types of this crate get their text, their serde form and their JSON Schema.

/// Implements serde as the text of `Display` and `FromStr`, and `JsonSchema` where a schema is
/// given.
///
/// `text_form! { Interval { "description": "…", "pattern": "…" } }`: the schema's `type` is always
/// `string`. Errors of `FromStr` become those of serde.
macro_rules! text_form {
    ($name:ident $({ $($schema:tt)+ })?) => {
        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }

        $($crate::forms::schema!($name { "type": "string", $($schema)+ });)?
    };
}
pub(crate) use text_form;

/// Implements `JsonSchema` with a schema written as JSON.
macro_rules! schema {
    ($name:ident { $($schema:tt)+ }) => {
        impl schemars::JsonSchema for $name {
            fn schema_name() -> std::borrow::Cow<'static, str> {
                stringify!($name).into()
            }

            fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
                schemars::json_schema!({ $($schema)+ })
            }
        }
    };
}
pub(crate) use schema;

/// Declares an enum whose values have words, with `ALL`, `as_str`, `parse` and `Display`.
///
/// Where each value has a number as well, which stores and journals keep, the enum also gets
/// `from_number`, serde by its words (only in crates with serde), and `JsonSchema` where a
/// description is given.
#[macro_export]
macro_rules! word_enum {
    (@words $name:ident { $($variant:ident => $word:literal,)* }) => {
        impl $name {
            /// Every value, in the order of their declaration.
            pub const ALL: [Self; [$($word),*].len()] = [$(Self::$variant),*];

            /// Returns the word for this value.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $word),* }
            }

            /// Returns the value that a word stands for, or `None`; case counts.
            #[must_use]
            pub fn parse(text: &str) -> Option<Self> {
                match text { $($word => Some(Self::$variant),)* _ => None }
            }
        }

        impl ::std::fmt::Display for $name {
            fn fmt(&self, f: &mut ::std::fmt::Formatter<'_>) -> ::std::fmt::Result {
                f.pad(self.as_str())
            }
        }
    };
    (
        $(#[$doc:meta])*
        $name:ident { $($(#[$variant_doc:meta])* $variant:ident => $word:literal,)* }
    ) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum $name { $($(#[$variant_doc])* $variant,)* }

        $crate::word_enum!(@words $name { $($variant => $word,)* });
    };
    (
        $(#[$doc:meta])*
        $name:ident $(: $description:literal)? {
            $($(#[$variant_doc:meta])* $variant:ident = $number:literal => $word:literal,)*
        }
    ) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[derive(serde::Serialize, serde::Deserialize)]
        #[repr(u8)]
        pub enum $name { $($(#[$variant_doc])* #[serde(rename = $word)] $variant = $number,)* }

        $crate::word_enum!(@words $name { $($variant => $word,)* });

        impl $name {
            /// Returns the value that a stored number stands for, or `None`.
            #[must_use]
            pub const fn from_number(number: u8) -> Option<Self> {
                match number { $($number => Some(Self::$variant),)* _ => None }
            }
        }

        $($crate::forms::schema!($name {
            "type": "string",
            "description": $description,
            "enum": $name::ALL.map($name::as_str),
        });)?
    };
}
