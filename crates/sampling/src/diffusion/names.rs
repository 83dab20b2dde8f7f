//! Enums that have names on the command line and in recipes.

/// `Display`, `FromStr` and serde forms for an enum of unit variants, each with its one name.
macro_rules! named {
    ($(#[$meta:meta])* $type:ident, $kind:literal { $($(#[$doc:meta])* $variant:ident = $name:literal,)+ }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
        pub enum $type {
            $($(#[$doc])* #[serde(rename = $name)] $variant,)+
        }

        impl $type {
            /// Every one of them.
            pub const ALL: &[Self] = &[$(Self::$variant),+];

            /// The name users give it.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name),+ }
            }

            /// All names, parted by commas.
            pub fn names() -> String {
                [$($name),+].join(", ")
            }
        }

        impl std::fmt::Display for $type {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.name())
            }
        }

        impl std::str::FromStr for $type {
            type Err = $crate::diffusion::DiffusionError;

            fn from_str(name: &str) -> Result<Self, Self::Err> {
                let found = Self::ALL.iter().find(|known| known.name() == name);
                found.copied().ok_or_else(|| $crate::diffusion::DiffusionError::UnknownName {
                    kind: $kind,
                    name: name.to_owned(),
                    known: Self::names(),
                })
            }
        }
    };
}

pub(crate) use named;
