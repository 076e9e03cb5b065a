//! What the fixture offers, as data: tools, prompts and resources. No behaviour.

use std::sync::LazyLock;

use rmcp::model::{Prompt, Resource, ResourceTemplate, Tool};
use serde_json::{Value, json};

/// One red pixel.
pub const PNG: &str =
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAIAAACQd1PeAAAADElEQVR42mP4z8AAAAMBAQD3A0FDAAAAAElFTkSuQmCC";
/// Four samples of silence.
pub const WAV: &str = "UklGRigAAABXQVZFZm10IBAAAAABAAEAQB8AAEAfAAABAAgAZGF0YQQAAACAgICA";

pub const STATIC_TEXT: &str = "test://static-text";
pub const STATIC_BINARY: &str = "test://static-binary";
pub const WATCHED: &str = "test://watched-resource";

/// Tools in the order in which they are listed; the suite wants the order to be stable.
pub static TOOLS: LazyLock<Vec<Tool>> = LazyLock::new(|| {
    let nothing = || json!({ "type": "object", "properties": {} });
    let plain = [
        ("test_simple_text", "Returns one text part"),
        ("test_image_content", "Returns an image"),
        ("test_audio_content", "Returns audio"),
        ("test_embedded_resource", "Returns an embedded resource"),
        ("test_multiple_content_types", "Returns text, an image and a resource"),
        ("test_tool_with_logging", "Sends three log messages"),
        ("test_tool_with_progress", "Sends three progress notifications"),
        ("test_error_handling", "Always returns an error result"),
        ("test_elicitation_sep1034_defaults", "Elicits with default values"),
        ("test_elicitation_sep1330_enums", "Elicits with every kind of enumeration"),
        ("test_reconnection", "Answers on a stream that can be resumed"),
        ("test_missing_capability", "Needs the client's sampling capability"),
        ("test_streaming_elicitation", "Streams progress before it asks for input"),
        ("test_logging_tool", "Logs only when the request asks for it"),
        ("test_trigger_tool_change", "Announces a changed tool list"),
        ("test_trigger_prompt_change", "Announces a changed prompt list"),
        ("test_trigger_resource_change", "Announces a changed resource list and an updated watched resource"),
        ("test_input_required_result_elicitation", "Asks for a name"),
        ("test_input_required_result_sampling", "Asks for a completion"),
        ("test_input_required_result_list_roots", "Asks for the client's roots"),
        ("test_input_required_result_request_state", "Asks with request state"),
        ("test_input_required_result_multiple_inputs", "Asks three things at once"),
        ("test_input_required_result_multi_round", "Asks twice"),
        ("test_input_required_result_tampered_state", "Refuses a changed request state"),
        ("test_input_required_result_capabilities", "Asks only what the client can answer"),
        ("ask_name", "Asks the user for a name in the way of the client's era, then greets"),
        ("failing_job", "A task that ends with an error result"),
        ("protocol_error_job", "A task that ends with a protocol error"),
        ("multi_input", "A task that asks two things at once"),
        ("test_tool_with_task", "Asks for a name, then becomes a task"),
    ];
    let with_arguments = [
        ("echo", "Returns its message unchanged", object(json!({ "message": { "type": "string" } }))),
        (
            "region_echo",
            "Returns its arguments; the region is mirrored into a header",
            object(json!({
                "region": { "type": "string", "x-mcp-header": "Region" },
                "message": { "type": "string" }
            })),
        ),
        (
            "customer_lookup",
            "Returns an invented customer record with personal data in it",
            object(json!({ "customer_id": { "type": "string" } })),
        ),
        (
            "test_sampling",
            "Asks the client for a completion",
            object(json!({ "prompt": { "type": "string" } })),
        ),
        ("test_elicitation", "Asks the user for input", object(json!({ "message": { "type": "string" } }))),
        ("greet", "Greets at once, never a task", object(json!({ "name": { "type": "string" } }))),
        (
            "slow_compute",
            "A task that sleeps, then returns",
            json!({ "type": "object", "required": ["seconds"], "properties": {
                "seconds": { "type": "number" }, "label": { "type": "string" } } }),
        ),
        (
            "confirm_delete",
            "A task that asks before it acts",
            object(json!({ "filename": { "type": "string" } })),
        ),
        ("json_schema_2020_12_tool", "Tool with JSON Schema 2020-12 features", schema_2020_12()),
    ];
    plain
        .into_iter()
        .map(|(name, description)| (name, description, nothing()))
        .chain(with_arguments)
        .map(|(name, description, schema)| {
            parsed(json!({ "name": name, "description": description, "inputSchema": schema }))
        })
        .collect()
});

pub static PROMPTS: LazyLock<Vec<Prompt>> = LazyLock::new(|| {
    let argument = |name: &str| json!({ "name": name, "description": "A test argument", "required": true });
    parsed(json!([
        { "name": "test_simple_prompt", "description": "One fixed message" },
        { "name": "test_prompt_with_arguments", "description": "A message made from two arguments",
          "arguments": [argument("arg1"), argument("arg2")] },
        { "name": "test_prompt_with_embedded_resource", "description": "A message with a resource in it",
          "arguments": [argument("resourceUri")] },
        { "name": "test_prompt_with_image", "description": "A message with an image in it" },
        { "name": "test_input_required_result_prompt", "description": "Asks for context before it answers" }
    ]))
});

pub static RESOURCES: LazyLock<Vec<Resource>> = LazyLock::new(|| {
    parsed(json!([
        { "uri": STATIC_TEXT, "name": "static-text", "description": "A fixed text", "mimeType": "text/plain" },
        { "uri": STATIC_BINARY, "name": "static-binary", "description": "A fixed image", "mimeType": "image/png" },
        { "uri": WATCHED, "name": "watched", "description": "Changes on request", "mimeType": "text/plain" }
    ]))
});

pub static TEMPLATES: LazyLock<Vec<ResourceTemplate>> = LazyLock::new(|| {
    parsed(json!([{ "uriTemplate": "test://template/{id}/data", "name": "template",
        "description": "JSON made from the id", "mimeType": "application/json" }]))
});

/// An object schema whose properties are all required.
fn object(properties: Value) -> Value {
    let required: Vec<&String> = properties.as_object().into_iter().flat_map(|map| map.keys()).collect();
    json!({ "type": "object", "required": required, "properties": properties })
}

/// Keywords that a relay which rebuilds schemas from typed structures would lose.
fn schema_2020_12() -> Value {
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "type": "object",
        "$defs": { "address": { "$anchor": "addressDef", "type": "object",
            "properties": { "street": { "type": "string" }, "city": { "type": "string" } } } },
        "properties": {
            "name": { "type": "string" },
            "address": { "$ref": "#/$defs/address" },
            "contactMethod": { "type": "string", "enum": ["phone", "email"] },
            "phone": { "type": "string" },
            "email": { "type": "string" }
        },
        "allOf": [{ "anyOf": [{ "required": ["phone"] }, { "required": ["email"] }] }],
        "if": { "properties": { "contactMethod": { "const": "phone" } }, "required": ["contactMethod"] },
        "then": { "required": ["phone"] },
        "else": { "required": ["email"] },
        "additionalProperties": false
    })
}

/// The SDK's type for a literal of this file.
///
/// # Panics
/// If the literal does not have the shape; the first request shows it.
pub fn parsed<T: serde::de::DeserializeOwned>(literal: Value) -> T {
    serde_json::from_value(literal).expect("a literal of the fixture has the SDK's shape")
}
