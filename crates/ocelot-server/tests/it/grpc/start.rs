//! Start, first tokens, one port for everything, who may connect.

use std::os::unix::fs::PermissionsExt as _;

use ocelot_api::proto::from_worker::Message as Up;
use ocelot_api::proto::{AttemptResult, Heartbeat, Hello};
use ocelot_model::access::Role;
use tonic::Code;

use super::world::{DEADLINE, World, hello, refused, with_token};

#[tokio::test]
async fn the_first_start_writes_an_admin_token_that_later_starts_keep() {
    let world = World::new().await;
    let file = world.folder.path().join("admin-token");
    let secret = std::fs::read_to_string(&file).unwrap();
    assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    let token = world.app().store.find_token(secret.trim()).await.unwrap().unwrap();
    assert_eq!(token.role, Role::Admin);
    let worker = world.secret.clone();

    let world = world.restart().await;
    assert_eq!(std::fs::read_to_string(&file).unwrap(), secret);
    assert_eq!(world.server.local_worker_token().await.unwrap(), worker);
}

#[tokio::test]
async fn a_sign_in_link_leads_to_this_server() {
    let world = World::new().await;
    let link = world.server.sign_in_link().await.unwrap();
    assert!(link.starts_with(&format!("http://{}/", world.server.address)), "{link}");
}

#[tokio::test]
async fn http1_http2_and_grpc_share_a_port() {
    let world = World::new().await;
    let url = format!("http://{}/healthz", world.server.address);
    for client in [
        reqwest::Client::builder().http1_only().build().unwrap(),
        reqwest::Client::builder().http2_prior_knowledge().build().unwrap(),
    ] {
        assert_eq!(client.get(&url).send().await.unwrap().status(), 200);
    }
    world.worker("w1", 1).await;
}

#[tokio::test]
async fn every_call_needs_a_workers_token() {
    let world = World::new().await;
    for secret in ["", "ocl_nonsense", &world.token(Role::Admin).await, &world.token(Role::Read).await] {
        let mut client = world.client().await;
        let call = with_token(secret, AttemptResult::default());
        refused(client.finish_attempt(call).await.map(drop), Code::Unauthenticated, "");
        let call = with_token(secret, tokio_stream::empty());
        refused(client.session(call).await.map(drop), Code::Unauthenticated, "");
        let call = with_token(secret, tokio_stream::empty());
        refused(client.ship_logs(call).await.map(drop), Code::Unauthenticated, "");
    }
    let mut client = world.client().await;
    let bare = client.finish_attempt(AttemptResult::default()).await;
    refused(bare.map(drop), Code::Unauthenticated, "missing");
}

#[tokio::test]
async fn a_hello_is_checked() {
    let world = World::new().await;
    let check = async |hello: Hello, code, words| {
        refused(world.greet(hello).await.map(drop), code, words);
    };
    let range = "protocol 1 to 1";
    check(Hello { protocol_min: 2, protocol_max: 9, ..hello("w1", 1) }, Code::FailedPrecondition, range)
        .await;
    check(Hello { protocol_min: 0, protocol_max: 0, ..hello("w1", 1) }, Code::FailedPrecondition, range)
        .await;
    check(hello("", 1), Code::InvalidArgument, "name").await;
    check(hello("a\nb", 1), Code::InvalidArgument, "name").await;
}

#[tokio::test]
async fn identity_comes_from_token_and_name() {
    let world = World::new().await;
    let one = world.worker("w1", 1).await.welcome.worker_id;
    let again = world.worker("w1", 1).await.welcome.worker_id;
    let other = world.worker("w2", 1).await.welcome.worker_id;
    assert_eq!(one, again);
    assert_ne!(one, other);
}

#[tokio::test]
async fn what_a_worker_finds_out_later_is_known_at_once() {
    let world = World::new().await;
    let worker = world.greet(Hello { sharing: String::new(), ..hello("w1", 1) }).await.unwrap();
    let shown = async || world.app().store.list_workers().await.unwrap()[0].sharing.clone();
    assert_eq!(shown().await, "");
    worker.say(Up::Heartbeat(Heartbeat { sharing: "archive".into(), ..Heartbeat::default() }));
    let waiting = async {
        while shown().await != "archive" {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(DEADLINE, waiting).await.unwrap();
    // A heartbeat without news changes nothing.
    worker.beat(&[]);
    drop(world.worker("w2", 1).await);
    assert_eq!(shown().await, "archive");
}
