//! Finds the first matching rule in time proportional to the request's length, not to the number of
//! rules: a tree of path segments for each host that rules name, and one for rules without a host.

use super::pattern::{Pattern, Segment};

/// Which rules to consider, by their position in the document.
pub(crate) type Accepts<'a> = dyn Fn(usize) -> bool + 'a;

/// The rules by host, then by path. A rule is represented by its position in the document.
#[derive(Default)]
pub(crate) struct Index {
    /// Sorted. The key is [`Pattern::host`].
    hosts: Vec<(Box<str>, Paths)>,
    any_host: Paths,
}

/// The rules of one host.
#[derive(Default)]
struct Paths {
    tree: Node,
    /// The rules without a path, which are also in the tree: only they match a request without one.
    without: Vec<usize>,
}

/// A node of the tree. Lists of rules are ascending.
struct Node {
    /// The first rule here or below; ends a search that has already found an earlier one.
    first: usize,
    /// Sorted.
    literals: Vec<(Box<str>, Box<Self>)>,
    one: Option<Box<Self>>,
    /// Rules whose path ends here.
    here: Vec<usize>,
    /// Rules that match here and everything below.
    rest: Vec<usize>,
}

impl Default for Node {
    fn default() -> Self {
        Self {
            first: usize::MAX,
            literals: Vec::new(),
            one: None,
            here: Vec::new(),
            rest: Vec::new(),
        }
    }
}

/// The value for `key` in a sorted list, inserted if it is missing.
fn entry<'a, V: Default>(list: &'a mut Vec<(Box<str>, V)>, key: &str) -> Option<&'a mut V> {
    let at = match position(list, key) {
        Ok(at) => at,
        Err(at) => {
            list.insert(at, (key.into(), V::default()));
            at
        }
    };
    list.get_mut(at).map(|(_, value)| value)
}

fn position<V>(list: &[(Box<str>, V)], key: &str) -> Result<usize, usize> {
    list.binary_search_by(|(other, _)| (**other).cmp(key))
}

fn get<'a, V>(list: &'a [(Box<str>, V)], key: &str) -> Option<&'a V> {
    let at = position(list, key).ok()?;
    list.get(at).map(|(_, value)| value)
}

impl Index {
    /// Adds the next rule.
    pub(crate) fn insert(&mut self, pattern: &Pattern, rule: usize) {
        let paths = match &pattern.host {
            Some(host) => entry(&mut self.hosts, host),
            None => Some(&mut self.any_host),
        };
        let Some(paths) = paths else {
            return;
        };
        match &pattern.path {
            Some(path) => paths.tree.insert(path, rule),
            None => {
                paths.tree.insert(&[Segment::Rest], rule);
                paths.without.push(rule);
            }
        }
    }

    /// Whether any rule names a host.
    pub(crate) fn names_hosts(&self) -> bool {
        !self.hosts.is_empty()
    }

    /// The first accepted rule that matches `host`, as in [`Pattern::host`], and `path`.
    ///
    /// For the pattern of a rule, this is the first rule that matches everything that the pattern
    /// matches.
    #[inline]
    pub(crate) fn first(
        &self,
        host: Option<&str>,
        path: Option<&[Segment<'_>]>,
        accepts: &Accepts<'_>,
    ) -> Option<usize> {
        let mut best = usize::MAX;
        let mut search = |paths: &Paths| match path {
            Some(path) => paths.tree.search(path, accepts, &mut best),
            None => take(&paths.without, accepts, &mut best),
        };
        search(&self.any_host);
        if let Some(host) = host.filter(|_| self.names_hosts()) {
            // Try the exact host, then each parent suffix (`.b.c`), under which `*.` patterns are
            // stored.
            let dots = host.match_indices('.').map(|(at, _)| at);
            for start in [0].into_iter().chain(dots.filter(|at| *at > 0)) {
                if let Some(paths) = host.get(start..).and_then(|key| get(&self.hosts, key)) {
                    search(paths);
                }
            }
        }
        (best != usize::MAX).then_some(best)
    }
}

impl Node {
    fn insert(&mut self, path: &[Segment<'_>], rule: usize) {
        self.first = self.first.min(rule);
        match path {
            [] => self.here.push(rule),
            [Segment::Rest, ..] => self.rest.push(rule),
            [Segment::One, after @ ..] => self.one.get_or_insert_default().insert(after, rule),
            [Segment::Literal(text), after @ ..] => {
                if let Some(node) = entry(&mut self.literals, text) {
                    node.insert(after, rule);
                }
            }
        }
    }

    #[inline]
    fn search(&self, path: &[Segment<'_>], accepts: &Accepts<'_>, best: &mut usize) {
        if self.first >= *best {
            return;
        }
        take(&self.rest, accepts, best);
        match path {
            [] => take(&self.here, accepts, best),
            // Nothing further down matches everything that may follow.
            [Segment::Rest, ..] => {}
            [segment, after @ ..] => {
                if let Segment::Literal(text) = segment
                    && let Some(node) = get(&self.literals, text)
                {
                    node.search(after, accepts, best);
                }
                if let Some(node) = &self.one {
                    node.search(after, accepts, best);
                }
            }
        }
    }
}

fn take(rules: &[usize], accepts: &Accepts<'_>, best: &mut usize) {
    let mut earlier = rules.iter().copied().take_while(|rule| *rule < *best);
    if let Some(rule) = earlier.find(|rule| accepts(*rule)) {
        *best = rule;
    }
}
