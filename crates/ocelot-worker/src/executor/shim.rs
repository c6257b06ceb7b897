//! The shim as the worker sees it: its bytes, its name, and the language it speaks.

use std::fmt::Write as _;
use std::sync::LazyLock;

use sha2::{Digest, Sha256};

#[path = "../../shim/wire.rs"]
#[expect(dead_code, reason = "the shim uses the other half")]
pub(crate) mod wire;

#[path = "../../shim/wipe.rs"]
pub(crate) mod wipe;

/// The program.
pub(crate) static BYTES: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/shim"));

/// Tells one build of it from another: 12 hex digits.
pub(crate) static HASH: LazyLock<String> = LazyLock::new(|| {
    Sha256::digest(BYTES).iter().take(6).fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
});
