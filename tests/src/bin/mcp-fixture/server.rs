//! The handler: routes each MCP method to its data or behaviour.

use std::sync::Arc;

use rmcp::{
    ErrorData, RoleServer, ServerHandler,
    model::*,
    service::{RequestContext, SubscriptionContext},
    task_manager::TaskManager,
};
use serde_json::json;
use tokio::sync::broadcast;

use crate::{catalog, mrtr, tasks, tools};

/// Something a subscriber may want to hear of.
#[derive(Clone, Debug)]
pub enum Change {
    Tools,
    Prompts,
    Resources,
    Updated(String),
}

/// Fixed: the sealed states live as long as one test run and protect nothing.
const STATE_KEY: &[u8] = b"fixture request state, not a secret";

/// One server for all sessions; clones share the state.
#[derive(Clone)]
pub struct Fixture {
    pub tasks: TaskManager,
    pub changes: broadcast::Sender<Change>,
    pub state: Arc<RequestStateCodec>,
}

impl Fixture {
    pub fn new() -> Self {
        Self {
            tasks: TaskManager::new(),
            changes: broadcast::channel(64).0,
            state: Arc::new(
                RequestStateCodec::try_new(STATE_KEY).expect("the key has the length the codec wants"),
            ),
        }
    }
}

impl ServerHandler for Fixture {
    fn get_info(&self) -> ServerConfig {
        let capabilities = ServerCapabilities::builder()
            .enable_tools()
            .enable_tool_list_changed()
            .enable_prompts()
            .enable_prompts_list_changed()
            .enable_resources()
            .enable_resources_list_changed()
            .enable_resources_subscribe()
            .enable_completions()
            .enable_logging()
            .enable_tasks()
            .build();
        ServerConfig::new(capabilities)
            .with_server_info(Implementation::new("tidegate-fixture", env!("CARGO_PKG_VERSION")))
    }

    fn get_tool(&self, name: &str) -> Option<Tool> {
        catalog::TOOLS.iter().find(|tool| tool.name == name).cloned()
    }

    async fn list_tools(
        &self,
        _: Option<PaginatedRequestParams>,
        _: RequestContext<RoleServer>,
    ) -> Result<ListToolsResult, ErrorData> {
        Ok(ListToolsResult::with_all_items(catalog::TOOLS.clone()))
    }

    async fn call_tool(
        &self,
        request: CallToolRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<CallToolResponse, ErrorData> {
        if let Some(answer) = mrtr::call(self, &request, &context) {
            return answer;
        }
        if let Some(answer) = tasks::call(self, &request, &context) {
            return answer;
        }
        tools::call(self, &request, &context).await
    }

    async fn list_prompts(
        &self,
        _: Option<PaginatedRequestParams>,
        _: RequestContext<RoleServer>,
    ) -> Result<ListPromptsResult, ErrorData> {
        Ok(ListPromptsResult::with_all_items(catalog::PROMPTS.clone()))
    }

    async fn get_prompt(
        &self,
        request: GetPromptRequestParams,
        _: RequestContext<RoleServer>,
    ) -> Result<GetPromptResponse, ErrorData> {
        mrtr::prompt(&request).unwrap_or_else(|| tools::prompt(&request).map(GetPromptResponse::from))
    }

    async fn list_resources(
        &self,
        _: Option<PaginatedRequestParams>,
        _: RequestContext<RoleServer>,
    ) -> Result<ListResourcesResult, ErrorData> {
        Ok(ListResourcesResult::with_all_items(catalog::RESOURCES.clone()))
    }

    async fn list_resource_templates(
        &self,
        _: Option<PaginatedRequestParams>,
        _: RequestContext<RoleServer>,
    ) -> Result<ListResourceTemplatesResult, ErrorData> {
        Ok(ListResourceTemplatesResult::with_all_items(catalog::TEMPLATES.clone()))
    }

    async fn read_resource(
        &self,
        request: ReadResourceRequestParams,
        _: RequestContext<RoleServer>,
    ) -> Result<ReadResourceResponse, ErrorData> {
        tools::resource(&request.uri).map(ReadResourceResponse::from)
    }

    async fn complete(
        &self,
        request: CompleteRequestParams,
        _: RequestContext<RoleServer>,
    ) -> Result<CompleteResult, ErrorData> {
        let values = ["testValue1", "testValue2", "other"]
            .into_iter()
            .filter(|value| value.starts_with(&request.argument.value))
            .map(str::to_owned)
            .collect();
        Ok(CompleteResult::new(
            CompletionInfo::new(values).map_err(|message| ErrorData::internal_error(message, None))?,
        ))
    }

    async fn set_level(
        &self,
        _: SetLevelRequestParams,
        _: RequestContext<RoleServer>,
    ) -> Result<(), ErrorData> {
        Ok(())
    }

    async fn subscribe(
        &self,
        _: SubscribeRequestParams,
        _: RequestContext<RoleServer>,
    ) -> Result<(), ErrorData> {
        Ok(())
    }

    async fn unsubscribe(
        &self,
        _: UnsubscribeRequestParams,
        _: RequestContext<RoleServer>,
    ) -> Result<(), ErrorData> {
        Ok(())
    }

    fn accepted_subscription_filter(&self, requested: &SubscriptionFilter) -> Option<SubscriptionFilter> {
        Some(requested.clone())
    }

    async fn listen(&self, context: SubscriptionContext) -> Result<(), ErrorData> {
        let mut changes = self.changes.subscribe();
        let accepted = context.accepted().clone();
        let wants = |flag: Option<bool>| flag == Some(true);
        loop {
            let change = tokio::select! {
                () = context.cancelled() => return Ok(()),
                change = changes.recv() => change,
            };
            let sink = context.sink();
            let sent = match change {
                Ok(Change::Tools) if wants(accepted.tools_list_changed) => {
                    sink.notify_tool_list_changed().await
                }
                Ok(Change::Prompts) if wants(accepted.prompts_list_changed) => {
                    sink.notify_prompt_list_changed().await
                }
                Ok(Change::Resources) if wants(accepted.resources_list_changed) => {
                    sink.notify_resource_list_changed().await
                }
                Ok(Change::Updated(uri))
                    if accepted.resource_subscriptions.as_ref().is_some_and(|uris| uris.contains(&uri)) =>
                {
                    sink.notify_resource_updated(uri).await
                }
                Ok(_) | Err(broadcast::error::RecvError::Lagged(_)) => continue,
                Err(broadcast::error::RecvError::Closed) => return Ok(()),
            };
            if sent.is_err() {
                return Ok(());
            }
        }
    }

    async fn get_task(
        &self,
        request: GetTaskParams,
        _: RequestContext<RoleServer>,
    ) -> Result<GetTaskResult, ErrorData> {
        self.tasks.get_task(&request.task_id).map(GetTaskResult::new)
    }

    async fn update_task(
        &self,
        request: UpdateTaskParams,
        _: RequestContext<RoleServer>,
    ) -> Result<(), ErrorData> {
        self.tasks.update_task(&request.task_id, request.input_responses)
    }

    async fn cancel_task(
        &self,
        request: CancelTaskParams,
        _: RequestContext<RoleServer>,
    ) -> Result<(), ErrorData> {
        self.tasks.cancel_task(&request.task_id)
    }
}

/// The SDK's answer to a tool name it does not know.
pub fn unknown_tool(name: &str) -> ErrorData {
    ErrorData::invalid_params(format!("Unknown tool: {name}"), Some(json!({ "name": name })))
}
