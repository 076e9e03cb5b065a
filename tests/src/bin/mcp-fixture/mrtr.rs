//! Multi-round requests of the 2026-07-28 era: the server answers `input_required`, the client tries again with the
//! inputs. Every round stands alone; what must survive between rounds travels in the sealed request state.

use rmcp::{ErrorData, RoleServer, model::*, service::RequestContext};
use serde_json::{Value, json};

use crate::{
    catalog::parsed,
    server::Fixture,
    tools::{complete, name_in, name_schema, text},
};

type Answer = Result<CallToolResponse, ErrorData>;

/// `None`: not a tool of this file, or a client of the older era, which is asked by a request of the server's own.
pub fn call(
    fixture: &Fixture,
    request: &CallToolRequestParams,
    context: &RequestContext<RoleServer>,
) -> Option<Answer> {
    let tool = match request.name.as_ref() {
        "ask_name" if context.meta.protocol_version().is_none() => return None,
        "ask_name" => "elicitation",
        name => name.strip_prefix("test_input_required_result_")?,
    };
    let state = match request.request_state.as_deref().map(|sealed| fixture.state.open_json::<String>(sealed))
    {
        None => None,
        Some(Ok(state)) => Some(state),
        Some(Err(_)) => {
            return Some(Err(ErrorData::invalid_params("request state failed its integrity check", None)));
        }
    };
    let answered = |key: &str| request.input_responses.as_ref().and_then(|responses| responses.get(key));
    let seal = |state: &str| fixture.state.seal_json(&state).ok();
    let done = |message: &str| complete(json!({ "content": [text(message)] }));
    Some(match tool {
        "elicitation" => match answered("user_name").and_then(name_in) {
            Some(name) => done(&format!("Hello, {name}!")),
            None => ask([("user_name", elicitation("What is your name?", name_schema()))], None),
        },
        "sampling" => match answered("capital_question") {
            Some(response) => done(response["content"]["text"].as_str().unwrap_or("an answer without text")),
            None => ask([("capital_question", sampling("What is the capital of France?", 100))], None),
        },
        "list_roots" => match answered("client_roots") {
            Some(response) => done(&format!("roots: {}", response["roots"])),
            None => ask([("client_roots", roots())], None),
        },
        "request_state" | "tampered_state" => match (answered("confirm"), state.as_deref()) {
            (Some(_), Some("confirm")) => done("state-ok"),
            _ => ask([("confirm", elicitation("Please confirm", confirm_schema()))], seal("confirm")),
        },
        "multiple_inputs" => {
            let all = ["user_name", "greeting", "client_roots"].iter().all(|key| answered(key).is_some());
            if all && state.as_deref() == Some("three") {
                done("all three inputs received")
            } else {
                let questions = [
                    ("user_name", elicitation("What is your name?", name_schema())),
                    ("greeting", sampling("Generate a greeting", 50)),
                    ("client_roots", roots()),
                ];
                ask(questions, seal("three"))
            }
        }
        "multi_round" => match (state.as_deref(), answered("step1"), answered("step2")) {
            (Some("round 2"), _, Some(_)) => done("both steps answered"),
            (Some("round 1"), Some(_), _) => {
                let schema = json!({ "type": "object", "required": ["color"],
                    "properties": { "color": { "type": "string" } } });
                ask([("step2", elicitation("Step 2: What is your favorite color?", schema))], seal("round 2"))
            }
            _ => ask([("step1", elicitation("Step 1: What is your name?", name_schema()))], seal("round 1")),
        },
        "capabilities" => {
            let capabilities = context.client_capabilities().unwrap_or_default();
            let mut questions = Vec::new();
            if capabilities.elicitation.is_some() {
                questions.push(("user_name", elicitation("What is your name?", name_schema())));
            }
            if capabilities.sampling.is_some() {
                questions.push(("capital_question", sampling("What is the capital of France?", 100)));
            }
            match questions.iter().any(|(key, _)| answered(key).is_some()) || questions.is_empty() {
                true => done("asked only what the client can answer"),
                false => ask(questions, None),
            }
        }
        _ => return None,
    })
}

/// `None`: not the prompt of this file.
pub fn prompt(request: &GetPromptRequestParams) -> Option<Result<GetPromptResponse, ErrorData>> {
    if request.name != "test_input_required_result_prompt" {
        return None;
    }
    let answer = request.input_responses.as_ref().and_then(|responses| responses.get("user_context"));
    Some(Ok(match answer.and_then(|answer| answer["content"]["context"].as_str()) {
        Some(context) => GetPromptResponse::Complete(parsed(json!({ "resultType": "complete", "messages": [
            { "role": "user", "content": text(format!("Use this context: {context}")) }] }))),
        None => {
            let schema = json!({ "type": "object", "required": ["context"],
                "properties": { "context": { "type": "string" } } });
            let question = elicitation("What context should the prompt use?", schema);
            InputRequiredResult::from_input_requests([("user_context".to_owned(), question)].into()).into()
        }
    }))
}

/// An elicitation as it stands inside `inputRequests`.
pub fn elicitation(message: &str, schema: Value) -> InputRequest {
    parsed(json!({ "method": "elicitation/create",
        "params": { "mode": "form", "message": message, "requestedSchema": schema } }))
}

fn sampling(prompt: &str, tokens_max: u32) -> InputRequest {
    InputRequest::CreateMessage(CreateMessageRequest::new(CreateMessageRequestParams::new(
        vec![SamplingMessage::user_text(prompt)],
        tokens_max,
    )))
}

fn roots() -> InputRequest {
    InputRequest::ListRoots(ListRootsRequest::default())
}

fn confirm_schema() -> Value {
    json!({ "type": "object", "required": ["ok"], "properties": { "ok": { "type": "boolean" } } })
}

fn ask<'a>(questions: impl IntoIterator<Item = (&'a str, InputRequest)>, state: Option<String>) -> Answer {
    let questions = questions.into_iter().map(|(key, question)| (key.to_owned(), question)).collect();
    Ok(InputRequiredResult::new(Some(questions), state).into())
}
