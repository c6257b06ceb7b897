//! Numbers of bytes as people read them.

const UNITS: [&str; 5] = ["KiB", "MiB", "GiB", "TiB", "PiB"];

/// `512 bytes`, `3.1 GiB`, `100 GiB`: rounded down, with one digit behind the point below ten.
pub fn words(bytes: u64) -> String {
    let mut shift = 0;
    while shift < 10 * UNITS.len() && bytes >> shift >= 1024 {
        shift += 10;
    }
    if shift == 0 {
        return format!("{bytes} bytes");
    }
    let unit = UNITS[shift / 10 - 1];
    let whole = bytes >> shift;
    let tenth = ((bytes - (whole << shift)) * 10) >> shift;
    if whole >= 10 || tenth == 0 { format!("{whole} {unit}") } else { format!("{whole}.{tenth} {unit}") }
}

#[cfg(test)]
mod tests {
    #[test]
    fn sizes_in_words() {
        let check = |bytes: u64, want: &str| assert_eq!(super::words(bytes), want);
        check(0, "0 bytes");
        check(1023, "1023 bytes");
        check(1024, "1 KiB");
        check(1 << 30, "1 GiB");
        check((31 << 30) / 10 + 1, "3.1 GiB");
        check((10 << 30) - 1, "9.9 GiB");
        check(252 << 30, "252 GiB");
        check(u64::MAX, "16383 PiB");
    }
}
