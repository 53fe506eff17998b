//! Every path: what it takes, what it answers, and which problems it may tell of.

use proto::{
    State,
    api::{
        Accepted, DeadPage, Discarded, HoldWish, Ignored, JobPage, Kept, Problem, RollbackWish, Shown,
        StackList, StacksFound, StacksSought, TargetList, TargetPlan, TargetStatus, Wish,
    },
};
use serde_json::{Value, json};

use super::{
    operation::{Access, IDENTITY, Operation},
    schemas::{PlanWish, Schemas, anything, one_or_several},
    session,
};
use crate::problem::Kind;

/// Most wishes of one request.
const MOST_WISHES: usize = 1_000;

/// What the queue may say of a job.
const QUEUE: &[Kind] = &[Kind::NoWorker, Kind::QueueFull, Kind::Unavailable];
/// What may keep a worker from answering.
const ASKING: &[Kind] = &[
    Kind::BrokerAway,
    Kind::NobodyAlive,
    Kind::NoAnswer,
    Kind::Unavailable,
    Kind::TargetUnreadable,
    Kind::NoWorker,
    Kind::QueueFull,
];
/// What may be wrong with a wish.
const WISH: &[Kind] = &[
    Kind::NotJson,
    Kind::BadQuery,
    Kind::BadJob,
    Kind::BadImage,
    Kind::UnknownOperation,
    Kind::HistoryUnread,
    Kind::UnknownTarget,
    Kind::UnknownJob,
];

/// All of them.
pub(super) fn operations(schemas: &mut Schemas) -> Vec<Operation> {
    // Named by every refusal.
    schemas.answer::<Problem>();
    let mut all = hooks(schemas);
    all.extend(jobs(schemas));
    all.extend(decisions(schemas));
    all.extend(events());
    all.extend(targets(schemas));
    all.extend(session::operations());
    all.extend(server());
    all
}

fn hooks(schemas: &mut Schemas) -> Vec<Operation> {
    let (accepted, kept, ignored) =
        (schemas.answer::<Accepted>(), schemas.answer::<Kept>(), schemas.answer::<Ignored>());
    let key = json!({"type": "string"});
    let mut all = Vec::new();
    for (path, ids) in [
        ("/hooks/{source}", ["push", "pushByGet", "mayPush"]),
        ("/hooks/{source}/{key}", ["pushWithKey", "pushByGetWithKey", "mayPushWithKey"]),
    ] {
        let of = |method, id, summary| {
            let operation = Operation::new(Access::Key, (method, path), id, summary);
            let operation = operation.query("key", "The source's key.", key.clone());
            operation
                .query("access_token", "The same, as CloudEvents' senders send it.", key.clone())
                .problems(&[Kind::MissingKey, Kind::WrongKey, Kind::NotLocal])
        };
        let taking = |operation: Operation| {
            let either = json!({"anyOf": [accepted.clone(), kept.clone()]});
            operation
                .query("tag", "The tag, for sources that have no body.", json!({"type": "string"}))
                .answers(202, "Jobs were made and are durable, or the push is kept until it can be matched.", either)
                .answers(
                    200,
                    "Nothing comes of the event, and why; or what the sender wants to hear.",
                    json!({"anyOf": [ignored.clone(), {"type": "object", "required": ["validationResponse"]}]}),
                )
                .problems(IDENTITY)
                .problems(&[Kind::NotJson, Kind::Starting, Kind::Internal])
                .problems(QUEUE)
        };
        let posted = of("post", ids[0], "Take what a producer sends").takes(false, anything());
        // Only our own form is refused for what it says.
        let posted = posted.problems(&[Kind::BadImage, Kind::BadJob]);
        all.push(taking(posted));
        let got = of("get", ids[1], "The same for senders that can only GET: Diun");
        let got = got.problems(&[Kind::MethodNotAllowed, Kind::TooLarge, Kind::TooSlow, Kind::Busy]);
        all.push(taking(got));
        let asked = of("options", ids[2], "Tell a CloudEvents sender that it may send");
        let asked = asked
            .header("WebHook-Request-Origin", "Who wants to send.", json!({"type": "string"}))
            .answers_nothing(200, "It may.")
            .problems(&[Kind::MethodNotAllowed]);
        all.push(asked);
    }
    all
}

