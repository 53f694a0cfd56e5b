//! Function identity: where code lies in the image of this program.
//!
//! Parent and worker run the same file, but the kernel loads it at another address each time. What both
//! agree on is the offset of a function from the start of the image. Only the main image counts: a library
//! that was opened at run time need not be there in the worker. And an offset is something to call, never a
//! name: identical functions are merged in optimised builds.

use std::error::Error;
use std::ffi::c_void;
use std::fmt;
use std::ops::Range;
use std::sync::OnceLock;

#[cfg(target_pointer_width = "32")]
pub(crate) use libc::Elf32_Phdr as ProgramHeader;
#[cfg(target_pointer_width = "64")]
pub(crate) use libc::Elf64_Phdr as ProgramHeader;

/// The offset of the code at `address` from the start of the main image.
pub(crate) fn offset_of(address: usize) -> Result<u64, NotInImage> {
    let image = Image::of_program();
    if image.is_code(address) { Ok((address - image.base) as u64) } else { Err(NotInImage::Address(address)) }
}

/// The address of the code at `offset`, which came from another process and is checked to be code.
pub(crate) fn address_of(offset: u64) -> Result<usize, NotInImage> {
    let image = Image::of_program();
    let address = usize::try_from(offset).ok().and_then(|offset| image.base.checked_add(offset));
    address.filter(|&address| image.is_code(address)).ok_or(NotInImage::Offset(offset))
}

/// Whether this library itself is part of the main image. If not (it is linked into a shared library that
/// another program has loaded), running the program again would not give a worker.
pub(crate) fn holds_this_library() -> bool {
    let here: fn() -> bool = holds_this_library;
    Image::of_program().is_code(here as usize)
}

/// Code that is not part of the program's own file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotInImage {
    /// A function in a library that was loaded at run time, or not code at all.
    Address(usize),
    /// An offset at which there is no code, or none of what is meant.
    Offset(u64),
}

impl fmt::Display for NotInImage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(address) => write!(
                f,
                "the function at {address:#x} is not part of this program's own file (it comes from a library loaded at \
                 run time), so a worker process cannot find it; wrap it in a function of the program"
            ),
            Self::Offset(offset) => write!(f, "there is no code at offset {offset:#x} of this program's file"),
        }
    }
}

impl Error for NotInImage {}

/// The main image: the file that this process was started from, as it lies in memory.
#[derive(Debug)]
pub(crate) struct Image {
    /// What is added to the addresses in the file.
    base: usize,
    /// The executable segments.
    code: Vec<Range<usize>>,
    /// Segments that are never written to.
    constant: Vec<Range<usize>>,
    /// What is written by the loader alone, which takes the permission away then.
    constant_after_loading: Option<Range<usize>>,
    notes: Vec<Range<usize>>,
    /// The dynamic section, which a program linked statically to a fixed address has not.
    dynamic: Option<Range<usize>>,
    headers: usize,
}

impl Image {
    pub(crate) fn of_program() -> &'static Self {
        static IMAGE: OnceLock<Image> = OnceLock::new();
        IMAGE.get_or_init(|| {
            let mut image = Self {
                base: 0,
                code: Vec::new(),
                constant: Vec::new(),
                constant_after_loading: None,
                notes: Vec::new(),
                dynamic: None,
                headers: 0,
            };
            // SAFETY: the callback has the type that is asked for, does not unwind, and its data outlives the call.
            unsafe { libc::dl_iterate_phdr(Some(read_first), (&raw mut image).cast()) };
            image
        })
    }

    /// The address in memory of an address in the file.
    pub(crate) fn relocate(&self, in_file: usize) -> usize {
        self.base.wrapping_add(in_file)
    }

    /// Where the dynamic section lies in memory.
    #[cfg_attr(not(feature = "boot"), expect(dead_code, reason = "only the constructor needs it"))]
    pub(crate) fn dynamic(&self) -> Option<Range<usize>> {
        self.dynamic.clone()
    }

    /// Where the program headers lie in memory.
    pub(crate) fn headers(&self) -> usize {
        self.headers
    }

    fn is_code(&self, address: usize) -> bool {
        self.code.iter().any(|segment| segment.contains(&address))
    }

    /// The offset of bytes that nobody can write to.
    pub(crate) fn constant_offset(&self, address: usize, len: usize) -> Option<u64> {
        self.is_constant(address, len).then(|| address.wrapping_sub(self.base) as u64)
    }

    /// The address of bytes that nobody can write to.
    pub(crate) fn constant_at(&self, offset: u64, len: usize) -> Option<usize> {
        let address = self.base.checked_add(usize::try_from(offset).ok()?)?;
        self.is_constant(address, len).then_some(address)
    }

    fn is_constant(&self, address: usize, len: usize) -> bool {
        let Some(end) = address.checked_add(len) else { return false };
        let mut all = self.constant.iter().chain(&self.constant_after_loading);
        all.any(|range| range.start <= address && end <= range.end)
    }

    /// The linker's name of this build, if it has noted one.
    pub(crate) fn build_id(&self) -> Option<&'static [u8]> {
        const NT_GNU_BUILD_ID: u32 = 3;
        let mut loaded = self.notes.iter().filter(|range| self.is_constant(range.start, range.len()));
        loaded.find_map(|range| {
            // SAFETY: it lies within a part of the main image that is loaded for reading, and that nobody ever writes to or unmaps.
            let mut notes: &'static [u8] = unsafe { std::slice::from_raw_parts(range.start as *const u8, range.len()) };
            // Lengths of name and content, kind; then both, each filled up to a multiple of four.
            while let Some((head, rest)) = notes.split_first_chunk::<12>() {
                let number = |at: usize| u32::from_ne_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]]);
                let (name, content) = (number(0) as usize, number(4) as usize);
                let (its_name, rest) = rest.split_at_checked(name.next_multiple_of(4))?;
                let id = rest.get(..content)?;
                if number(8) == NT_GNU_BUILD_ID && its_name.starts_with(b"GNU\0") {
                    return Some(id);
                }
                notes = rest.get(content.next_multiple_of(4)..)?;
            }
            None
        })
    }
}

