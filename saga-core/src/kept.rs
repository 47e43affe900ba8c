//! Golden files: what this version writes down and sends, in the form that it has given it. Later versions must read every line, and as long as
//! the format's number is the same, write the same lines.

/// Holds lines against the golden file of this name.
pub(crate) fn check(name: &str, kept: &str, written: &[String]) {
    let kept: Vec<&str> = kept.lines().collect();
    for (nth, line) in written.iter().enumerate() {
        let before = kept.get(nth).copied().unwrap_or("nothing");
        assert_eq!(
            line,
            before,
            "line {} of golden/{name}: what is written has another form than it had. Whoever has stored it, or has not been updated yet, \
             cannot read it. Where something is new, add its line at the end",
            nth + 1
        );
    }
    assert_eq!(kept.len(), written.len(), "golden/{name} has lines that nobody writes");
}
