//! The Python packages that environments come from, told apart by the prefix of an environment's name.

/// A Python package that environments are taken from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// Gymnasium: any environment that is registered with it.
    Gymnasium,
    /// `EnvPool`: one object steps all environments of a worker, in C++.
    EnvPool,
}

impl Source {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::Gymnasium, Self::EnvPool];

    /// What the names of these environments begin with.
    #[must_use]
    pub const fn prefix(self) -> &'static str {
        match self {
            Self::Gymnasium => "gym:",
            Self::EnvPool => "envpool:",
        }
    }

    /// What the worker calls it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Gymnasium => "gym",
            Self::EnvPool => "envpool",
        }
    }

    /// One line for lists of environments.
    #[must_use]
    pub const fn about(self) -> &'static str {
        match self {
            Self::Gymnasium => {
                "any environment of Gymnasium, or gym:MODULE:ID; needs Python with gymnasium"
            }
            Self::EnvPool => {
                "any environment of EnvPool (C++) of one player; needs Python with envpool"
            }
        }
    }

    /// The source that a name begins with, and the rest of it: `ID` or `MODULE:ID`.
    #[must_use]
    pub fn of(id: &str) -> Option<(Self, &str)> {
        Self::ALL
            .into_iter()
            .find_map(|source| id.strip_prefix(source.prefix()).map(|name| (source, name)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_say_where_environments_come_from() {
        assert_eq!(Source::of("gym:m:X-v0"), Some((Source::Gymnasium, "m:X-v0")));
        assert_eq!(Source::of("envpool:Pong-v5"), Some((Source::EnvPool, "Pong-v5")));
        assert_eq!(Source::of("gym:envpool:X-v0"), Some((Source::Gymnasium, "envpool:X-v0")));
        assert_eq!(Source::of("CartPole-v1"), None);
        for source in Source::ALL {
            assert_eq!(source.prefix(), format!("{}:", source.name()));
        }
    }
}
