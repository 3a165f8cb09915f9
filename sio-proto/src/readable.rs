//! Errors that programs return from `main`.

/// Makes `Debug` say what `Display` says: a `main` that returns an error prints its `Debug`, and
/// its user has to read it.
macro_rules! says_why {
    ($error:ty) => {
        impl core::fmt::Debug for $error {
            fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
                core::fmt::Display::fmt(self, f)
            }
        }
    };
}
pub(crate) use says_why;
