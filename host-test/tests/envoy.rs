//! The shipped filter in real Envoy.

use host_test::envoy::{Envoy, EnvoyOptions, is_skipped};

#[tokio::test]
async fn the_shipped_configuration_starts() {
    if is_skipped() {
        return;
    }
    let settings = [
        ("introspect_url", "http://127.0.0.1:1/introspect"),
        ("resource_client_id", "b"),
        ("resource_client_secret", "s3cr3t"),
    ];
    let envoy = Envoy::start(EnvoyOptions {
        settings: settings.map(|(k, v)| (k.to_owned(), v.to_owned())).into(),
        ..EnvoyOptions::default()
    })
    .await
    .unwrap();
    println!(
        "{:?} {:?} {}",
        envoy.address(),
        envoy.vms_at_start(),
        envoy.rss_bytes().unwrap()
    );
    envoy.stop().await.unwrap();
}
