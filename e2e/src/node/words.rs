//! How flared cuts a line into words and numbers (flare-protocol.md 2): spaces only, numbers as a
//! run of digits and `-`, whatever follows them being the next word.

/// A cursor over one request line, without its line end.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Words<'a> {
    rest: &'a [u8],
}

impl<'a> Words<'a> {
    pub(crate) fn new(line: &'a [u8]) -> Self {
        Self { rest: line }
    }

    fn skip_spaces(&mut self) {
        let spaces = self.rest.iter().take_while(|b| **b == b' ').count();
        self.rest = &self.rest[spaces..];
    }

    fn take(&mut self, count: usize) -> &'a [u8] {
        let (taken, rest) = self.rest.split_at(count);
        self.rest = rest;
        taken
    }

    /// The next word; empty at the end. A word longer than `limit` bytes (the size of upstream's
    /// token buffer less one) is cut there, and its rest is the next word.
    pub(crate) fn word(&mut self, limit: usize) -> &'a [u8] {
        self.skip_spaces();
        let length = self.rest.iter().take_while(|b| **b != b' ').count();
        self.take(length.min(limit))
    }

    /// The next run of digits and `-`; empty if something else or nothing comes next.
    pub(crate) fn digits(&mut self) -> &'a [u8] {
        self.skip_spaces();
        let length = self.rest.iter().take_while(|b| b.is_ascii_digit() || **b == b'-').count();
        self.take(length)
    }

    /// Whether only spaces are left.
    pub(crate) fn is_done(&mut self) -> bool {
        self.skip_spaces();
        self.rest.is_empty()
    }
}

/// A signed number as upstream's conversion takes it: an optional `-`, then digits, in range.
pub(crate) fn signed<T: std::str::FromStr>(digits: &[u8]) -> Option<T> {
    std::str::from_utf8(digits).ok()?.parse().ok()
}

/// An unsigned number with upstream's habit: a leading `-` is accepted and wraps around.
pub(crate) fn wrapping_u64(digits: &[u8]) -> Option<u64> {
    match digits.strip_prefix(b"-") {
        Some(rest) => plain_u64(rest).map(u64::wrapping_neg),
        None => plain_u64(digits),
    }
}

/// An unsigned number of digits only, in the range of `u64`.
pub(crate) fn plain_u64(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    std::str::from_utf8(digits).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_stop_at_anything_else_and_leave_it_as_the_next_word() {
        let mut words = Words::new(b"  12121x  rest");
        assert_eq!(words.digits(), b"12121");
        assert_eq!(words.word(9), b"x");
        assert_eq!(words.digits(), b"");
        assert_eq!(words.word(9), b"rest");
        assert!(words.is_done());
    }

    #[test]
    fn a_tab_is_an_ordinary_character() {
        let mut words = Words::new(b"a\tb c");
        assert_eq!(words.word(99), b"a\tb");
    }

    #[test]
    fn conversions_follow_the_c_side() {
        assert_eq!(wrapping_u64(b"-5"), Some(u64::MAX - 4));
        assert_eq!(wrapping_u64(b"1-2"), None);
        assert_eq!(wrapping_u64(b"-"), None);
        assert_eq!(wrapping_u64(b"18446744073709551616"), None);
        assert_eq!(plain_u64(b"-1"), None);
        assert_eq!(signed::<i32>(b"-1"), Some(-1));
        assert_eq!(signed::<i32>(b"2147483648"), None);
    }
}
