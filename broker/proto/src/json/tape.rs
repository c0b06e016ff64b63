//! A parsed JSON value with its place in the original text.
//!
//! simd-json leaves two lists: the tape, with one node for each key and value, and the marks, the
//! byte offset of every `{ } [ ] : ,` outside strings and of the first byte of every key and
//! scalar. Both are in the order of the text, so walking them in step gives each node its text:
//! it runs from its own mark to the mark after it, without the white space between.
//!
//! Only ever used on text that simd-json found valid; must not panic even if the lists disagree
//! (then members seem to be missing). Used by the parser and the reader of options.

use simd_json::{Node, StaticNode};

/// One value of the tape.
#[derive(Clone, Copy)]
pub(super) struct Value<'t, 'a> {
    text: &'a str,
    /// The value's own node, then those inside it.
    nodes: &'t [Node<'a>],
    /// The value's own mark, then those inside it.
    marks: &'t [u32],
    /// Where the next mark stands, or the end of the text.
    end: usize,
}

impl<'t, 'a> Value<'t, 'a> {
    /// The whole of `text`, as simd-json parsed it.
    pub(super) fn root(text: &'a str, nodes: &'t [Node<'a>], marks: &'t [u32]) -> Self {
        Self { text, nodes, marks, end: text.len() }
    }

    /// The value as it was written, without white space around it.
    pub(super) fn raw(&self) -> &'a str {
        let start = self.marks.first().map_or(self.end, |&mark| mark as usize);
        let raw = self.text.get(start..self.end).unwrap_or_default();
        raw.trim_end_matches([' ', '\t', '\r', '\n'])
    }

    pub(super) fn as_str(&self) -> Option<&'a str> {
        match self.nodes.first()? {
            Node::String(text) => Some(text),
            _ => None,
        }
    }

    pub(super) fn as_bool(&self) -> Option<bool> {
        match self.nodes.first()? {
            Node::Static(StaticNode::Bool(value)) => Some(*value),
            _ => None,
        }
    }

    /// An integer of 0 or more; not one written with a fraction or an exponent.
    pub(super) fn as_u64(&self) -> Option<u64> {
        match self.nodes.first()? {
            Node::Static(StaticNode::U64(value)) => Some(*value),
            _ => None,
        }
    }

    /// Any number, rounded to the nearest double.
    pub(super) fn as_f64(&self) -> Option<f64> {
        match self.nodes.first()? {
            Node::Static(StaticNode::F64(value)) => Some(*value),
            Node::Static(StaticNode::U64(value)) => Some(*value as f64),
            Node::Static(StaticNode::I64(value)) => Some(*value as f64),
            _ => None,
        }
    }

    /// The members of an object, in order.
    pub(super) fn members(&self) -> Option<Members<'t, 'a>> {
        match self.nodes.first()? {
            Node::Object { .. } => Some(Members(self.inside())),
            _ => None,
        }
    }

    /// The elements of an array, in order.
    pub(super) fn elements(&self) -> Option<Elements<'t, 'a>> {
        match self.nodes.first()? {
            Node::Array { .. } => Some(Elements(self.inside())),
            _ => None,
        }
    }

    fn inside(&self) -> Rest<'t, 'a> {
        Rest {
            text: self.text,
            nodes: self.nodes.get(1..).unwrap_or_default(),
            marks: self.marks.get(1..).unwrap_or_default(),
        }
    }
}

/// The keys (unescaped) and values of an object.
pub(super) struct Members<'t, 'a>(Rest<'t, 'a>);

impl<'t, 'a> Iterator for Members<'t, 'a> {
    type Item = (&'a str, Value<'t, 'a>);

    fn next(&mut self) -> Option<Self::Item> {
        let Node::String(key) = *self.0.nodes.first()? else { return None };
        // The key's own mark and that of the colon.
        self.0.skip(1, 2)?;
        Some((key, self.0.take_value()?))
    }
}

/// The elements of an array.
pub(super) struct Elements<'t, 'a>(Rest<'t, 'a>);

impl<'t, 'a> Iterator for Elements<'t, 'a> {
    type Item = Value<'t, 'a>;

    fn next(&mut self) -> Option<Self::Item> {
        self.0.take_value()
    }
}

/// What is left of an object or array; the marks end with its closing bracket.
struct Rest<'t, 'a> {
    text: &'a str,
    nodes: &'t [Node<'a>],
    marks: &'t [u32],
}

impl<'t, 'a> Rest<'t, 'a> {
    fn skip(&mut self, nodes: usize, marks: usize) -> Option<()> {
        self.nodes = self.nodes.get(nodes..)?;
        self.marks = self.marks.get(marks..)?;
        Some(())
    }

    /// The value that begins here, and the comma or closing bracket behind it.
    fn take_value(&mut self) -> Option<Value<'t, 'a>> {
        let count = match self.nodes.first()? {
            Node::Object { count, .. } | Node::Array { count, .. } => 1 + count,
            Node::String(_) | Node::Static(_) => 1,
        };
        let nodes = self.nodes.get(..count)?;
        let marked = nodes.iter().map(marks_of).sum();
        let marks = self.marks.get(..marked)?;
        let end = *self.marks.get(marked)? as usize;
        self.skip(count, marked + 1)?;
        Some(Value { text: self.text, nodes, marks, end })
    }
}

/// How many marks a node has of its own: brackets, colons and commas, but not what is inside.
fn marks_of(node: &Node<'_>) -> usize {
    match node {
        Node::Object { len, .. } => 2 + len + len.saturating_sub(1),
        Node::Array { len, .. } => 2 + len.saturating_sub(1),
        Node::String(_) | Node::Static(_) => 1,
    }
}
