//! A thin, safe skin over Hyperscan in block mode.
//!
//! It exists because the published bindings link dynamically where a system library is found. It does not know
//! rules or JSON. A [`Database`] is immutable and shared by all threads; a [`HsScratch`] belongs to one thread.
//! Hyperscan 5.4.0 reads up to one vector past its input (upstream issue 457), so every scanned slice must be
//! followed by [`SCAN_PADDING`] readable bytes; [`scan`] asserts that.
#![allow(unsafe_code)]

use crate::search::{DatabaseCache, DatabaseError, Expression, SCAN_PADDING};
use std::any::Any;
use std::ffi::{CStr, CString, c_char, c_int, c_uint, c_ulonglong, c_void};
use std::ops::ControlFlow;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::ptr::{self, NonNull};

const MODE_BLOCK: c_uint = 1;
const SUCCESS: c_int = 0;
const SCAN_TERMINATED: c_int = -3;

#[repr(C)]
struct RawDatabase {
    _opaque: [u8; 0],
}

#[repr(C)]
struct RawScratch {
    _opaque: [u8; 0],
}

#[repr(C)]
struct RawCompileError {
    message: *mut c_char,
    expression: c_int,
}

type OnMatch = unsafe extern "C" fn(c_uint, c_ulonglong, c_ulonglong, c_uint, *mut c_void) -> c_int;

unsafe extern "C" {
    fn hs_compile_multi(
        expressions: *const *const c_char,
        flags: *const c_uint,
        ids: *const c_uint,
        elements: c_uint,
        mode: c_uint,
        platform: *const c_void,
        db: *mut *mut RawDatabase,
        error: *mut *mut RawCompileError,
    ) -> c_int;
    fn hs_free_compile_error(error: *mut RawCompileError) -> c_int;
    fn hs_free_database(db: *mut RawDatabase) -> c_int;
    fn hs_database_size(db: *const RawDatabase, size: *mut usize) -> c_int;
    fn hs_alloc_scratch(db: *const RawDatabase, scratch: *mut *mut RawScratch) -> c_int;
    fn hs_free_scratch(scratch: *mut RawScratch) -> c_int;
    fn hs_scan(
        db: *const RawDatabase,
        data: *const c_char,
        length: c_uint,
        flags: c_uint,
        scratch: *mut RawScratch,
        on_match: OnMatch,
        context: *mut c_void,
    ) -> c_int;
    fn hs_valid_platform() -> c_int;
    fn hs_version() -> *const c_char;
    fn hs_serialize_database(db: *const RawDatabase, bytes: *mut *mut c_char, length: *mut usize) -> c_int;
    fn hs_deserialize_database(bytes: *const c_char, length: usize, db: *mut *mut RawDatabase) -> c_int;
    fn free(bytes: *mut c_void);
}

/// Compiled patterns.
pub struct Database {
    raw: NonNull<RawDatabase>,
}

// SAFETY: a compiled database is never written to after hs_compile_multi returns ("can be shared by threads",
// hs_runtime.h), and hs_free_database may be called from any thread.
unsafe impl Send for Database {}
// SAFETY: as above: all functions take it as `const`.
unsafe impl Sync for Database {}

