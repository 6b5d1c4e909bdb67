//! Reading of the fields of a struct one by one, out of an object that holds those of others, too.
//!
//! `#[serde(flatten)]` would first copy such an object, and an error in it would no longer name the
//! place of the value, such as `rate_limits[1]`.

/// Implements `field_names` and `read_field` for a struct: `Name: first, fields; ..part: Part;
/// last, fields`, in the order of the struct, where `part` is a field whose own fields stand
/// beside the others. `as` names the type that is read and converted. A list that lacks a field
/// does not compile.
macro_rules! read_fields {
    (
        $name:ident: $($field:ident),*
        $(; ..$part:ident: $type:ident; $($last:ident $(as $form:ty)?),*)?
    ) => {
        impl $name {
            /// Returns the names of the fields that [`Self::read_field`] reads, in order.
            #[must_use]
            pub fn field_names() -> Vec<&'static str> {
                [
                    vec![$(stringify!($field)),*],
                    $($type::field_names(), vec![$(stringify!($last)),*],)?
                ]
                .concat()
            }

            /// Reads the value that comes next in `map`, if the struct has a field of this name.
            /// Returns whether it has.
            ///
            /// # Errors
            /// Returns the error of the value.
            pub fn read_field<'de, M: serde::de::MapAccess<'de>>(
                &mut self,
                name: &str,
                map: &mut M,
            ) -> Result<bool, M::Error> {
                let Self { $($field: _,)* $($part: _, $($last: _,)*)? } = self;
                match name {
                    $(stringify!($field) => self.$field = map.next_value()?,)*
                    $($(stringify!($last) => {
                        self.$last = $crate::fields::read_fields!(@value map $($form)?);
                    })*)?
                    _ => return $crate::fields::read_fields!(@part $(self.$part, name, map)?),
                }
                Ok(true)
            }
        }
    };
    (@value $map:ident) => { $map.next_value()? };
    (@value $map:ident $form:ty) => { $map.next_value::<$form>()?.into() };
    (@part) => { Ok(false) };
    (@part $part:expr, $name:ident, $map:ident) => { $part.read_field($name, $map) };
}
pub(crate) use read_fields;
