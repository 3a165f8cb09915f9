//! Errors that programs return from `main`.

/// Makes `Debug` say what `Display` says: a `main` that returns an error prints its `Debug`, and
/// its user has to read it.
macro_rules! says_why {
    ($($error:ty),+) => {
        $(impl std::fmt::Debug for $error {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                std::fmt::Display::fmt(self, f)
            }
        })+
    };
}
pub(crate) use says_why;
