//! Log bytes: durable before they are acknowledged, once, in order.

use std::time::Instant;

use ocelot_api::proto::{LogAck, LogChunk, Mark, Offer};
use ocelot_model::StageId;
use sha2::{Digest as _, Sha256};
use tonic::{Code, Streaming};

use super::world::{DEADLINE, World, refused};

fn chunk(offer: &Offer, at: usize, offset: u64, data: &[u8]) -> LogChunk {
    LogChunk {
        lease: offer.lease.clone(),
        stage_id: offer.stages[at].id,
        offset,
        data: data.to_vec().into(),
        marks: vec![Mark { at: 0, time_us: 1 }],
        ..LogChunk::default()
    }
}

fn end(offer: &Offer, at: usize, data: &[u8]) -> LogChunk {
    let total = data.len() as u64;
    let sha256 = Sha256::digest(data).to_vec().into();
    LogChunk { end: true, total, sha256, marks: Vec::new(), ..chunk(offer, at, total, b"") }
}

async fn next(acks: &mut Streaming<LogAck>) -> Result<LogAck, tonic::Status> {
    let ack = tokio::time::timeout(DEADLINE, acks.message()).await.expect("no answer")?;
    Ok(ack.expect("the stream ended"))
}

#[tokio::test]
async fn bytes_are_taken_in_order_and_once() {
    let world = World::new().await;
    let (mut worker, offer, _) = world.working("w1").await;
    let (chunks, mut acks) = worker.logs().await;
    let mut send = async |chunk| {
        chunks.send(chunk).unwrap();
        next(&mut acks).await.unwrap()
    };
    assert_eq!(send(chunk(&offer, 1, 0, b"hello ")).await.durable, 6);
    // A gap is asked for again.
    assert_eq!(send(chunk(&offer, 1, 10, b"!")).await.durable, 6);
    // An overlap with the same bytes is fine.
    assert_eq!(send(chunk(&offer, 1, 3, b"lo world")).await.durable, 11);
    let done = send(end(&offer, 1, b"hello world")).await;
    assert!(done.complete && done.refused.is_empty(), "{done:?}");
    let done = send(end(&offer, 1, b"hello world")).await;
    assert!(done.complete, "{done:?}");
    // An overlap with other bytes is not; the other stage goes on.
    let other = send(chunk(&offer, 1, 0, b"HELLO")).await;
    assert!(!other.refused.is_empty(), "{other:?}");
    assert_eq!(send(chunk(&offer, 0, 0, b"setup")).await.durable, 5);
    let slice = world.app().store.read_log(StageId(offer.stages[1].id), 0, 100).await.unwrap();
    assert_eq!(slice.data, b"hello world");
}

#[tokio::test]
async fn many_chunks_under_way_at_once() {
    let world = World::new().await;
    let (mut worker, offer, _) = world.working("w1").await;
    let (chunks, mut acks) = worker.logs().await;
    let piece: Vec<u8> = (0..64 * 1024).map(|n: u32| (n % 251) as u8).collect();
    let begin = Instant::now();
    let mut whole = Vec::new();
    for n in 0..64 {
        for at in 0..2 {
            chunks.send(chunk(&offer, at, n * piece.len() as u64, &piece)).unwrap();
        }
        whole.extend_from_slice(&piece);
    }
    for at in 0..2 {
        chunks.send(end(&offer, at, &whole)).unwrap();
    }
    let mut complete = 0;
    while complete < 2 {
        let ack = next(&mut acks).await.unwrap();
        assert_eq!(ack.refused, "");
        complete += u32::from(ack.complete);
    }
    println!("{} KiB in {:?}", 2 * whole.len() / 1024, begin.elapsed());
    let slice = world.app().store.read_log(StageId(offer.stages[0].id), 1 << 20, 1000).await.unwrap();
    assert_eq!(slice.data, whole[1 << 20..(1 << 20) + 1000]);
}

#[tokio::test]
async fn what_may_not_be_written_ends_the_stream() {
    let world = World::new().await;
    let (mut one, offer, _) = world.working("one").await;
    let (_two, foreign, _) = world.working("two").await;
    let mut check = async |chunk: LogChunk, code, words| {
        let (chunks, mut acks) = one.logs().await;
        chunks.send(chunk).unwrap();
        refused(next(&mut acks).await.map(drop), code, words);
    };
    let large = vec![b'x'; (1 << 20) + 1];
    check(chunk(&offer, 1, 0, &large), Code::ResourceExhausted, "1 MiB").await;
    let huge = vec![b'x'; 5 << 20];
    check(chunk(&offer, 1, 0, &huge), Code::ResourceExhausted, "too large").await;
    let strange = Offer { stages: foreign.stages.clone(), ..offer.clone() };
    check(chunk(&strange, 1, 0, b"x"), Code::PermissionDenied, "not part of").await;
    let mut stale = offer.clone();
    stale.lease.as_mut().unwrap().attempt += 1;
    check(chunk(&stale, 1, 0, b"x"), Code::FailedPrecondition, "stale_attempt").await;
    check(LogChunk { lease: None, ..chunk(&offer, 1, 0, b"x") }, Code::InvalidArgument, "no lease").await;
}

#[tokio::test]
async fn a_stopping_server_says_that_the_rest_must_come_again() {
    let world = World::new().await;
    let (mut worker, offer, _) = world.working("w1").await;
    let (chunks, mut acks) = worker.logs().await;
    chunks.send(chunk(&offer, 1, 0, b"hello")).unwrap();
    assert_eq!(next(&mut acks).await.unwrap().durable, 5);
    let stop = world.server.stop();
    let (answer, ()) = tokio::join!(next(&mut acks), stop);
    refused(answer.map(drop), Code::Unavailable, "server stops");
}
