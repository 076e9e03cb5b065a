//! A rule's examples, tried as the gateway would meet them, and why one of them came out otherwise than its list says.
//! For operators who write rules: cold code.

use super::{
    Context, Engine, EngineError, Exact, Form, Rule, RuleIdx, Verdict, exact_regex, find, left_is_free,
    right_is_free, validate,
};
use regex_automata::Input;
use std::fmt;

/// An example that is not found, or a counter-example that is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExampleFailure {
    /// Key of the rule that holds it.
    pub list: &'static str,
    /// It, without the marks; for the lists of pairs `key: value`.
    pub example: String,
    /// It should be found.
    pub expected: bool,
    /// What stands against it.
    pub why: String,
}

impl fmt::Display for ExampleFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = if self.expected { "example is not found" } else { "counter-example is found" };
        write!(f, "{what} ({}): {:?}: {}", self.list, self.example, self.why)
    }
}

impl Engine {
    /// Tries all examples of a rule. Nothing of it depends on other rules.
    ///
    /// # Errors
    /// When there is no memory for a search.
    pub fn try_examples(&self, rule: RuleIdx) -> Result<Vec<ExampleFailure>, EngineError> {
        let mut scratch = self.new_scratch()?;
        let spec = self.rule(rule);
        let mut failures = Vec::new();
        for (list, texts, expected) in
            [("examples", &spec.examples, true), ("counter_examples", &spec.counter_examples, false)]
        {
            for text in texts {
                if self.finds(&mut scratch, rule, text, &Context::default()) != expected {
                    let why = self.why_text(rule, text, expected);
                    failures.push(ExampleFailure { list, example: text.clone(), expected, why });
                }
            }
        }
        for (list, pairs, expected) in [
            ("key_examples", &spec.key_examples, true),
            ("key_counter_examples", &spec.key_counter_examples, false),
        ] {
            for (key, value) in pairs {
                let ctx = Context { key: Some(key), ..Context::default() };
                if self.confirm_value(&mut scratch, rule, value, &ctx).is_some() != expected {
                    let why = self.why_value(rule, key, value, expected);
                    let example = format!("{key}: {value}");
                    failures.push(ExampleFailure { list, example, expected, why });
                }
            }
        }
        Ok(failures)
    }

    /// How many examples and counter-examples a rule has.
    pub fn count_examples(&self, rule: RuleIdx) -> usize {
        let r = self.rule(rule);
        r.examples.len() + r.counter_examples.len() + r.key_examples.len() + r.key_counter_examples.len()
    }

    fn why_text(&self, rule: RuleIdx, text: &str, expected: bool) -> String {
        let (spec, exact) = (self.rule(rule), &self.exact[usize::from(rule.0)]);
        let Some(regex) = self.regexes[exact.text].get() else {
            return "the pattern does not compile".into();
        };
        let input = Input::new(text);
        let Some((whole, span)) = find(regex, exact.group, &mut regex.create_cache(), text, &input) else {
            return format!("the pattern does not match{}", other_case(spec, text));
        };
        if !expected {
            return format!("the pattern matches bytes {}..{} and every check accepts that", span.0, span.1);
        }
        objection(spec, exact, text, whole, span).unwrap_or_else(|| {
            "the pattern matches, but no trigger fires for it, or a check of its surroundings refuses it; \
             a hand-written trigger must fire within max_length of the start of every match"
                .into()
        })
    }

    fn why_value(&self, rule: RuleIdx, key: &str, value: &str, expected: bool) -> String {
        let exact = &self.exact[usize::from(rule.0)];
        let Some(keyed) = &exact.keyed else {
            return "only rules with `key` and `value` can find it; move it to the list without `key_`"
                .into();
        };
        if !expected {
            return "name and value match and every check accepts them".into();
        }
        let (Some(names), Some(regex)) = (self.regexes[keyed.key].get(), self.regexes[keyed.value].get())
        else {
            return "a pattern does not compile".into();
        };
        if !names.is_match(key) {
            return "the name does not match `key`, which must reach to its end".into();
        }
        match find(regex, keyed.group, &mut regex.create_cache(), value, &Input::new(value)) {
            None => "the value does not match `value`".into(),
            Some((whole, _)) if whole != (0, value.len()) => {
                format!("only bytes {}..{} of the value match `value`; all must", whole.0, whole.1)
            }
            Some((whole, span)) => objection(self.rule(rule), exact, value, whole, span)
                .unwrap_or_else(|| "a check of its surroundings refuses it".into()),
        }
    }
}

/// Whether case is all that is wrong.
fn other_case(rule: &Rule, text: &str) -> &'static str {
    let Form::Pattern(pattern) = &rule.form else { return "" };
    let caseless = !rule.caseless && exact_regex(pattern, true).is_ok_and(|r| r.is_match(text));
    if caseless { "; it would with caseless = true" } else { "" }
}

/// The first check, in the engine's order, that refuses a match.
fn objection(
    spec: &Rule,
    exact: &Exact,
    text: &str,
    whole: (usize, usize),
    span: (usize, usize),
) -> Option<String> {
    let validator = |v| format!("the validator {v:?} refuses it").to_lowercase();
    let (start, mut end) = span;
    if whole.1 - whole.0 > exact.length_max {
        return Some(format!("the match is longer than max_length = {}", exact.length_max));
    }
    if let Some(v) = spec.validator {
        match v.fit(text, start, end) {
            Some(fitted) => end = fitted,
            None => return Some(validator(v)),
        }
    }
    if matches!(spec.form, Form::Pattern(_)) && !left_is_free(spec.boundary, text, whole.0) {
        return Some("a letter or digit touches its start, which `boundary` forbids".into());
    }
    if !right_is_free(spec.boundary, text, end) {
        return Some("a letter or digit touches its end, which `boundary` forbids".into());
    }
    let secret = text.get(start..end)?;
    if secret.is_empty() {
        return Some("what is reported is empty".into());
    }
    if spec.placeholders && validate::is_placeholder(secret) {
        return Some("it looks like a sample value; placeholders = false reports those too".into());
    }
    let entropy = validate::entropy_bits(secret);
    if spec.entropy > 0.0 && entropy < spec.entropy {
        return Some(format!("its entropy is {entropy:.2}, below entropy = {}", spec.entropy));
    }
    if spec.allow.covers(text, whole, (start, end)) {
        return Some("allow, allow_match, allow_line or stopwords covers it".into());
    }
    let v = spec.validator?;
    (v.judge(text, start, end) == Verdict::Reject).then(|| validator(v))
}
