use saga_rabbit::fuzz::{followed, noted};

/// Each line of the input is one of the list.
pub(super) fn run(bytes: &[u8]) {
    let lines: Vec<_> = bytes.split(|byte| *byte == b'\n').map(<[u8]>::to_vec).collect();
    let registry = followed(&lines);
    assert_eq!(followed(&noted(&registry)), registry, "the list is not read as it was written");
}