impl Database {
    /// Compiles `expressions` for block mode on this CPU. Slow: about 2 ms for each pattern.
    pub fn compile(expressions: &[Expression<'_>]) -> Result<Database, DatabaseError> {
        // SAFETY: takes no arguments, reads CPUID only.
        if unsafe { hs_valid_platform() } != SUCCESS {
            return Err(DatabaseError::Platform);
        }
        let mut patterns: Vec<CString> = Vec::with_capacity(expressions.len());
        for (index, e) in expressions.iter().enumerate() {
            let pattern = CString::new(e.pattern)
                .map_err(|_| DatabaseError::Pattern { index, message: "contains a NUL byte".into() })?;
            patterns.push(pattern);
        }
        let pointers: Vec<*const c_char> = patterns.iter().map(|p| p.as_ptr()).collect();
        let flags: Vec<c_uint> = vec![0; expressions.len()];
        let ids: Vec<c_uint> = expressions.iter().map(|e| e.id).collect();
        let elements = c_uint::try_from(expressions.len())
            .map_err(|_| DatabaseError::Compile("more than 2^32 patterns".into()))?;
        let mut db = ptr::null_mut();
        let mut error = ptr::null_mut();
        // SAFETY: the three arrays have `elements` entries and outlive the call; the strings are NUL-terminated;
        // a null platform means the current one; both out-pointers are valid.
        let code = unsafe {
            hs_compile_multi(
                pointers.as_ptr(),
                flags.as_ptr(),
                ids.as_ptr(),
                elements,
                MODE_BLOCK,
                ptr::null(),
                &raw mut db,
                &raw mut error,
            )
        };
        if code == SUCCESS {
            return NonNull::new(db).map(|raw| Database { raw }).ok_or(DatabaseError::Code(code));
        }
        Err(take_compile_error(error, code))
    }

    /// As [`Database::compile`], or out of `cache`, which takes milliseconds.
    pub fn cached(
        expressions: &[Expression<'_>],
        cache: Option<&dyn DatabaseCache>,
    ) -> Result<Database, DatabaseError> {
        let Some(cache) = cache else { return Database::compile(expressions) };
        let key = key(expressions);
        let kept = cache.load(&key).and_then(|bytes| Database::deserialize(&bytes));
        // One of another kind of CPU only shows when it is to be used.
        if let Some(db) = kept.filter(|db| HsScratch::for_database(db).is_ok()) {
            return Ok(db);
        }
        let db = Database::compile(expressions)?;
        if let Some(bytes) = db.serialize() {
            cache.store(&key, &bytes);
        }
        Ok(db)
    }

    fn serialize(&self) -> Option<Vec<u8>> {
        let (mut bytes, mut length) = (ptr::null_mut(), 0);
        // SAFETY: `raw` is live, both out-pointers are valid; on success `bytes` has `length` bytes from malloc, the
        // library's allocator when none is set, which are copied and freed once.
        unsafe {
            if hs_serialize_database(self.raw.as_ptr(), &raw mut bytes, &raw mut length) != SUCCESS {
                return None;
            }
            let out = std::slice::from_raw_parts(bytes.cast::<u8>(), length).to_vec();
            free(bytes.cast());
            Some(out)
        }
    }

    /// None for what another version or platform wrote, and for damaged bytes.
    fn deserialize(bytes: &[u8]) -> Option<Database> {
        let mut db = ptr::null_mut();
        // SAFETY: `bytes` is readable for its length; the library checks version, platform and a CRC-32 of the content,
        // and that the content is what `serialize` made is the contract of `DatabaseCache`.
        let code = unsafe { hs_deserialize_database(bytes.as_ptr().cast(), bytes.len(), &raw mut db) };
        NonNull::new(db).filter(|_| code == SUCCESS).map(|raw| Database { raw })
    }

    /// Size of the compiled form in bytes.
    pub fn size_bytes(&self) -> usize {
        let mut size = 0;
        // SAFETY: `raw` is a live database and `size` a valid out-pointer.
        let code = unsafe { hs_database_size(self.raw.as_ptr(), &raw mut size) };
        if code == SUCCESS { size } else { 0 }
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        // SAFETY: `raw` came from hs_compile_multi and is freed once.
        unsafe { hs_free_database(self.raw.as_ptr()) };
    }
}

impl std::fmt::Debug for Database {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Database({} bytes)", self.size_bytes())
    }
}

/// Says what a database is compiled from.
fn key(expressions: &[Expression<'_>]) -> String {
    let mut context = ring::digest::Context::new(&ring::digest::SHA256);
    // SAFETY: returns a pointer to a static, NUL-terminated string.
    context.update(unsafe { CStr::from_ptr(hs_version()) }.to_bytes());
    for e in expressions {
        context.update(&(e.pattern.len() as u64).to_le_bytes());
        context.update(e.pattern.as_bytes());
        context.update(&e.id.to_le_bytes());
    }
    let mut hex = Vec::new();
    tidegate_core::audit::hex(&mut hex, context.finish().as_ref());
    String::from_utf8(hex).unwrap_or_default()
}

fn take_compile_error(error: *mut RawCompileError, code: c_int) -> DatabaseError {
    if error.is_null() {
        return DatabaseError::Code(code);
    }
    // SAFETY: on HS_COMPILER_ERROR the library hands out a valid error whose message is NUL-terminated (or null);
    // it is copied before it is freed, and freed once.
    unsafe {
        let expression = (*error).expression;
        let message = if (*error).message.is_null() {
            String::from("no message")
        } else {
            CStr::from_ptr((*error).message).to_string_lossy().into_owned()
        };
        hs_free_compile_error(error);
        match usize::try_from(expression) {
            Ok(index) => DatabaseError::Pattern { index, message },
            Err(_) => DatabaseError::Compile(message),
        }
    }
}

/// Working memory of one scanning thread; about 50 KB.
pub struct HsScratch {
    /// None when there is no database to search with.
    raw: Option<NonNull<RawScratch>>,
}

// SAFETY: the library keeps no thread-local state about a scratch; it must only not be used by two scans at once,
// which `&mut` in `scan` rules out. Not Sync on purpose.
unsafe impl Send for HsScratch {}

impl HsScratch {
    /// Working memory for `db`.
    pub fn for_database(db: &Database) -> Result<HsScratch, DatabaseError> {
        HsScratch::for_databases([db])
    }

    /// Working memory for each of `databases`, one at a time.
    pub fn for_databases<'a>(
        databases: impl IntoIterator<Item = &'a Database>,
    ) -> Result<HsScratch, DatabaseError> {
        let mut raw = ptr::null_mut();
        for db in databases {
            // SAFETY: `db` is live; `raw` is a valid out-pointer that holds null, which asks for a new scratch, or what an
            // earlier call put there, which is made larger. After an error it is not used again.
            let code = unsafe { hs_alloc_scratch(db.raw.as_ptr(), &raw mut raw) };
            if code != SUCCESS {
                return Err(DatabaseError::Code(code));
            }
        }
        Ok(HsScratch { raw: NonNull::new(raw) })
    }
}

impl Drop for HsScratch {
    fn drop(&mut self) {
        if let Some(raw) = self.raw {
            // SAFETY: `raw` came from hs_alloc_scratch, is not in use (we own it) and is freed once.
            unsafe { hs_free_scratch(raw.as_ptr()) };
        }
    }
}

impl std::fmt::Debug for HsScratch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("HsScratch")
    }
}

