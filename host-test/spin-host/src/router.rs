//! Finds the trigger of a path, and the headers by which Spin describes the match.

use std::net::SocketAddr;

use anyhow::{Result, anyhow};
use routefinder::RouteSpec;

use super::manifest::Manifest;

/// All routes of an app.
pub(crate) struct Router(routefinder::Router<Route>);

struct Route {
    /// As in the manifest.
    raw: String,
    /// Normalized for matching: absolute, without a trailing slash.
    based: String,
    /// Position among the manifest's triggers.
    trigger: usize,
}

/// A path that matches a route.
pub(crate) struct Match {
    pub(crate) trigger: usize,
    raw: String,
    based: String,
    path_info: String,
    named: Vec<(String, String)>,
}

impl Router {
    pub(crate) fn new(manifest: &Manifest) -> Result<Self> {
        let mut router = routefinder::Router::new();
        for (trigger, config) in manifest.triggers().iter().enumerate() {
            let raw = config.route.clone();
            let slash = if raw.starts_with('/') { "" } else { "/" };
            let absolute = format!("{slash}{raw}");
            let based = absolute.strip_suffix('/').unwrap_or(&absolute).to_owned();
            let pattern = match based.strip_suffix("/...") {
                Some(prefix) => format!("{prefix}/*"),
                None => based.clone(),
            };
            let refused =
                |error: String| anyhow!("[[trigger.http]] route = {raw:?} is no route: {error}");
            let spec = RouteSpec::try_from(pattern.as_str())
                .map_err(|error| refused(error.to_string()))?;
            let route = Route {
                raw: raw.clone(),
                based,
                trigger,
            };
            router
                .add(spec, route)
                .map_err(|error| refused(error.to_string()))?;
        }
        Ok(Self(router))
    }

    pub(crate) fn find(&self, path: &str) -> Option<Match> {
        let found = self.0.best_match(path)?;
        let Route {
            raw,
            based,
            trigger,
        } = found.handler();
        let captures = found.captures();
        // The router trims slashes from a wildcard's match; Spin restores them.
        let path_info =
            captures
                .wildcard()
                .map(|rest| match (rest.is_empty(), path.ends_with('/')) {
                    (true, false) => String::new(),
                    (true, true) => "/".to_owned(),
                    (false, false) => format!("/{rest}"),
                    (false, true) => format!("/{rest}/"),
                });
        Some(Match {
            trigger: *trigger,
            raw: raw.clone(),
            based: based.clone(),
            path_info: path_info.unwrap_or_default(),
            named: captures
                .iter()
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .collect(),
        })
    }
}

impl Match {
    /// The headers Spin adds to a request, by name.
    pub(crate) fn headers(&self, full_url: String, client: SocketAddr) -> Vec<(String, String)> {
        let prefix = self.raw.strip_suffix("/...").unwrap_or(&self.raw);
        let mut headers: Vec<(String, String)> = [
            ("spin-path-info", self.path_info.clone()),
            ("spin-full-url", full_url),
            ("spin-matched-route", self.based.clone()),
            ("spin-base-path", "/".to_owned()),
            ("spin-raw-component-route", self.raw.clone()),
            ("spin-component-route", prefix.to_owned()),
            ("spin-client-addr", client.to_string()),
        ]
        .map(|(name, value)| (name.to_owned(), value))
        .into();
        for (name, value) in &self.named {
            headers.push((
                format!(
                    "spin-path-match-{}",
                    name.to_ascii_lowercase().replace('_', "-")
                ),
                value.clone(),
            ));
        }
        headers
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn router(routes: &[&str]) -> Result<Router> {
        let mut text = "spin_manifest_version = 2\napplication = { name = \"r\" }\n".to_owned();
        for route in routes {
            text.push_str(&format!(
                "[[trigger.http]]\nroute = {route:?}\ncomponent = \"a\"\n"
            ));
        }
        text.push_str("[component.a]\nsource = \"a.wasm\"\n");
        let manifest = Manifest::parse(&text, Path::new("spin.toml"), "/app".into());
        Router::new(&manifest?)
    }

    #[test]
    fn the_most_exact_route_wins() {
        let router = router(&[
            "/...",
            "/data",
            "/data/:id",
            "/data/special",
            "/files/...",
            "/",
        ])
        .unwrap();
        let table = [
            ("/", Some(5)),
            ("/data", Some(1)),
            ("/data/", Some(1)),
            ("/data/7", Some(2)),
            ("/data/special", Some(3)),
            ("/data/7/more", Some(0)),
            ("/files/a/b", Some(4)),
            ("/other", Some(0)),
        ];
        for (path, expected) in table {
            assert_eq!(
                router.find(path).map(|found| found.trigger),
                expected,
                "{path}"
            );
        }
    }

    #[test]
    fn a_path_without_a_route_has_none() {
        let router = router(&["/data"]).unwrap();
        for path in ["/", "/dat", "/data/x", "/DATA", "/data%2f"] {
            assert!(router.find(path).is_none(), "{path}");
        }
    }

    #[test]
    fn the_component_learns_what_matched() {
        let router = router(&["/u/:user_id/..."]).unwrap();
        let found = router.find("/u/42/a/b").unwrap();
        let headers = found.headers(
            "http://h/u/42/a/b".to_owned(),
            "127.0.0.1:9".parse().unwrap(),
        );
        let expected = [
            ("spin-path-info", "/a/b"),
            ("spin-full-url", "http://h/u/42/a/b"),
            ("spin-matched-route", "/u/:user_id/..."),
            ("spin-base-path", "/"),
            ("spin-raw-component-route", "/u/:user_id/..."),
            ("spin-component-route", "/u/:user_id"),
            ("spin-client-addr", "127.0.0.1:9"),
            ("spin-path-match-user-id", "42"),
        ];
        let expected = expected.map(|(name, value)| (name.to_owned(), value.to_owned()));
        assert_eq!(headers, expected);
    }

    #[test]
    fn the_rest_of_a_path_keeps_its_slashes() {
        let router = router(&["/f/..."]).unwrap();
        for (path, expected) in [("/f", ""), ("/f/", "/"), ("/f/a", "/a"), ("/f/a/", "/a/")] {
            assert_eq!(router.find(path).unwrap().path_info, expected, "{path}");
        }
    }
}
