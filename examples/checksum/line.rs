//! One line of a checksum file.

use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// `<hex>  <name>` and a newline, byte for byte as sha256sum of coreutils 9 writes it: a name with
/// a backslash, a newline or a carriage return is escaped, and a backslash in front of the line
/// says so.
pub fn line(sha256: &[u8; 32], path: &Path) -> Vec<u8> {
    let name = path.as_os_str().as_bytes();
    let escaped = name.iter().any(|byte| escape(*byte).is_some());
    let mut line = Vec::with_capacity(1 + 64 + 2 + name.len() + 1);
    if escaped {
        line.push(b'\\');
    }
    for byte in sha256 {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        line.push(DIGITS[usize::from(byte >> 4)]);
        line.push(DIGITS[usize::from(byte & 15)]);
    }
    line.extend_from_slice(b"  ");
    for byte in name {
        match escape(*byte) {
            Some(letter) => line.extend_from_slice(&[b'\\', letter]),
            None => line.push(*byte),
        }
    }
    line.push(b'\n');
    line
}

/// the letter that stands for a byte after a backslash
fn escape(byte: u8) -> Option<u8> {
    match byte {
        b'\\' => Some(b'\\'),
        b'\n' => Some(b'n'),
        b'\r' => Some(b'r'),
        _ => None,
    }
}
