//! The Spin middleware in the embedded host, with an issuer that answers at random.

use bytes::Bytes;
use futures::future::join_all;
use host_test::wire::{exchange, get};
use http::{HeaderName, HeaderValue, StatusCode, header};
use programs::{Guest, repository};
use verify_stub::{Reaction, ReactionKind, StubResponse, VerifyStub};

use crate::support::{bearer, load, serve, stub};
use crate::{active_answer, bytes, other_answer, seeds};

/// Tokens, each asked about several times at once.
const TOKENS: u64 = 120;
/// So many tokens at a time: flights meet, and no queue is full.
const TOGETHER: usize = 8;
const REQUESTS_PER_TOKEN: usize = 3;

/// Header lines that the middleware reads, and one that it does not.
const HEADERS: [HeaderName; 6] = [
    header::CONTENT_TYPE,
    header::CONTENT_ENCODING,
    header::RETRY_AFTER,
    header::WWW_AUTHENTICATE,
    header::DATE,
    HeaderName::from_static("x-other"),
];

/// What the issuer does with one call, and whether that may grant.
fn reaction(rng: &mut fastrand::Rng) -> (Reaction, bool) {
    let (body, is_active) = if rng.bool() {
        active_answer(rng, "a")
    } else {
        (other_answer(rng), false)
    };
    let status = match rng.u8(..4) {
        0 => StatusCode::from_u16(rng.u16(200..1000)).unwrap(),
        _ => StatusCode::OK,
    };
    let mut response = StubResponse::new(status).body(body);
    if rng.u8(..3) > 0 {
        let json = HeaderValue::from_static("application/json");
        response = response.header(header::CONTENT_TYPE, json);
    } else {
        for _ in 0..rng.u8(..4) {
            let value = bytes(rng, 100);
            if let Ok(value) = HeaderValue::from_bytes(&value) {
                response = response.header(HEADERS[rng.usize(..HEADERS.len())].clone(), value);
            }
        }
    }
    let kind = match rng.u8(..12) {
        0 => ReactionKind::Drop,
        1 => ReactionKind::Reset,
        2 => ReactionKind::Raw {
            bytes: Bytes::from(bytes(rng, 2000)),
            every: std::time::Duration::ZERO,
        },
        3 => ReactionKind::Cut {
            response: Some(response),
            after: rng.usize(..40),
        },
        4 => ReactionKind::Huge {
            bytes: rng.u64(..300_000),
        },
        _ => {
            let may_grant = is_active && status == StatusCode::OK;
            // Odd header lines may spoil it too.
            return (ReactionKind::Respond(response).into(), may_grant);
        }
    };
    (kind.into(), false)
}

/// One token: what the issuer does with the calls about it. Returns how many requests were granted,
/// and what must not be.
async fn ask(to: std::net::SocketAddr, stub: &VerifyStub, seed: u64) -> (u64, Vec<String>) {
    let mut rng = fastrand::Rng::with_seed(seed);
    let token = format!("token-{seed}");
    let reactions: Vec<_> = std::iter::repeat_with(|| reaction(&mut rng))
        .take(8)
        .collect();
    let may_grant = reactions.iter().any(|(_, may_grant)| *may_grant);
    let reactions: Vec<_> = reactions
        .into_iter()
        .map(|(reaction, _)| reaction)
        .collect();
    let told = format!("{reactions:?}");
    // The stub does not know the token, so after these it is inactive.
    stub.script(&token, reactions);
    let request = get("/data", bearer(&token));
    let requests = (0..REQUESTS_PER_TOKEN).map(|_| exchange(to, &request));
    let (mut grants, mut faults) = (0, Vec::new());
    for reply in join_all(requests).await {
        match reply.map(|reply| reply.status) {
            Ok(200) if may_grant => grants += 1,
            Ok(401 | 403 | 503) => {}
            other => faults.push(format!("seed {seed}: {other:?} after {told}")),
        }
    }
    (grants, faults)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_component_never_traps_nor_grants_without_an_active_answer() {
    let stub = stub().await;
    let app = load(&repository().join("spin.toml"), Guest::ServiceB);
    // The circuit stays closed: the answers to the probe are the stub's own.
    let running = serve(&app, &stub, &[("timeout", "2")]).await;
    let seeds: Vec<u64> = seeds(TOKENS).collect();
    let mut granted = 0;
    for seeds in seeds.chunks(TOGETHER) {
        let asked = seeds
            .iter()
            .map(|seed| ask(running.address(), &stub, *seed));
        for (grants, faults) in join_all(asked).await {
            assert_eq!(faults, [""; 0]);
            granted += grants;
        }
    }
    println!("{granted} of {} granted", seeds.len() * REQUESTS_PER_TOKEN);
    assert!(
        granted > 0 || seeds.len() < TOGETHER,
        "a test without a grant shows nothing"
    );
    assert_eq!(running.stats().traps, 0);
}
