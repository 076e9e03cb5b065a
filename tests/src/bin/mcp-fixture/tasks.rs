//! Tools that become tasks (extension `io.modelcontextprotocol/tasks`) when the client has declared it.

use std::time::Duration;

use rmcp::{
    ErrorData, RoleServer,
    model::*,
    service::RequestContext,
    task_manager::{TaskContext, TaskExit, TaskFuture, TaskOptions},
};
use serde_json::{Value, json};

use crate::{
    catalog::parsed,
    mrtr::elicitation,
    server::Fixture,
    tools::{complete, name_in, name_schema, text},
};

/// How often the client is told to poll; the suite's scenarios poll every 200 ms.
const POLL_MS: u64 = 100;

/// `None`: not a tool of this file.
pub fn call(
    fixture: &Fixture,
    request: &CallToolRequestParams,
    context: &RequestContext<RoleServer>,
) -> Option<Result<CallToolResponse, ErrorData>> {
    let argument = |name: &str| request.arguments.as_ref().and_then(|arguments| arguments.get(name)).cloned();
    let can_wait = context.client_capabilities().is_some_and(|capabilities| capabilities.supports_tasks());
    let work: Box<dyn FnOnce(TaskContext) -> TaskFuture + Send> = match request.name.as_ref() {
        // The one that has a synchronous way out.
        "slow_compute" if !can_wait => {
            return Some(complete(json!({ "content": [text("computed at once")] })));
        }
        "slow_compute" => {
            let seconds =
                argument("seconds").and_then(|seconds| seconds.as_f64()).unwrap_or(0.0).clamp(0.0, 600.0);
            Box::new(move |task| Box::pin(slow_compute(task, Duration::from_secs_f64(seconds))))
        }
        "failing_job" => Box::new(|_| {
            Box::pin(async {
                tokio::time::sleep(Duration::from_secs(1)).await;
                Ok(parsed(json!({ "content": [text("the job failed")], "isError": true })))
            })
        }),
        "protocol_error_job" => Box::new(|_| {
            Box::pin(async { Err(TaskExit::Error(ErrorData::internal_error("the job broke down", None))) })
        }),
        "confirm_delete" => {
            let filename =
                argument("filename").and_then(|name| Some(name.as_str()?.to_owned())).unwrap_or_default();
            Box::new(move |task| Box::pin(confirm_delete(task, filename)))
        }
        "multi_input" => Box::new(|task| Box::pin(multi_input(task))),
        "test_tool_with_task" => {
            let answer = request.input_responses.as_ref().and_then(|responses| responses.get("user_name"));
            let Some(name) = answer.and_then(name_in).map(str::to_owned) else {
                let question = elicitation("What is your name?", name_schema());
                let asked =
                    InputRequiredResult::from_input_requests([("user_name".to_owned(), question)].into());
                return Some(Ok(asked.into()));
            };
            Box::new(move |_| Box::pin(async move { finished(format!("Hello, {name}!")) }))
        }
        _ => return None,
    };
    if !can_wait {
        let tasks = ClientCapabilities::builder().enable_tasks().build();
        return Some(Err(ErrorData::missing_required_client_capability(tasks)));
    }
    let task = fixture.tasks.spawn(TaskOptions::new().with_poll_interval_ms(POLL_MS), work);
    Some(Ok(CreateTaskResult::new(task).into()))
}

async fn slow_compute(task: TaskContext, time: Duration) -> Result<CallToolResult, TaskExit> {
    tokio::select! {
        () = tokio::time::sleep(time) => finished("computed"),
        () = task.cancelled() => Err(TaskExit::Cancelled),
    }
}

async fn confirm_delete(task: TaskContext, filename: String) -> Result<CallToolResult, TaskExit> {
    let question = elicitation(&format!("Delete {filename}?"), confirm_schema());
    let answer = task.request_input("confirm", question).await?;
    match answer["content"]["confirm"] == Value::Bool(true) {
        true => finished(format!("{filename} deleted")),
        false => finished(format!("{filename} kept")),
    }
}

async fn multi_input(task: TaskContext) -> Result<CallToolResult, TaskExit> {
    let (first, second) = tokio::join!(
        task.request_input("first", elicitation("First?", confirm_schema())),
        task.request_input("second", elicitation("Second?", confirm_schema())),
    );
    finished(format!("first: {}, second: {}", first?["action"], second?["action"]))
}

fn confirm_schema() -> Value {
    json!({ "type": "object", "required": ["confirm"], "properties": { "confirm": { "type": "boolean" } } })
}

fn finished(message: impl Into<String>) -> Result<CallToolResult, TaskExit> {
    Ok(parsed(json!({ "content": [text(message)] })))
}
