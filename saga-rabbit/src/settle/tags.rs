use std::collections::BTreeSet;

/// The deliveries of a channel that are not acknowledged, by their numbers.
#[derive(Debug, Default)]
pub(crate) struct Tags(BTreeSet<u64>);

/// How deliveries are acknowledged with few words.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Cover {
    /// All up to this one.
    pub(crate) up_to: Option<u64>,
    /// These besides.
    pub(crate) alone: Vec<u64>,
}

impl Tags {
    pub(crate) fn delivered(&mut self, tag: u64) {
        self.0.insert(tag);
    }

    /// They are settled otherwise.
    pub(crate) fn forget(&mut self, tags: &[u64]) {
        tags.iter().for_each(|tag| {
            self.0.remove(tag);
        });
    }

    /// These are settled. What comes after one that is not must be acknowledged alone: with one word for all up to it, that one would be
    /// lost.
    pub(crate) fn settle(&mut self, tags: &[u64]) -> Cover {
        let mut settled: Vec<u64> = tags.iter().copied().filter(|tag| self.0.remove(tag)).collect();
        settled.sort_unstable();
        let first_open = self.0.first().copied().unwrap_or(u64::MAX);
        let alone = settled.split_off(settled.partition_point(|tag| *tag < first_open));
        Cover { up_to: settled.last().copied(), alone }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cover(up_to: Option<u64>, alone: &[u64]) -> Cover {
        Cover { up_to, alone: alone.to_vec() }
    }

    #[test]
    fn nothing_unsettled_is_covered_and_nothing_is_settled_twice() {
        let mut tags = Tags::default();
        (1..=8).for_each(|tag| tags.delivered(tag));
        assert_eq!(tags.settle(&[3, 5]), cover(None, &[3, 5]));
        assert_eq!(tags.settle(&[2, 1]), cover(Some(2), &[]));
        assert_eq!(tags.settle(&[4, 8, 3]), cover(Some(4), &[8]));
        tags.forget(&[6]);
        assert_eq!(tags.settle(&[7]), cover(Some(7), &[]));
        assert_eq!(tags.settle(&[7]), cover(None, &[]));
    }
}