fn jobs(schemas: &mut Schemas) -> Vec<Operation> {
    let page = json!({"anyOf": [schemas.answer::<JobPage>(), schemas.answer::<DeadPage>()]});
    let states: Vec<&str> = State::ALL.iter().map(|state| state.as_str()).collect();
    let state = json!({"type": "array", "items": {"enum": states}});
    let list = Operation::new(Access::Token, ("get", "/v1/jobs"), "listJobs", "List jobs, newest first")
        .query("target", "Of this target only.", target_name())
        .query(
            "state",
            "In any of these states, separated by commas. `dead` alone lists the dead letters.",
            state,
        )
        .query("before", "The page behind this: `next` of the page before.", json!({"type": "string"}))
        .query(
            "limit",
            "Jobs on a page.",
            json!({"type": "integer", "minimum": 1, "maximum": 500, "default": 50}),
        )
        .answers(200, "A page.", page)
        .problems(&[Kind::BadQuery, Kind::BrokerAway]);
    let wishes = one_or_several(&schemas.request::<Wish>(), MOST_WISHES);
    let create =
        Operation::new(Access::Token, ("post", "/v1/jobs"), "createJobs", "Wish for deploys, all or none");
    let create = awaited(create, schemas).takes(true, wishes).problems(WISH).problems(QUEUE);
    let show =
        Operation::new(Access::Token, ("get", "/v1/jobs/{id}"), "showJob", "Show a job and its course")
            .answers(200, "A job, or a dead letter in which none can be read.", schemas.answer::<Shown>())
            .problems(&[
                Kind::BadQuery,
                Kind::UnknownJob,
                Kind::HistoryUnread,
                Kind::Unavailable,
                Kind::BrokerAway,
            ]);
    vec![list, create, show]
}

/// What makes jobs and may wait for their ends.
fn awaited(operation: Operation, schemas: &mut Schemas) -> Operation {
    let accepted = schemas.answer::<Accepted>();
    operation
        .query(
            "wait",
            "How long to wait for the end of all jobs, ten minutes at most: `30s`. A proxy may hang up before: ask again \
             with the same `Idempotency-Key`.",
            json!({"type": "string", "pattern": "^([0-9]+(d|h|m|s|ms))+$"}),
        )
        .header(
            "Idempotency-Key",
            "The same key with the same body makes the same jobs, however often it is sent.",
            json!({"type": "string", "maxLength": 200}),
        )
        .answers(202, "The jobs are durable.", accepted.clone())
        .answers(200, "With `wait`: all jobs have ended, and how.", accepted)
        .problems(&[Kind::BadQuery, Kind::KeyReused, Kind::Starting])
}

fn decisions(schemas: &mut Schemas) -> Vec<Operation> {
    let accepted = schemas.answer::<Accepted>();
    let forced = |operation: Operation| {
        let about = "Although a newer one was applied, or waits.";
        operation.query("force", about, json!({"type": "boolean"})).problems(&[Kind::NewerApplied])
    };
    let of = |path, id, summary| {
        let operation = Operation::new(Access::Token, ("post", path), id, summary);
        let operation = operation.takes(false, json!({"type": "object", "maxProperties": 0}));
        operation
            .problems(&[Kind::BadQuery, Kind::Starting, Kind::HistoryUnread, Kind::BrokerAway])
            .problems(QUEUE)
    };
    let made = |operation: Operation| operation.answers(202, "A job was made for it.", accepted.clone());
    let replay = made(of("/v1/jobs/{id}/replay", "replayJob", "Carry a dead job out again"));
    let dead = [Kind::UnknownJob, Kind::NotDead, Kind::AlreadyClosed, Kind::Unreadable];
    let discard = of("/v1/jobs/{id}/discard", "discardJob", "Give a dead job up");
    let discard = discard.answers(200, "It is listed no more.", schemas.answer::<Discarded>());
    let cancel = made(of("/v1/jobs/{id}/cancel", "cancelJob", "Call a job off"));
    let approve = made(of("/v1/jobs/{id}/approve", "approveJob", "Let a held job go on"));
    let release = made(of(
        "/v1/targets/{pool}/{name}/release",
        "releaseTarget",
        "Release what was held last: the target, or an image",
    ));
    vec![
        forced(replay).problems(&dead),
        discard
            .query(
                "force",
                "Although it could be replayed, were it known who left it.",
                json!({"type": "boolean"}),
            )
            .problems(&dead),
        cancel.problems(&[Kind::UnknownJob, Kind::AlreadyEnded, Kind::NotCancellable]),
        forced(approve).problems(&[
            Kind::UnknownJob,
            Kind::AlreadyEnded,
            Kind::CalledOff,
            Kind::NeedsNoApproval,
            Kind::AlreadyClosed,
        ]),
        release.problems(&[Kind::UnknownTarget, Kind::NothingHeld, Kind::CalledOff]),
    ]
}

fn events() -> Vec<Operation> {
    let of = |path, id, summary| {
        Operation::new(Access::Token, ("get", path), id, summary)
            .header(
                "Last-Event-ID",
                "The `id` of the last message that was read: the stream goes on behind it.",
                json!({"type": "string"}),
            )
            .answers_as(
                200,
                "Server-sent events: `id` the place in the history, `event` the type, `data` a CloudEvent. Progress has \
                 no `id`.",
                ("text/event-stream", json!({"type": "string"})),
            )
            .problems(&[Kind::BadQuery, Kind::TooManyStreams, Kind::Starting])
    };
    let job = of("/v1/jobs/{id}/events", "followJob", "Follow a job, from its beginning to its end")
        .answers_nothing(204, "There is nothing behind `Last-Event-ID`: the job has ended.")
        .problems(&[Kind::UnknownJob, Kind::HistoryUnread]);
    vec![job, of("/v1/events", "followAll", "Follow all jobs from now on")]
}

