//! What a server passes on of workers.

use queue::Queue;
use serde_json::{Value, json};

use crate::{JSON, support::Server, tour::Tour};

pub(super) async fn what_workers_answer(tour: &mut Tour, server: &Server) {
    tour.gets(server, "listTargets", "/v1/targets", "", 200).await;
    tour.gets(server, "listStacks", "/v1/stacks", "", 200).await;
    let mut questions = server.queue.questions(&"default".parse().unwrap()).await.unwrap();
    let worker = tokio::spawn(async move {
        let mut shown = 0;
        loop {
            let question = questions.next().await.unwrap();
            let asked: Value = serde_json::from_slice(question.body()).unwrap();
            let answer = match asked["ask"].as_str().unwrap() {
                // The second time somebody has moved it away.
                "target" if shown > 0 => {
                    json!({"answer": "failed", "reason": {"code": "refused", "text": "it is in another environment"}})
                }
                "target" => {
                    shown += 1;
                    json!({"answer": "target", "kind": "rehearsal", "images": [], "running": true})
                }
                "plan" => json!({"answer": "plan", "changes": [], "notes": []}),
                _ => json!({"answer": "portainer-stacks", "known": true, "targets": ["default/demo"]}),
            };
            question.answer(answer.to_string().into()).await;
        }
    });
    let target = "/v1/targets/default/demo";
    tour.gets(server, "showTarget", target, "", 200).await;
    tour.gets(server, "showTarget", target, "", 422).await;
    tour.gets(server, "planTarget", &format!("{target}/plan"), JSON, 200).await;
    let sought = r#"{"portainer":"http://127.0.0.1:1","stacks":[{"environment":1,"stack":5}]}"#;
    tour.gets(server, "findTargets", "/v1/targets/find", sought, 200).await;
    worker.abort();
}
