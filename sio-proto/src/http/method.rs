//! Request methods, as far as the generations of the protocol distinguish them.

/// The method of a request. Names are case-sensitive (RFC 9110 §9.1): `get` is
/// [`Other`](Self::Other).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Method {
    /// `GET`
    Get,
    /// `POST`
    Post,
    /// `HEAD`
    Head,
    /// `OPTIONS`
    Options,
    /// `PUT`
    Put,
    /// `DELETE`
    Delete,
    /// Any other token. Its name is not kept, because every generation answers all other methods
    /// alike.
    Other,
}

impl Method {
    /// The method of this name.
    #[must_use]
    pub fn from_name(name: &str) -> Self {
        match name {
            "GET" => Self::Get,
            "POST" => Self::Post,
            "HEAD" => Self::Head,
            "OPTIONS" => Self::Options,
            "PUT" => Self::Put,
            "DELETE" => Self::Delete,
            _ => Self::Other,
        }
    }

    /// The name, unless it is [`Other`](Self::Other).
    #[must_use]
    pub const fn name(self) -> Option<&'static str> {
        match self {
            Self::Get => Some("GET"),
            Self::Post => Some("POST"),
            Self::Head => Some("HEAD"),
            Self::Options => Some("OPTIONS"),
            Self::Put => Some("PUT"),
            Self::Delete => Some("DELETE"),
            Self::Other => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_lead_back() {
        for method in [
            Method::Get,
            Method::Post,
            Method::Head,
            Method::Options,
            Method::Put,
            Method::Delete,
        ] {
            assert_eq!(Method::from_name(method.name().unwrap()), method);
        }
        for name in ["get", "PATCH", "CONNECT", ""] {
            assert_eq!(Method::from_name(name), Method::Other, "{name}");
        }
    }
}
