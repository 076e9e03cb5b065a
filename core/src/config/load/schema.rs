//! Every key of the configuration: its type, range, default and meaning. The only such list; checking, the JSON
//! Schema and the reference are made from it. Limits come from [`crate::limits::SPECS`].

use super::text::{self, Text};
use crate::limits::SPECS;

/// One key of a mapping.
#[derive(Clone, Copy)]
pub(super) struct Field {
    pub name: &'static str,
    pub kind: Kind,
    pub absent: Absent,
    /// One sentence, lower case, without a full stop; for numbers, the reason of the bound.
    pub doc: &'static str,
}

/// What it means when a key is not there.
#[derive(Clone, Copy)]
pub(super) enum Absent {
    /// A mistake.
    Required,
    /// The same as this value, written as JSON.
    Is(&'static str),
    /// The same as this number.
    Count(u64),
    /// Something that is no value; a phrase such as `none`.
    Means(&'static str),
}

/// The type of a value.
#[derive(Clone, Copy)]
pub(super) enum Kind {
    /// Text of a certain form.
    Text(&'static Text),
    /// A value for a header field: never shown, may be a `file:` reference.
    Secret,
    /// One of these words; each with its meaning.
    Choice(&'static [(&'static str, &'static str)]),
    Bool,
    /// A whole number within bounds, both included.
    Count {
        min: u64,
        max: u64,
    },
    /// The word `auto`, or a whole number.
    AutoOrCount {
        min: u64,
        max: u64,
    },
    List(&'static Kind),
    /// Keys of a certain form, all values alike.
    Map(&'static Text, &'static Kind),
    Section(&'static [Field]),
}

pub(super) const IO: &[(&str, &str)] = &[
    ("auto", "io_uring where the kernel allows it, else epoll with a warning"),
    ("io_uring", "io_uring, or refuse to start"),
    ("epoll", "epoll"),
];

pub(super) const MODES: &[(&str, &str)] = &[
    ("off", "not looked for"),
    ("detect", "recorded, forwarded unchanged"),
    ("mask", "letters and digits replaced by *, but for the last four of a long value"),
    ("tokenize", "replaced by <TYPE:...>, the value encrypted, which `detokenize` turns back"),
    ("hash", "replaced by [TYPE:0123456789abcdef], a keyed hash: equal values stay equal"),
    ("redact", "replaced by [REDACTED:TYPE]"),
    ("block", "the message is refused"),
];

pub(super) const TOKEN_SCOPES: &[(&str, &str)] = &[
    ("deployment", "what one server's answer held can go to another server"),
    ("server", "a token means something to the server only whose traffic it was made in"),
];

pub(super) const DURABILITIES: &[(&str, &str)] = &[
    ("async", "a call goes on once the ring in memory has its record; on disk within milliseconds"),
    ("group", "the answer waits until its record is on disk"),
    ("strict", "the server is called only after the intent is on disk, and the answer waits too"),
];

pub(super) const LOG_FORMATS: &[(&str, &str)] =
    &[("text", "for people"), ("json", "one JSON object per line")];

const MODE: Kind = Kind::Choice(MODES);
const TYPES: Kind = Kind::Map(&text::FINDING_TYPE, &MODE);

const DIRECTION: &[Field] = &[
    Field {
        name: "mode",
        kind: MODE,
        absent: Absent::Means("the mode of the enclosing section"),
        doc: "what happens to findings in this direction",
    },
    Field {
        name: "types",
        kind: TYPES,
        absent: Absent::Is("{}"),
        doc: "exceptions for single finding types",
    },
];

const REQUEST: Field = Field {
    name: "request",
    kind: Kind::Section(DIRECTION),
    absent: Absent::Is("{}"),
    doc: "from the client to the server",
};

const RESPONSE: Field = Field {
    name: "response",
    kind: Kind::Section(DIRECTION),
    absent: Absent::Is("{}"),
    doc: "from the server to the client",
};

const SERVER_INSPECTION: &[Field] = &[
    Field {
        name: "mode",
        kind: MODE,
        absent: Absent::Means("the global settings"),
        doc: "what happens to findings; replaces the global modes and types for this server",
    },
    TYPES_FIELD,
    REQUEST,
    RESPONSE,
    Field {
        name: "disabled_rules",
        kind: RULE_IDS,
        absent: Absent::Is("[]"),
        doc: "ids of rules that are switched off for this server, besides the global ones",
    },
    Field {
        name: "tools",
        kind: Kind::Map(&text::TOOL_NAME, &Kind::Section(TOOL_INSPECTION)),
        absent: Absent::Is("{}"),
        doc: "differences for single tools: what a call of `tools/call` sends, and what answers it",
    },
    Field {
        name: "detokenize",
        kind: Kind::List(&Kind::Text(&text::FINDING_TYPE)),
        absent: Absent::Is("[]"),
        doc: "finding types whose tokens are turned back into values in arguments to this server",
    },
];

const TOOL_INSPECTION: &[Field] = &[
    Field {
        name: "mode",
        kind: MODE,
        absent: Absent::Means("the server's settings"),
        doc: "what happens to findings; replaces the server's modes and types for this tool",
    },
    TYPES_FIELD,
    REQUEST,
    RESPONSE,
    Field {
        name: "disabled_rules",
        kind: RULE_IDS,
        absent: Absent::Is("[]"),
        doc: "ids of rules that are switched off for this tool, besides the server's",
    },
];

const RULE_IDS: Kind = Kind::List(&Kind::Text(&text::RULE_ID));

const TYPES_FIELD: Field = Field {
    name: "types",
    kind: TYPES,
    absent: Absent::Is("{}"),
    doc: "exceptions for single finding types, in both directions",
};

const TEXTS: Kind = Kind::List(&Kind::Text(&text::ANY));

const CUSTOM: &[Field] = &[
    Field {
        name: "id",
        kind: Kind::Text(&text::RULE_ID),
        absent: Absent::Required,
        doc: "name of the rule in findings and audit records",
    },
    Field {
        name: "type",
        kind: Kind::Text(&text::FINDING_TYPE),
        absent: Absent::Is("\"CUSTOM\""),
        doc: "finding type, used in `types` and in the placeholder",
    },
    Field {
        name: "pattern",
        kind: Kind::Text(&text::PATTERN),
        absent: Absent::Required,
        doc: "regular expression; use single quotes, so that YAML leaves backslashes alone",
    },
    Field {
        name: "examples",
        kind: TEXTS,
        absent: Absent::Is("[]"),
        doc: "texts that must be found; checked at start",
    },
    Field {
        name: "counter_examples",
        kind: TEXTS,
        absent: Absent::Is("[]"),
        doc: "texts that must not be found; checked at start",
    },
];

const INSPECTION: &[Field] = &[
    Field { name: "mode", kind: MODE, absent: Absent::Is("\"redact\""), doc: "what happens to findings" },
    TYPES_FIELD,
    REQUEST,
    RESPONSE,
    Field {
        name: "custom",
        kind: Kind::List(&Kind::Section(CUSTOM)),
        absent: Absent::Is("[]"),
        doc: "rules of this deployment, added to the built-in ones",
    },
    Field {
        name: "rule_files",
        kind: Kind::List(&Kind::Text(&text::RULE_FILE)),
        absent: Absent::Is("[]"),
        doc: "files of rules in the schema of the built-in ones (see inspect/rules/README.md); relative paths start at \
              this file; a rule with the id of a built-in one replaces it",
    },
    Field {
        name: "disabled_rules",
        kind: RULE_IDS,
        absent: Absent::Is("[]"),
        doc: "ids of rules that are switched off, built-in or of a rule file",
    },
    Field {
        name: "key",
        kind: Kind::Secret,
        absent: Absent::Means("none"),
        doc: "what keyed hashes and tokens are made with, 32 bytes or more; needed for `hash`, `tokenize` and \
              `detokenize`; make one with: openssl rand -base64 33",
    },
    Field {
        name: "token_scope",
        kind: Kind::Choice(TOKEN_SCOPES),
        absent: Absent::Is("\"deployment\""),
        doc: "within what a token can be turned back",
    },
];

const TLS: &[Field] = &[Field {
    name: "ca",
    kind: Kind::Text(&text::FILE_PATH),
    absent: Absent::Means("the system's authorities"),
    doc: "PEM file of the authorities that may sign the server's certificate",
}];

const SERVER: &[Field] = &[
    Field {
        name: "url",
        kind: Kind::Text(&text::SERVER_URL),
        absent: Absent::Required,
        doc: "the server's MCP endpoint",
    },
    Field {
        name: "tls",
        kind: Kind::Section(TLS),
        absent: Absent::Is("{}"),
        doc: "how an https server is verified",
    },
    Field {
        name: "headers",
        kind: Kind::Map(&text::HEADER_NAME, &Kind::Secret),
        absent: Absent::Is("{}"),
        doc: "fields added to every request to the server, such as its own credentials; values may be \
              `${NAME}` or `file:/absolute/path` and are never shown",
    },
    Field {
        name: "forward_headers",
        kind: Kind::List(&Kind::Text(&text::FORWARD_HEADER_NAME)),
        absent: Absent::Is("[]"),
        doc: "further request fields passed on from clients; those of MCP always are, credentials never",
    },
    Field {
        name: "inspection",
        kind: Kind::Section(SERVER_INSPECTION),
        absent: Absent::Is("{}"),
        doc: "differences from the global inspection settings",
    },
];

const AUDIT: &[Field] = &[
    Field {
        name: "enabled",
        kind: Kind::Bool,
        absent: Absent::Is("true"),
        doc: "`false`: calls leave no evidence at all; for measuring what evidence costs",
    },
    Field {
        name: "dir",
        kind: Kind::Text(&text::FILE_PATH),
        absent: Absent::Is("\"./tidegate-data/audit\""),
        doc: "directory of the audit segments; created when missing",
    },
    Field {
        name: "durability",
        kind: Kind::Choice(DURABILITIES),
        absent: Absent::Is("\"async\""),
        doc: "what a call waits for",
    },
    Field {
        name: "segment_bytes_max",
        kind: Kind::Count { min: 65_536, max: 17_179_869_184 },
        absent: Absent::Count(67_108_864),
        doc: "a segment is sealed at this size, so that files stay easy to move",
    },
    Field {
        name: "segment_age_s_max",
        kind: Kind::Count { min: 1, max: 86_400 },
        absent: Absent::Count(600),
        doc: "a segment is sealed at this age, so that a quiet gateway hands over its evidence too",
    },
    Field {
        name: "ring_bytes",
        kind: Kind::Count { min: 65_536, max: 1_073_741_824 },
        absent: Absent::Count(33_554_432),
        doc: "memory between each worker and the audit writer; it bridges slow disks",
    },
];

const LOG: &[Field] = &[
    Field {
        name: "level",
        kind: Kind::Text(&text::LOG_LEVEL),
        absent: Absent::Is("\"info\""),
        doc: "error, warn, info, debug or trace, or directives such as `info,tidegate=debug`",
    },
    Field {
        name: "format",
        kind: Kind::Choice(LOG_FORMATS),
        absent: Absent::Is("\"text\""),
        doc: "form of the log on stderr",
    },
];

pub(super) const ROOT: &[Field] = &[
    Field {
        name: "listen",
        kind: Kind::Text(&text::ADDRESS),
        absent: Absent::Is("\"127.0.0.1:8080\""),
        doc: "address of the MCP listener; port 0 lets the kernel choose",
    },
    Field {
        name: "admin",
        kind: Kind::Text(&text::ADDRESS_OR_OFF),
        absent: Absent::Is("\"127.0.0.1:9090\""),
        doc: "address of the admin listener (health, metrics), or off; it has no access control of its own",
    },
    Field {
        name: "workers",
        kind: Kind::AutoOrCount { min: 1, max: 1024 },
        absent: Absent::Is("\"auto\""),
        doc: "worker threads; auto is one for each core this process may use",
    },
    Field {
        name: "io",
        kind: Kind::Choice(IO),
        absent: Absent::Is("\"auto\""),
        doc: "kernel interface of the workers",
    },
    Field {
        name: "allowed_hosts",
        kind: Kind::List(&Kind::Text(&text::HOST)),
        absent: Absent::Is("[]"),
        doc: "names accepted in the Host field, besides loopback names and the IP of `listen`; required when \
              `listen` is not a loopback address; a single \"*\" accepts all",
    },
    Field {
        name: "allowed_origins",
        kind: Kind::List(&Kind::Text(&text::ORIGIN)),
        absent: Absent::Is("[]"),
        doc: "web origins accepted in the Origin field, besides loopback origins of any port",
    },
    Field {
        name: "servers",
        kind: Kind::Map(&text::SERVER_NAME, &Kind::Section(SERVER)),
        absent: Absent::Is("{}"),
        doc: "MCP servers by name; each is served at `/mcp/NAME`",
    },
    Field {
        name: "demo",
        kind: Kind::Bool,
        absent: Absent::Is("false"),
        doc: "serve the built-in demo server at `/mcp/demo`",
    },
    Field {
        name: "limits",
        kind: Kind::Section(&LIMITS),
        absent: Absent::Is("{}"),
        doc: "every bound of the gateway; no value means no limit",
    },
    Field {
        name: "inspection",
        kind: Kind::Section(INSPECTION),
        absent: Absent::Is("{}"),
        doc: "what is looked for in messages, and what happens to it",
    },
    Field { name: "audit", kind: Kind::Section(AUDIT), absent: Absent::Is("{}"), doc: "where evidence goes" },
    Field {
        name: "log",
        kind: Kind::Section(LOG),
        absent: Absent::Is("{}"),
        doc: "how the process talks about itself",
    },
];

static LIMITS: [Field; SPECS.len()] = {
    let mut fields = [Field { name: "", kind: Kind::Bool, absent: Absent::Required, doc: "" }; SPECS.len()];
    let mut i = 0;
    while i < SPECS.len() {
        fields[i] = Field {
            name: SPECS[i].name,
            kind: Kind::Count { min: SPECS[i].min, max: SPECS[i].max },
            absent: Absent::Count(SPECS[i].default),
            doc: SPECS[i].reason,
        };
        i += 1;
    }
    fields
};
