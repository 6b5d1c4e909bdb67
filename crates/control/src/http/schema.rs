//! Schemas of types that are written by hand.

/// Implements `JsonSchema` for a type with a schema that is repeated wherever the type is used.
macro_rules! inline_schema {
    (<$($parameter:ident),+> $name:ty: $schema:tt) => {
        inline_schema!(@ [<$(const $parameter: usize),+>] $name: $schema);
    };
    (@ [$($generics:tt)*] $name:ty: $schema:tt) => {
        impl $($generics)* schemars::JsonSchema for $name {
            fn inline_schema() -> bool {
                true
            }

            fn schema_name() -> std::borrow::Cow<'static, str> {
                stringify!($name).into()
            }

            fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
                schemars::json_schema!($schema)
            }
        }
    };
    ($name:ident: $schema:tt) => {
        inline_schema!(@ [] $name: $schema);
    };
}
pub(crate) use inline_schema;
