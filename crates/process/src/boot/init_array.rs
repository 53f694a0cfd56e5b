//! The constructors of the main image that come after one of them.
//!
//! The linker's symbols for the bounds of the array are not used: in a shared library they mean that
//! library's array, and strong references to them make some libraries unloadable.

use std::fs::File;
use std::io;
use std::mem::size_of;
use std::ops::Range;
use std::os::unix::fs::FileExt;

use crate::image::Image;

/// A constructor as the C library calls it. glibc passes the arguments of `main`, musl passes nothing.
#[cfg(target_env = "gnu")]
pub(crate) type Constructor = extern "C" fn(i32, *const *const libc::c_char, *const *const libc::c_char);
#[cfg(not(target_env = "gnu"))]
pub(crate) type Constructor = extern "C" fn();

/// The constructors after the one whose array entry is `ours`, in the order in which they would have run.
///
/// # Errors
///
/// `NotFound` when `ours` is not in the main image's array of constructors.
pub(crate) fn following(ours: *const Constructor) -> io::Result<Vec<Constructor>> {
    let image = Image::of_program();
    let array = match image.dynamic() {
        Some(dynamic) => from_dynamic_section(dynamic),
        None => from_section_headers(&File::open("/proc/self/exe")?)?,
    };
    let Some(array) = array.map(|(start, len)| image.relocate(start)..image.relocate(start + len)) else {
        return Err(not_found());
    };
    if !array.contains(&(ours as usize)) {
        return Err(not_found());
    }
    let mut constructors = Vec::new();
    let mut entry = ours.wrapping_add(1);
    while array.end.saturating_sub(entry as usize) >= size_of::<Constructor>() {
        // SAFETY: the entry lies within the array, which is mapped as long as the program runs, is aligned as
        // `ours` is, and is only read after its relocation.
        let value = unsafe { entry.cast::<usize>().read() };
        // Zero and minus one mark places without a constructor.
        if value != 0 && value != usize::MAX {
            // SAFETY: everything else in this array is the address of a function that the C library would
            // have called with these arguments.
            constructors.push(unsafe { std::mem::transmute::<usize, Constructor>(value) });
        }
        entry = entry.wrapping_add(1);
    }
    Ok(constructors)
}

/// Address in the file and length of DT_INIT_ARRAY.
fn from_dynamic_section(dynamic: Range<usize>) -> Option<(usize, usize)> {
    const DT_NULL: usize = 0;
    const DT_INIT_ARRAY: usize = 25;
    const DT_INIT_ARRAYSZ: usize = 27;

    let entries = dynamic.len() / size_of::<[usize; 2]>();
    let start = std::ptr::with_exposed_provenance::<[usize; 2]>(dynamic.start);
    // SAFETY: the program header says that the dynamic section lies here and how long it is; it is mapped and
    // unchanged as long as the program runs, and consists of pairs of words: tag and value.
    let entries = unsafe { std::slice::from_raw_parts(start, entries) };
    let mut entries = entries.iter().take_while(|[tag, _]| *tag != DT_NULL);
    let (mut array, mut len) = (None, None);
    for &[tag, value] in &mut entries {
        match tag {
            DT_INIT_ARRAY => array = Some(value),
            DT_INIT_ARRAYSZ => len = Some(value),
            _ => {}
        }
    }
    array.zip(len)
}

#[cfg(target_pointer_width = "32")]
use libc::{Elf32_Ehdr as FileHeader, Elf32_Shdr as SectionHeader};
#[cfg(target_pointer_width = "64")]
use libc::{Elf64_Ehdr as FileHeader, Elf64_Shdr as SectionHeader};

/// The same from the file: a program linked statically to a fixed address has no dynamic section.
fn from_section_headers(program: &File) -> io::Result<Option<(usize, usize)>> {
    const SHT_INIT_ARRAY: u32 = 14;

    let mut bytes = [0; size_of::<FileHeader>()];
    program.read_exact_at(&mut bytes, 0)?;
    // SAFETY: both are plain integers of the same total size, without padding.
    let header = unsafe { std::mem::transmute::<[u8; size_of::<FileHeader>()], FileHeader>(bytes) };
    for index in 0..u64::from(header.e_shnum) {
        let mut bytes = [0; size_of::<SectionHeader>()];
        #[allow(clippy::useless_conversion, reason = "the offset has 32 bits in 32-bit files")]
        let start = u64::from(header.e_shoff) + index * u64::from(header.e_shentsize);
        program.read_exact_at(&mut bytes, start)?;
        // SAFETY: both are plain integers of the same total size, without padding.
        let section = unsafe { std::mem::transmute::<[u8; size_of::<SectionHeader>()], SectionHeader>(bytes) };
        if section.sh_type == SHT_INIT_ARRAY {
            return Ok(Some((section.sh_addr as usize, section.sh_size as usize)));
        }
    }
    Ok(None)
}

fn not_found() -> io::Error {
    io::Error::new(io::ErrorKind::NotFound, "the program's list of constructors was not found in its file")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_tells_the_same_as_the_dynamic_section() {
        if let Some(dynamic) = Image::of_program().dynamic() {
            let program = File::open("/proc/self/exe").unwrap();
            assert_eq!(from_section_headers(&program).unwrap(), from_dynamic_section(dynamic));
        }
    }

    #[test]
    fn what_is_not_a_constructor_is_not_found() {
        extern "C" fn nothing(
            #[cfg(target_env = "gnu")] _argc: i32,
            #[cfg(target_env = "gnu")] _argv: *const *const libc::c_char,
            #[cfg(target_env = "gnu")] _environment: *const *const libc::c_char,
        ) {
        }
        let entry: Constructor = nothing;
        assert_eq!(following(&raw const entry).unwrap_err().kind(), io::ErrorKind::NotFound);
    }
}