/// Reads the first object that is reported, which is the main program, and ends the iteration.
unsafe extern "C" fn read_first(info: *mut libc::dl_phdr_info, _size: usize, image: *mut c_void) -> i32 {
    // SAFETY: the C library passes a valid description that stays for the time of the call.
    let info = unsafe { &*info };
    // SAFETY: this is the pointer that `of_program` has passed, to a value that nobody else uses meanwhile.
    let image = unsafe { &mut *image.cast::<Image>() };
    // SAFETY: the description says that there are that many headers, and the main program is never unmapped.
    let headers: &[ProgramHeader] = unsafe { std::slice::from_raw_parts(info.dlpi_phdr, info.dlpi_phnum.into()) };
    image.base = info.dlpi_addr as usize;
    image.headers = info.dlpi_phdr as usize;
    for header in headers {
        let start = image.relocate(header.p_vaddr as usize);
        let range = start..start.saturating_add(header.p_memsz as usize);
        if header.p_type == libc::PT_LOAD && header.p_flags & libc::PF_X != 0 {
            image.code.push(range);
        } else if header.p_type == libc::PT_LOAD && header.p_flags & (libc::PF_R | libc::PF_W) == libc::PF_R {
            image.constant.push(range);
        } else if header.p_type == libc::PT_GNU_RELRO {
            image.constant_after_loading = Some(range);
        } else if header.p_type == libc::PT_NOTE {
            image.notes.push(range);
        } else if header.p_type == libc::PT_DYNAMIC {
            image.dynamic = Some(range);
        }
    }
    1
}

#[cfg(test)]
mod tests {
    use super::*;

    fn first() -> i32 {
        1
    }

    #[test]
    fn offsets_lead_back_to_the_function() {
        let here: fn() -> i32 = first;
        let offset = offset_of(here as usize).unwrap();
        assert_eq!(address_of(offset).unwrap(), here as usize);
    }

    #[test]
    fn offsets_of_two_functions_lie_as_far_apart_as_the_functions() {
        let (one, two): (fn() -> i32, fn()) = (first, offsets_lead_back_to_the_function);
        let offsets = offset_of(one as usize).unwrap().wrapping_sub(offset_of(two as usize).unwrap());
        assert_eq!(offsets as usize, (one as usize).wrapping_sub(two as usize));
    }

    #[test]
    fn this_library_is_part_of_its_test_program() {
        assert!(holds_this_library());
    }

    #[test]
    fn data_and_stack_are_not_code() {
        static DATA: u8 = 1;
        let local = 0_u8;
        for address in [&raw const DATA as usize, &raw const local as usize, 0, usize::MAX] {
            assert_eq!(offset_of(address), Err(NotInImage::Address(address)));
        }
    }

    #[test]
    fn a_function_of_another_library_is_refused_with_words() {
        // SAFETY: looks a name up among the loaded libraries.
        let address = unsafe { libc::dlsym(libc::RTLD_DEFAULT, c"getenv".as_ptr()) } as usize;
        if cfg!(not(target_feature = "crt-static")) {
            let error = offset_of(address).unwrap_err();
            assert!(error.to_string().contains("library loaded at run time"), "{error}");
        }
    }

    #[test]
    fn offsets_without_code_are_refused() {
        for offset in [0, u64::MAX, 1 << 46] {
            assert_eq!(address_of(offset), Err(NotInImage::Offset(offset)));
        }
    }
}
