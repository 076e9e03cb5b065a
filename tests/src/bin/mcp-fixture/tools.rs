//! Tools, prompts and resources that answer in one round; in the legacy era some of them ask the client first.

use std::time::Duration;

use rmcp::{ErrorData, RoleServer, model::*, service::RequestContext};
use serde_json::{Value, json};

use crate::{
    catalog::{self, parsed},
    server::{Change, Fixture, unknown_tool},
};

/// Between notifications: long enough for the client to see them arrive one by one.
const PAUSE: Duration = Duration::from_millis(50);

type Context = RequestContext<RoleServer>;

/// Answers the call, whatever its era.
pub async fn call(
    fixture: &Fixture,
    request: &CallToolRequestParams,
    context: &Context,
) -> Result<CallToolResponse, ErrorData> {
    let text_argument = |name: &str| argument(request, name);
    let parts = match request.name.as_ref() {
        "echo" => json!([text(text_argument("message")?)]),
        "region_echo" => {
            json!([text(format!("{}: {}", text_argument("region")?, text_argument("message")?))])
        }
        "customer_lookup" => json!([text(customer(&text_argument("customer_id")?))]),
        "greet" => json!([text(format!("Hello, {}!", text_argument("name")?))]),
        "test_simple_text" => json!([text("This is a simple text response for testing.")]),
        "test_image_content" => json!([image()]),
        "test_audio_content" => json!([{ "type": "audio", "data": catalog::WAV, "mimeType": "audio/wav" }]),
        "test_embedded_resource" => json!([{ "type": "resource", "resource": {
            "uri": "test://embedded-resource", "mimeType": "text/plain",
            "text": "This is an embedded resource content." } }]),
        "test_multiple_content_types" => json!([
            text("Multiple content types test:"),
            image(),
            { "type": "resource", "resource": { "uri": "test://mixed-content-resource",
                "mimeType": "application/json", "text": r#"{"test":"data","value":123}"# } }
        ]),
        "test_error_handling" => {
            let failure = text("This tool intentionally returns an error for testing");
            return complete(json!({ "content": [failure], "isError": true }));
        }
        "test_tool_with_progress" => {
            progress(context).await?;
            json!([text("three steps of progress reported")])
        }
        "test_tool_with_logging" => {
            log(context, LoggingLevel::Info).await?;
            json!([text("Tool with logging executed")])
        }
        "test_logging_tool" => {
            if let Some(level) = context.meta.log_level() {
                log(context, level).await?;
            }
            json!([text("logged if asked to")])
        }
        "test_sampling" => json!([text(sample(context, &text_argument("prompt")?).await?)]),
        "test_elicitation" => {
            let schema = json!({ "type": "object", "required": ["username", "email"], "properties": {
                "username": { "type": "string", "description": "User's response" },
                "email": { "type": "string", "description": "User's email address" } } });
            let answer = elicit(context, &text_argument("message")?, schema).await?;
            json!([text(format!("User response: {}", described(&answer)))])
        }
        "ask_name" => {
            let answer = elicit(context, "What is your name?", name_schema()).await?;
            json!([text(format!(
                "Hello, {}!",
                name_in(&json!({ "content": answer.content })).unwrap_or("nobody")
            ))])
        }
        "test_elicitation_sep1034_defaults" => {
            let answer = elicit(context, "Please check the defaults", defaults_schema()).await?;
            json!([text(format!("Elicitation completed: {}", described(&answer)))])
        }
        "test_elicitation_sep1330_enums" => {
            let answer = elicit(context, "Please choose", enums_schema()).await?;
            json!([text(format!("Elicitation completed: {}", described(&answer)))])
        }
        "test_reconnection" => {
            tokio::time::sleep(PAUSE).await;
            json!([text("Reconnection test completed")])
        }
        "test_missing_capability" => {
            if context.client_capabilities().is_none_or(|capabilities| capabilities.sampling.is_none()) {
                return Err(ErrorData::missing_required_client_capability(parsed(json!({ "sampling": {} }))));
            }
            json!([text("the client can sample")])
        }
        "test_streaming_elicitation" => {
            progress(context).await?;
            let question = crate::mrtr::elicitation("Please confirm", name_schema());
            return Ok(
                InputRequiredResult::from_input_requests([("user_name".to_owned(), question)].into()).into()
            );
        }
        "test_trigger_tool_change" => {
            announce(fixture, &[Change::Tools]);
            json!([text("tool list change announced")])
        }
        "test_trigger_prompt_change" => {
            announce(fixture, &[Change::Prompts]);
            json!([text("prompt list change announced")])
        }
        "test_trigger_resource_change" => {
            announce(fixture, &[Change::Resources, Change::Updated(catalog::WATCHED.to_owned())]);
            json!([text("resource change announced")])
        }
        "json_schema_2020_12_tool" => json!([text("schema accepted")]),
        name => return Err(unknown_tool(name)),
    };
    complete(json!({ "content": parts }))
}

/// A prompt's messages.
pub fn prompt(request: &GetPromptRequestParams) -> Result<GetPromptResult, ErrorData> {
    let argument = |name: &str| {
        let value = request.arguments.as_ref().and_then(|arguments| arguments.get(name)?.as_str());
        value.ok_or_else(|| ErrorData::invalid_params(format!("missing argument {name}"), None))
    };
    let parts = match request.name.as_str() {
        "test_simple_prompt" => vec![text("This is a simple prompt for testing.")],
        "test_prompt_with_arguments" => {
            let (arg1, arg2) = (argument("arg1")?, argument("arg2")?);
            vec![text(format!("Prompt with arguments: arg1='{arg1}', arg2='{arg2}'"))]
        }
        "test_prompt_with_embedded_resource" => vec![
            json!({ "type": "resource", "resource": { "uri": argument("resourceUri")?, "mimeType": "text/plain",
                "text": "Embedded resource content for testing." } }),
            text("Please process the embedded resource above."),
        ],
        "test_prompt_with_image" => vec![image(), text("Please analyze the image above.")],
        name => return Err(ErrorData::invalid_params(format!("Unknown prompt: {name}"), None)),
    };
    let messages: Vec<Value> =
        parts.into_iter().map(|part| json!({ "role": "user", "content": part })).collect();
    Ok(parsed(json!({ "resultType": "complete", "messages": messages })))
}

/// A resource's contents.
pub fn resource(uri: &str) -> Result<ReadResourceResult, ErrorData> {
    let content = match uri {
        catalog::STATIC_TEXT => json!({ "uri": uri, "mimeType": "text/plain",
            "text": "This is the content of the static text resource." }),
        catalog::STATIC_BINARY => json!({ "uri": uri, "mimeType": "image/png", "blob": catalog::PNG }),
        catalog::WATCHED => {
            json!({ "uri": uri, "mimeType": "text/plain", "text": "Watched resource content." })
        }
        _ => {
            let id = uri.strip_prefix("test://template/").and_then(|rest| rest.strip_suffix("/data"));
            let id = id.filter(|id| !id.is_empty() && !id.contains('/')).ok_or_else(|| {
                ErrorData::resource_not_found("Resource not found", Some(json!({ "uri": uri })))
            })?;
            let data = json!({ "id": id, "templateTest": true, "data": format!("Data for ID: {id}") });
            json!({ "uri": uri, "mimeType": "application/json", "text": data.to_string() })
        }
    };
    Ok(parsed(json!({ "resultType": "complete", "contents": [content] })))
}

/// The string argument `name`, or the protocol error for a call without it.
pub fn argument(request: &CallToolRequestParams, name: &str) -> Result<String, ErrorData> {
    let value = request.arguments.as_ref().and_then(|arguments| arguments.get(name)?.as_str());
    value
        .map(str::to_owned)
        .ok_or_else(|| ErrorData::invalid_params(format!("missing argument {name}"), None))
}

/// A finished tool result from its JSON.
pub fn complete(mut result: Value) -> Result<CallToolResponse, ErrorData> {
    result["resultType"] = json!("complete");
    Ok(CallToolResponse::Complete(parsed(result)))
}

pub fn text(text: impl Into<String>) -> Value {
    json!({ "type": "text", "text": text.into() })
}

pub fn name_schema() -> Value {
    json!({ "type": "object", "required": ["name"], "properties": { "name": { "type": "string" } } })
}

/// The name in an accepted elicitation answer.
pub fn name_in(answer: &Value) -> Option<&str> {
    answer["content"]["name"].as_str()
}

fn image() -> Value {
    json!({ "type": "image", "data": catalog::PNG, "mimeType": "image/png" })
}

/// Invented. The card number is the published test number; the address uses a reserved domain.
fn customer(id: &str) -> String {
    json!({ "customer_id": id, "name": "Maria Gonzalez", "email": "maria.gonzalez@example.com",
        "card": "4111 1111 1111 1111" })
    .to_string()
}

fn announce(fixture: &Fixture, changes: &[Change]) {
    for change in changes {
        // Without a subscriber there is nobody to tell.
        let _ = fixture.changes.send(change.clone());
    }
}

async fn progress(context: &Context) -> Result<(), ErrorData> {
    for done in [0.0, 50.0, 100.0] {
        if let Some(token) = context.meta.get_progress_token() {
            let notification = ProgressNotificationParam::new(token, done).with_total(100.0);
            context.peer.notify_progress(notification).await.map_err(internal)?;
        }
        tokio::time::sleep(PAUSE).await;
    }
    Ok(())
}

async fn log(context: &Context, level: LoggingLevel) -> Result<(), ErrorData> {
    for message in ["Tool execution started", "Tool processing data", "Tool execution completed"] {
        let notification = LoggingMessageNotificationParam::new(level, json!(message));
        context.peer.notify_logging_message(notification).await.map_err(internal)?;
        tokio::time::sleep(PAUSE).await;
    }
    Ok(())
}

async fn sample(context: &Context, prompt: &str) -> Result<String, ErrorData> {
    client_can(context, |capabilities| capabilities.sampling.is_some())?;
    let params = CreateMessageRequestParams::new(vec![SamplingMessage::user_text(prompt)], 100);
    let result = context.peer.create_message(params).await.map_err(internal)?;
    let message = serde_json::to_value(&result.message).map_err(internal)?;
    Ok(format!("LLM response: {}", message["content"]["text"].as_str().unwrap_or_default()))
}

async fn elicit(context: &Context, message: &str, schema: Value) -> Result<ElicitResult, ErrorData> {
    client_can(context, |capabilities| capabilities.elicitation.is_some())?;
    let params = parsed(json!({ "mode": "form", "message": message, "requestedSchema": schema }));
    context.peer.create_elicitation(params).await.map_err(internal)
}

/// Without a session the client's capabilities are not known, and it could not answer either.
fn client_can(context: &Context, declared: impl Fn(&ClientCapabilities) -> bool) -> Result<(), ErrorData> {
    match context.client_capabilities().as_ref().is_some_and(declared) {
        true => Ok(()),
        false => Err(ErrorData::invalid_request("the client cannot be asked", None)),
    }
}

fn described(answer: &ElicitResult) -> String {
    let action = json!(answer.action);
    format!("action={}, content={}", action.as_str().unwrap_or_default(), json!(answer.content))
}

fn defaults_schema() -> Value {
    json!({ "type": "object", "required": [], "properties": {
        "name": { "type": "string", "default": "John Doe" },
        "age": { "type": "integer", "default": 30 },
        "score": { "type": "number", "default": 95.5 },
        "status": { "type": "string", "enum": ["active", "inactive", "pending"], "default": "active" },
        "verified": { "type": "boolean", "default": true } } })
}

fn enums_schema() -> Value {
    let titled = |first: &str, second: &str| {
        json!([{ "const": "value1", "title": first },
        { "const": "value2", "title": second }])
    };
    json!({ "type": "object", "properties": {
        "untitledSingle": { "type": "string", "enum": ["option1", "option2", "option3"] },
        "titledSingle": { "type": "string", "oneOf": titled("First Option", "Second Option") },
        "legacyEnum": { "type": "string", "enum": ["opt1", "opt2", "opt3"],
            "enumNames": ["Option One", "Option Two", "Option Three"] },
        "untitledMulti": { "type": "array", "items": { "type": "string", "enum": ["option1", "option2", "option3"] } },
        "titledMulti": { "type": "array", "items": { "anyOf": titled("First Choice", "Second Choice") } } } })
}

fn internal(error: impl std::fmt::Display) -> ErrorData {
    ErrorData::internal_error(error.to_string(), None)
}
