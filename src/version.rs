//! Release versions of Calico and Kubernetes.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize, de};

/// A release: major, minor and patch. Vendor suffixes such as `-gke.3` are read and left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Version {
    pub major: u64,
    pub minor: u64,
    pub patch: u64,
}

/// A release line such as v2.6: what a runbook leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Minor {
    pub major: u64,
    pub minor: u64,
}

/// The text is not a version.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a version: write it like v2.6 or v2.6.12")]
pub struct VersionError(String);

impl Version {
    pub const fn new(major: u64, minor: u64, patch: u64) -> Self {
        Self { major, minor, patch }
    }

    /// Answers which release line this version belongs to.
    pub const fn line(self) -> Minor {
        Minor { major: self.major, minor: self.minor }
    }
}

impl FromStr for Version {
    type Err = VersionError;

    fn from_str(text: &str) -> Result<Self, VersionError> {
        let wrong = || VersionError(text.to_owned());
        let numbers = text.strip_prefix('v').unwrap_or(text);
        let core = numbers.split(['-', '+']).next().unwrap_or_default();
        match core.split('.').map(number).collect::<Option<Vec<_>>>().ok_or_else(wrong)?[..] {
            [major, minor, patch] => Ok(Self { major, minor, patch }),
            _ => Err(wrong()),
        }
    }
}

impl FromStr for Minor {
    type Err = VersionError;

    fn from_str(text: &str) -> Result<Self, VersionError> {
        let wrong = || VersionError(text.to_owned());
        let numbers = text.strip_prefix('v').unwrap_or(text);
        match numbers.split('.').map(number).collect::<Option<Vec<_>>>().ok_or_else(wrong)?[..] {
            [major, minor] => Ok(Self { major, minor }),
            _ => Err(wrong()),
        }
    }
}

fn number(text: &str) -> Option<u64> {
    (!text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())).then(|| text.parse().ok())?
}

impl fmt::Display for Version {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "v{}.{}.{}", self.major, self.minor, self.patch)
    }
}

impl fmt::Display for Minor {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "v{}.{}", self.major, self.minor)
    }
}

macro_rules! as_text {
    ($type:ty) => {
        impl Serialize for $type {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }
        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
            }
        }
    };
}
as_text!(Version);
as_text!(Minor);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_ordered_by_number_and_not_by_text() {
        let read = |text: &str| text.parse::<Version>().unwrap();
        assert!(read("v2.6.12") > read("v2.6.9"));
        assert_eq!(read("1.7.16-gke.2+abc"), Version::new(1, 7, 16));
    }

    #[test]
    fn what_is_no_version_is_refused() {
        for text in ["", "v", "2.6", "2.6.x", "2.6.1.0", "v2..1", "2.6.99999999999999999999"] {
            assert!(text.parse::<Version>().is_err(), "{text}");
        }
        assert!("v2.6.1".parse::<Minor>().is_err());
        assert_eq!("2.6".parse(), Ok(Minor { major: 2, minor: 6 }));
    }
}
