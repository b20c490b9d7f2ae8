//! Fuzzes `entries::costly`.

#![no_main]

#[allow(dead_code, reason = "each target has one of the entries")]
#[path = "../../src/entries.rs"]
mod entries;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| entries::costly(bytes));