struct Call<F> {
    on_match: F,
    panic: Option<Box<dyn Any + Send>>,
}

unsafe extern "C" fn trampoline<F: FnMut(u32, u32) -> ControlFlow<()>>(
    id: c_uint,
    _from: c_ulonglong,
    to: c_ulonglong,
    _flags: c_uint,
    context: *mut c_void,
) -> c_int {
    // SAFETY: `context` is the `Call<F>` of the `scan` below, which is alive and not otherwise borrowed while
    // hs_scan runs, and hs_scan calls back on the same thread, one call at a time.
    let call = unsafe { &mut *context.cast::<Call<F>>() };
    // `to` is at most the scanned length, which is a u32.
    let outcome = catch_unwind(AssertUnwindSafe(|| (call.on_match)(id, to as u32)));
    match outcome {
        Ok(ControlFlow::Continue(())) => 0,
        Ok(ControlFlow::Break(())) => 1,
        Err(payload) => {
            call.panic = Some(payload);
            1
        }
    }
}

/// Scans the first `len` bytes of `padded`, calling `on_match(id, end offset)` for each match end.
///
/// Returns `Ok(Break)` when the callback stopped the scan. Allocates nothing.
///
/// # Panics
/// When fewer than [`SCAN_PADDING`] bytes follow `len` (the caller's bug, never the input's), or when the callback
/// panics (the panic is carried around the C frames).
pub fn scan<F: FnMut(u32, u32) -> ControlFlow<()>>(
    db: &Database,
    scratch: &mut HsScratch,
    padded: &[u8],
    len: usize,
    on_match: F,
) -> Result<ControlFlow<()>, DatabaseError> {
    assert!(
        len.checked_add(SCAN_PADDING).is_some_and(|needed| padded.len() >= needed),
        "scanned text needs {SCAN_PADDING} readable bytes behind it"
    );
    let length = c_uint::try_from(len).map_err(|_| DatabaseError::Code(-1))?;
    let scratch = scratch.raw.ok_or(DatabaseError::Code(-1))?;
    let mut call = Call { on_match, panic: None };
    // SAFETY: `db` and `scratch` are live and the scratch is exclusively ours; `padded` has `length` + 64 readable
    // bytes; the trampoline's type parameter is the type behind the context pointer, and it never unwinds.
    let code = unsafe {
        hs_scan(
            db.raw.as_ptr(),
            padded.as_ptr().cast(),
            length,
            0,
            scratch.as_ptr(),
            trampoline::<F>,
            (&raw mut call).cast(),
        )
    };
    if let Some(payload) = call.panic {
        resume_unwind(payload);
    }
    match code {
        SUCCESS => Ok(ControlFlow::Continue(())),
        SCAN_TERMINATED => Ok(ControlFlow::Break(())),
        other => Err(DatabaseError::Code(other)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn db(patterns: &[&str]) -> Database {
        let expressions: Vec<Expression<'_>> =
            patterns.iter().enumerate().map(|(i, pattern)| Expression { pattern, id: i as u32 }).collect();
        Database::compile(&expressions).unwrap()
    }

    fn ends(db: &Database, text: &str) -> Vec<(u32, u32)> {
        let mut scratch = HsScratch::for_database(db).unwrap();
        let mut padded = text.as_bytes().to_vec();
        padded.resize(text.len() + SCAN_PADDING, 0);
        let mut out = Vec::new();
        let flow = scan(db, &mut scratch, &padded, text.len(), |id, to| {
            out.push((id, to));
            ControlFlow::Continue(())
        });
        assert_eq!(flow, Ok(ControlFlow::Continue(())));
        out
    }

    #[test]
    fn reports_every_end() {
        let db = db(&["ab", "[xX][0-9]{2}"]);
        assert_eq!(ends(&db, "ab X12 ab"), [(0, 2), (1, 6), (0, 9)]);
        assert_eq!(ends(&db, ""), []);
        assert!(db.size_bytes() > 0);
    }

    #[test]
    fn padding_is_not_scanned() {
        let db = db(&["ab"]);
        let mut scratch = HsScratch::for_database(&db).unwrap();
        let padded = [b'a', b'b'].repeat(64);
        let mut n = 0;
        let flow = scan(&db, &mut scratch, &padded, 5, |_, _| {
            n += 1;
            ControlFlow::Continue(())
        });
        assert_eq!(flow, Ok(ControlFlow::Continue(())));
        assert_eq!(n, 2);
    }

    #[derive(Debug, Default)]
    struct Memory(std::sync::Mutex<std::collections::HashMap<String, Vec<u8>>>);

    impl DatabaseCache for Memory {
        fn load(&self, key: &str) -> Option<Vec<u8>> {
            self.0.lock().unwrap().get(key).cloned()
        }
        fn store(&self, key: &str, bytes: &[u8]) {
            self.0.lock().unwrap().insert(key.to_owned(), bytes.to_vec());
        }
    }

    #[test]
    fn a_kept_database_finds_the_same_and_a_damaged_one_is_made_anew() {
        let cache = Memory::default();
        let expressions = |pattern| [Expression { pattern, id: 7 }];
        let cached = |pattern| Database::cached(&expressions(pattern), Some(&cache)).unwrap();
        for _ in 0..2 {
            assert_eq!(ends(&cached("ab"), "xabab"), [(7, 3), (7, 5)]);
            assert_eq!(ends(&cached("ba"), "xabab"), [(7, 4)]);
            assert_eq!(cache.0.lock().unwrap().len(), 2, "each once");
        }
        for bytes in cache.0.lock().unwrap().values_mut() {
            let middle = bytes.len() / 2;
            bytes[middle] ^= 1;
        }
        assert_eq!(ends(&cached("ab"), "xabab"), [(7, 3), (7, 5)]);
        for bytes in cache.0.lock().unwrap().values_mut() {
            bytes.truncate(10);
        }
        assert_eq!(ends(&cached("ba"), "xabab"), [(7, 4)]);
    }

    #[test]
    fn bad_pattern_is_named() {
        let e = [Expression { pattern: "ok", id: 0 }, Expression { pattern: "(bad", id: 1 }];
        assert!(matches!(Database::compile(&e), Err(DatabaseError::Pattern { index: 1, .. })));
    }

    #[test]
    fn callback_can_stop_and_may_panic() {
        let db = db(&["a"]);
        let mut scratch = HsScratch::for_database(&db).unwrap();
        let mut padded = vec![b'a'; 10];
        padded.resize(10 + SCAN_PADDING, 0);
        let mut n = 0;
        let flow = scan(&db, &mut scratch, &padded, 10, |_, _| {
            n += 1;
            if n == 3 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        });
        assert_eq!((flow, n), (Ok(ControlFlow::Break(())), 3));
        let caught = catch_unwind(AssertUnwindSafe(|| {
            let _ = scan(&db, &mut scratch, &padded, 10, |_, _| panic!("callback"));
        }));
        assert!(caught.is_err());
        // The scratch is usable again.
        assert_eq!(
            scan(&db, &mut scratch, &padded, 10, |_, _| ControlFlow::Continue(())),
            Ok(ControlFlow::Continue(()))
        );
    }

    #[test]
    #[should_panic(expected = "readable bytes behind it")]
    fn missing_padding_is_refused() {
        let db = db(&["a"]);
        let mut scratch = HsScratch::for_database(&db).unwrap();
        let _ = scan(&db, &mut scratch, &[b'a'; 70], 10, |_, _| ControlFlow::Continue(()));
    }
}
