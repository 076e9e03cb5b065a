//! A rule file is refused with words or gives an engine that can search.
#![no_main]
use libfuzzer_sys::fuzz_target;
use tidegate_core::config::RuleFile;
use tidegate_inspect::import::gitleaks;
use tidegate_inspect::{Context, Engine, Method, Sources};

fuzz_target!(|text: &str| {
    let _ = gitleaks(text, &[]);
    let files = [RuleFile { path: "rules.toml".into(), text: text.into() }];
    // The method that compiles in no time.
    let sources =
        Sources { builtin: false, custom: &[], files: &files, disabled: &[], cache: None, method: Method::Plain };
    match Engine::from_sources(&sources) {
        Ok(engine) => {
            let mut scratch = engine.new_scratch().expect("scratch");
            engine.scan_text(&mut scratch, text, &Context::default());
        }
        Err(errors) => assert!(errors.iter().all(|e| !e.to_string().is_empty()) && !errors.is_empty()),
    }
});
