//! `tidegate rules import`: rules of other tools as a rule file of ours.

use super::print;
use crate::cli::{EXIT_FINDINGS, EXIT_OK, ImportFrom, RulesImport};
use tidegate_inspect::import::{Import, gitleaks};
use tidegate_inspect::{Method, RuleInfo, Sources};

pub(super) fn run(args: &RulesImport) -> Result<u8, Vec<String>> {
    let shown = args.file.display();
    let text =
        std::fs::read_to_string(&args.file).map_err(|e| vec![format!("{shown}: cannot be read: {e}")])?;
    let builtin =
        Sources { builtin: true, custom: &[], files: &[], disabled: &[], cache: None, method: Method::Fast };
    let known: Vec<String> = match args.replace {
        true => Vec::new(),
        false => RuleInfo::all(&builtin).0.into_iter().map(|r| r.id).collect(),
    };
    let import = match args.from {
        ImportFrom::Gitleaks => gitleaks(&text, &known),
    };
    let import = import.map_err(|e| vec![format!("{shown}: {e}")])?;
    let file = format!("{}\n{}", header(&args.file.to_string_lossy()), import.toml);
    match &args.output {
        Some(path) => {
            std::fs::write(path, &file).map_err(|e| vec![format!("--output {}: {e}", path.display())])?;
        }
        None => print(&file),
    }
    Ok(tell(&import, &shown.to_string()))
}

/// Comment at the top of the file; the name is the only text of others in it.
fn header(name: &str) -> String {
    let name: String = name.chars().map(|c| if c.is_control() { '?' } else { c }).collect();
    format!(
        "# Imported from {name} (gitleaks). Sample values such as `your_token` are ignored here too, and what stands\n\
         # beside a match is left to its pattern. Add examples to each rule, then: tidegate rules test THIS_FILE\n"
    )
}

/// Says on standard error what could not be carried over.
fn tell(import: &Import, shown: &str) -> u8 {
    for note in &import.notes {
        match &note.rule {
            Some(rule) => eprintln!("{shown}: {rule}: {}", note.text),
            None => eprintln!("{shown}: {}", note.text),
        }
    }
    if !import.known.is_empty() {
        let (n, ids) = (import.known.len(), import.known.join(", "));
        eprintln!("{shown}: {n} rules are built in already and are left out (--replace takes them): {ids}");
    }
    let left_out = import.notes.iter().filter(|n| n.left_out).count();
    let changed = import.notes.len() - left_out;
    let (rules, read, known) = (import.rules, import.read, import.known.len());
    eprintln!(
        "{shown}: {rules} of {read} rules imported; {known} built in, {left_out} left out, {changed} changed"
    );
    if import.notes.is_empty() { EXIT_OK } else { EXIT_FINDINGS }
}
