//! The next handler of Spin's HTTP middleware: the app, or another middleware. The SDK's `next`
//! reads every header of the response into a type of its own, which nobody here looks at; this
//! hands the response over as it is.

#![cfg(target_family = "wasm")]

use spin_sdk::wasip3::http::types::{ErrorCode, Request, Response};

/// The one function of WASI HTTP that [`spin_sdk::wasip3`] does not bind, because only middleware
/// imports it. The types are those of `spin_sdk::wasip3`, so of `wasi:http/types` only what the
/// function names is repeated here. A host refuses to compose a component whose types differ from
/// WASI's, so a mistake cannot go unseen.
mod bindings {
    wit_bindgen::generate!({
        inline: "
            package trust-triangle:next;

            world next {
                import wasi:http/handler@0.3.0;
            }

            package wasi:http@0.3.0 {
                interface types {
                    resource request;
                    resource response;
                    record DNS-error-payload { rcode: option<string>, info-code: option<u16> }
                    record TLS-alert-received-payload { alert-id: option<u8>, alert-message: option<string> }
                    record field-size-payload { field-name: option<string>, field-size: option<u32> }
                    variant error-code {
                        DNS-timeout,
                        DNS-error(DNS-error-payload),
                        destination-not-found,
                        destination-unavailable,
                        destination-IP-prohibited,
                        destination-IP-unroutable,
                        connection-refused,
                        connection-terminated,
                        connection-timeout,
                        connection-read-timeout,
                        connection-write-timeout,
                        connection-limit-reached,
                        TLS-protocol-error,
                        TLS-certificate-error,
                        TLS-alert-received(TLS-alert-received-payload),
                        HTTP-request-denied,
                        HTTP-request-length-required,
                        HTTP-request-body-size(option<u64>),
                        HTTP-request-method-invalid,
                        HTTP-request-URI-invalid,
                        HTTP-request-URI-too-long,
                        HTTP-request-header-section-size(option<u32>),
                        HTTP-request-header-size(option<field-size-payload>),
                        HTTP-request-trailer-section-size(option<u32>),
                        HTTP-request-trailer-size(field-size-payload),
                        HTTP-response-incomplete,
                        HTTP-response-header-section-size(option<u32>),
                        HTTP-response-header-size(field-size-payload),
                        HTTP-response-body-size(option<u64>),
                        HTTP-response-trailer-section-size(option<u32>),
                        HTTP-response-trailer-size(field-size-payload),
                        HTTP-response-transfer-coding(option<string>),
                        HTTP-response-content-coding(option<string>),
                        HTTP-response-timeout,
                        HTTP-upgrade-failed,
                        HTTP-protocol-error,
                        loop-detected,
                        configuration-error,
                        internal-error(option<string>),
                    }
                }
                interface handler {
                    use types.{request, response, error-code};
                    handle: async func(request: request) -> result<response, error-code>;
                }
            }
        ",
        world: "trust-triangle:next/next",
        with: { "wasi:http/types@0.3.0": spin_sdk::wasip3::http::types },
        generate_all,
    });
}

/// Hands the request on.
///
/// # Errors
/// Those of the next handler.
pub async fn handle(request: Request) -> Result<Response, ErrorCode> {
    bindings::wasi::http::handler::handle(request).await
}