fn targets(schemas: &mut Schemas) -> Vec<Operation> {
    let of = |(method, path), id, summary| Operation::new(Access::Token, (method, path), id, summary);
    let list = of(("get", "/v1/targets"), "listTargets", "List what can be deployed");
    let list = list.answers(200, "The targets.", schemas.answer::<TargetList>()).problems(&[Kind::BadQuery]);
    let stacks = of(("get", "/v1/stacks"), "listStacks", "List the stacks of every Portainer");
    let stacks = stacks
        .query("target", "Only the stack that is this target.", target_name())
        .answers(200, "Its stacks.", schemas.answer::<StackList>())
        .problems(&[Kind::BadQuery]);
    let find = of(("post", "/v1/targets/find"), "findTargets", "Find out which targets some stacks are")
        .takes(true, schemas.request::<StacksSought>())
        .answers(200, "The targets.", schemas.answer::<StacksFound>())
        .problems(&[Kind::BadQuery, Kind::NotJson, Kind::BadJob])
        .problems(ASKING);
    let show = of(("get", "/v1/targets/{pool}/{name}"), "showTarget", "Show a target as it stands now")
        .answers(200, "The target.", schemas.answer::<TargetStatus>())
        .problems(&[Kind::BadQuery, Kind::UnknownTarget, Kind::NotDeployed, Kind::WouldFail])
        .problems(ASKING);
    let plan = of(("post", "/v1/targets/{pool}/{name}/plan"), "planTarget", "Say what a wish would change")
        .takes(true, schemas.request::<PlanWish>())
        .answers(200, "The changes.", schemas.answer::<TargetPlan>())
        .problems(&[Kind::WouldFail])
        .problems(WISH)
        .problems(ASKING);
    let roll_back =
        of(("post", "/v1/targets/{pool}/{name}/rollback"), "rollBack", "Run what ran well before");
    let roll_back = awaited(roll_back, schemas)
        .takes(false, schemas.request::<RollbackWish>())
        .problems(&[Kind::NotJson, Kind::BadJob, Kind::UnknownTarget, Kind::UnknownJob])
        .problems(QUEUE);
    let hold = of(("post", "/v1/targets/{pool}/{name}/hold"), "holdTarget", "Let nothing else be deployed");
    let hold = awaited(hold, schemas)
        .takes(false, schemas.request::<HoldWish>())
        .problems(&[Kind::NotJson, Kind::BadJob, Kind::UnknownTarget])
        .problems(QUEUE);
    vec![list, stacks, find, show, plan, roll_back, hold]
}

fn server() -> Vec<Operation> {
    let of = |path, id, summary| Operation::new(Access::Anybody, ("get", path), id, summary);
    let text = |kind| (kind, json!({"type": "string"}));
    vec![
        of("/healthz", "isAlive", "Whether the process lives").answers(200, "It does.", status(&["alive"])),
        of("/readyz", "isReady", "Whether hooks are taken")
            .answers(200, "They are; while the broker is away, kept here.", status(&["ready", "spooling"]))
            .answers(503, "They are not.", status(&["starting", "unavailable", "full", "damaged"])),
        of("/metrics", "metrics", "Numbers for Prometheus").answers_as(200, "Numbers.", text("text/plain")),
        of("/openapi.json", "describe", "This document").answers(
            200,
            "OpenAPI 3.1.",
            json!({"type": "object"}),
        ),
        of("/problems/{slug}", "problem", "What a problem means, and how to mend it").answers_as(
            200,
            "Words.",
            text("text/plain"),
        ),
        of("/", "page", "The page for people").answers_as(200, "A page.", text("text/html")),
    ]
}

fn status(known: &[&str]) -> Value {
    json!({
        "type": "object",
        "required": ["status"],
        "additionalProperties": false,
        "properties": {
            "status": {"enum": known},
            "spooled": {"type": "integer", "minimum": 0, "description": "Jobs that are kept here."},
            "full": {
                "type": "array",
                "items": {"type": "string"},
                "description": "Pools whose queue had no room for the last job.",
            },
            "bytes": {"type": "integer", "minimum": 0, "description": "Their size."},
            "since": {"type": ["string", "null"], "description": "Since when the broker is away."},
        },
    })
}

fn target_name() -> Value {
    json!({"type": "string", "pattern": "^([A-Za-z0-9][A-Za-z0-9_-]{0,62}/)?[A-Za-z0-9][A-Za-z0-9_-]{0,62}$"})
}
