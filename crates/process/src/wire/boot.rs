//! What a worker is told first, over the control socket.

use super::VERSION;
use crate::limits::Rules;
use crate::link::DataPath;
use serde::{Deserialize, Serialize};

/// The first and only message on the control socket, beside the data socket and the slot page.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Boot {
    /// How many pools of processes lie between this worker and the program that the user started.
    pub depth: u32,
    pub name: String,
    pub data: DataPath,
    pub rules: Rules,
}

impl Boot {
    /// The longest encoding. The largest part of it is the list of CPUs, of which the kernel's interface knows 1024.
    pub(crate) const MAX: usize = 4096;
    /// Longer names are cut.
    const NAME_MAX: usize = 248;

    pub(crate) fn encode(&self) -> Vec<u8> {
        let end = self.name.floor_char_boundary(Self::NAME_MAX);
        let cut = Boot { name: self.name[..end].to_owned(), ..self.clone() };
        // Nothing in it has an encoding that could fail.
        postcard::to_extend(&cut, VERSION.to_le_bytes().to_vec()).expect("plain data can be encoded")
    }

    /// `Err` says in words what is wrong.
    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, String> {
        let wrong = || format!("a message of {} bytes where the pool's first message was expected", bytes.len());
        let (version, rest) = bytes.split_first_chunk().ok_or_else(wrong)?;
        let version = u32::from_le_bytes(*version);
        if version != VERSION {
            return Err(format!("the pool speaks version {version}, this worker version {VERSION}"));
        }
        postcard::from_bytes(rest).map_err(|_| wrong())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn boot_comes_back(depth in any::<u32>(), name in ".{0,40}", nice in any::<Option<i32>>()) {
            let boot = Boot { depth, name, data: DataPath::Ring, rules: Rules { nice, cpus: (0..1024).collect(), ..Rules::default() } };
            prop_assert!(boot.encode().len() <= Boot::MAX);
            prop_assert_eq!(Boot::decode(&boot.encode()), Ok(boot));
        }

        #[test]
        fn boot_refuses_without_panic(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            let _ = Boot::decode(&bytes);
        }
    }

    #[test]
    fn a_long_name_is_cut_between_characters() {
        let boot = Boot { depth: 1, name: "ä".repeat(300), data: DataPath::Socket, rules: Rules::default() };
        let back = Boot::decode(&boot.encode()).unwrap();
        assert!(boot.encode().len() <= Boot::MAX);
        assert!(boot.name.starts_with(&back.name));
    }

    #[test]
    fn another_version_is_refused() {
        let mut bytes = Boot { depth: 0, name: "w".into(), data: DataPath::Socket, rules: Rules::default() }.encode();
        bytes[0] = bytes[0].wrapping_add(1);
        assert!(Boot::decode(&bytes).unwrap_err().contains("version"));
    }
}
