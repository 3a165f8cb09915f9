//! One chainable setter for each field of a struct of settings.

/// Writes the setters of a struct of settings. A field without a setter does not compile. A field
/// whose setter is written by hand has to be named behind `by hand`.
macro_rules! setters {
    ($settings:ident { $($name:ident: $kind:ty),* $(,)? } $(by hand { $($own:ident),* $(,)? })?) => {
        /// Chainable setters. The page of each field states its default, its unit and its
        /// trade-off.
        impl $settings {
            $(
                #[doc = concat!(
                    "Sets [`", stringify!($settings), "::", stringify!($name), "`](#structfield.", stringify!($name), ")."
                )]
                #[must_use]
                pub fn $name(mut self, $name: $kind) -> Self {
                    self.$name = $name.into();
                    self
                }
            )*
        }

        const _: fn($settings) = |$settings { $($name: _,)* $($($own: _,)*)? }| {};
    };
}

pub(crate) use setters;
