use serde::Serialize;

use crate::record::Payload;

/// How deep a saga's input may be nested: serde_json reads no deeper either.
const DEPTH_MAX: usize = 128;

/// The JSON of a saga's input with the members of every object in the order of their keys, and no spaces.
///
/// A start that comes again is recognised by its bytes. Without this, a `HashMap` in the input, or fields declared in another
/// order by the next release, would make a redelivered trigger look like another input.
pub(crate) fn canonical<T: Serialize + ?Sized>(input: &T) -> Result<Payload, String> {
    let json = serde_json::to_vec(input).map_err(|error| error.to_string())?;
    let mut sorter = Sorter { rest: &json, sorted: Vec::with_capacity(json.len()) };
    sorter.value(0)?;
    Ok(Payload::from(sorter.sorted))
}

/// Copies valid JSON token by token, so that numbers and strings keep their exact text.
struct Sorter<'a> {
    rest: &'a [u8],
    sorted: Vec<u8>,
}

impl Sorter<'_> {
    fn value(&mut self, depth: usize) -> Result<(), String> {
        if depth > DEPTH_MAX {
            return Err(format!("it is nested more than {DEPTH_MAX} deep"));
        }
        match self.peek() {
            Some(b'{') => self.object(depth),
            Some(b'[') => self.array(depth),
            Some(b'"') => self.copy(string_len(self.rest)),
            Some(_) => self.copy(scalar_len(self.rest)),
            None => Err("it ends early".to_owned()),
        }
    }

    fn object(&mut self, depth: usize) -> Result<(), String> {
        self.copy(1)?;
        let start = self.sorted.len();
        let mut members = Vec::new();
        while self.peek() != Some(b'}') {
            self.skip_comma();
            let from = self.sorted.len() - start;
            self.value(depth + 1)?;
            self.peek();
            self.copy(1)?;
            self.value(depth + 1)?;
            members.push(from..self.sorted.len() - start);
        }
        let text = self.sorted.split_off(start);
        members.sort_by_key(|member| &text[member.clone()]);
        for (i, member) in members.into_iter().enumerate() {
            if i > 0 {
                self.sorted.push(b',');
            }
            self.sorted.extend_from_slice(&text[member]);
        }
        self.copy(1)
    }

    fn array(&mut self, depth: usize) -> Result<(), String> {
        self.copy(1)?;
        while self.peek() != Some(b']') {
            if self.skip_comma() {
                self.sorted.push(b',');
            }
            self.value(depth + 1)?;
        }
        self.copy(1)
    }

    /// The next byte that is not a space: a raw value inside the input may have been written with spaces.
    fn peek(&mut self) -> Option<u8> {
        self.rest = self.rest.trim_ascii_start();
        self.rest.first().copied()
    }

    fn skip_comma(&mut self) -> bool {
        let comma = self.peek() == Some(b',');
        if comma {
            self.rest = &self.rest[1..];
        }
        comma
    }

    fn copy(&mut self, len: usize) -> Result<(), String> {
        let (token, rest) = self.rest.split_at_checked(len).ok_or("it ends early")?;
        self.sorted.extend_from_slice(token);
        self.rest = rest;
        Ok(())
    }
}

/// The length of the string that `json` begins with, quotes included.
fn string_len(json: &[u8]) -> usize {
    let mut escaped = false;
    let inside = json[1..].iter().take_while(|&&byte| {
        let closes = byte == b'"' && !escaped;
        escaped = byte == b'\\' && !escaped;
        !closes
    });
    inside.count() + 2
}

/// The length of the number, `true`, `false` or `null` that `json` begins with.
fn scalar_len(json: &[u8]) -> usize {
    json.iter().take_while(|byte| !byte.is_ascii_whitespace() && !b",:]}".contains(byte)).count().max(1)
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use serde_json::{Value, json};

    use super::*;

    fn text<T: Serialize>(input: &T) -> String {
        String::from_utf8(canonical(input).unwrap().to_vec()).unwrap()
    }

    #[derive(Serialize)]
    struct Declared {
        b: u128,
        a: f32,
        nested: Vec<Inner>,
    }

    #[derive(Serialize)]
    struct Inner {
        z: (),
        y: &'static str,
    }

    #[test]
    fn members_are_sorted_and_tokens_keep_their_text() {
        let inner = || Inner { z: (), y: "a \"quoted\", \\ {x:[1]}" };
        let input = Declared { b: u128::MAX, a: 1.1, nested: vec![inner(), inner()] };
        let inner = r#"{"y":"a \"quoted\", \\ {x:[1]}","z":null}"#;
        assert_eq!(
            text(&input),
            format!(r#"{{"a":1.1,"b":340282366920938463463374607431768211455,"nested":[{inner},{inner}]}}"#)
        );
    }

    #[test]
    fn a_map_comes_out_the_same_however_it_was_hashed() {
        let map = || (0..50).map(|n| (format!("k{n}"), n)).collect::<HashMap<_, _>>();
        assert_eq!(text(&map()), text(&map()));
    }

    #[test]
    fn it_means_the_same_json() {
        for value in
            [json!({}), json!([]), json!("x"), json!(-1.5e300), json!([[], {}, {"b": [true], "a": {}}])]
        {
            assert_eq!(serde_json::from_str::<Value>(&text(&value)).unwrap(), value);
        }
    }

    #[test]
    fn deep_nesting_is_refused() {
        let nested = |depth| (0..depth).fold(json!(1), |inner, _| json!([inner]));
        assert!(canonical(&nested(DEPTH_MAX)).is_ok());
        assert!(canonical(&nested(DEPTH_MAX + 1)).unwrap_err().contains("nested more than 128"));
    }
}
