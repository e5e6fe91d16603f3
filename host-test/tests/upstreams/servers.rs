//! The six servers, each with a program of `apps/` that answers with what it was told of the
//! request, as JSON. Where a server can be lax, it is: the auth check must not rely on it.

use std::{
    env,
    ffi::OsString,
    fs,
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::Command,
    thread,
    time::{Duration, Instant},
};

use programs::{
    Process,
    install::{debian, python},
    on_path, repository,
};
use tempfile::TempDir;

/// If set to 1, the tests with these servers are skipped.
const SKIP: &str = "SKIP_UPSTREAMS";

/// How long a server may take to start on a busy machine.
const START_LIMIT: Duration = Duration::from_secs(60);

/// How often to look whether it has.
const LOOK: Duration = Duration::from_millis(20);

/// Whether the user skips these tests.
pub(crate) fn are_skipped() -> bool {
    env::var_os(SKIP).is_some_and(|value| value == "1")
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Server {
    /// A CGI script.
    Lighttpd,
    /// An app behind SCGI.
    Nginx,
    Node,
    /// A WSGI app.
    Gunicorn,
    /// An ASGI app.
    Uvicorn,
    /// The same.
    Hypercorn,
}

/// A running server. Dropped, it is gone.
pub(crate) struct Upstream {
    address: SocketAddr,
    _processes: Vec<Process>,
    /// With the apps, the server's configuration and its own files.
    _folder: TempDir,
}

impl Upstream {
    pub(crate) fn start(server: Server) -> Self {
        let folder = TempDir::new().unwrap();
        for app in fs::read_dir(repository().join("host-test/tests/upstreams/apps")).unwrap() {
            let app = app.unwrap();
            fs::copy(app.path(), folder.path().join(app.file_name())).unwrap();
        }
        let address = free_address();
        let processes = start(server, address, folder.path());
        let begin = Instant::now();
        while TcpStream::connect(address).is_err() {
            let ended = processes.iter().any(|one| one.exit_status().is_some());
            if ended || begin.elapsed() > START_LIMIT {
                let said: Vec<_> = processes
                    .iter()
                    .map(|one| [one.out(), one.log()].concat())
                    .collect();
                panic!("{server:?} does not listen: {said:?}");
            }
            thread::sleep(LOOK);
        }
        Self {
            address,
            _processes: processes,
            _folder: folder,
        }
    }

    pub(crate) const fn address(&self) -> SocketAddr {
        self.address
    }
}

/// Free a moment ago. If another process takes it meanwhile, the server does not start and says so.
fn free_address() -> SocketAddr {
    let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    free.local_addr().unwrap()
}

fn start(server: Server, address: SocketAddr, folder: &Path) -> Vec<Process> {
    let (host, port) = (address.ip().to_string(), address.port().to_string());
    let start = |program: &Path, prepare: &dyn Fn(&mut Command)| {
        Process::start(program, |command| {
            prepare(command.current_dir(folder));
        })
        .unwrap()
    };
    match server {
        Server::Lighttpd => {
            let installed = Installed::find("lighttpd", &["lighttpd"]);
            let configuration = folder.join("lighttpd.conf");
            fs::write(&configuration, lighttpd_configuration(address, folder)).unwrap();
            vec![start(&installed.program, &|command| {
                command
                    .env("LD_LIBRARY_PATH", &installed.libraries)
                    .arg("-D")
                    .arg("-m")
                    .arg(installed.root.join("usr/lib/lighttpd"))
                    .arg("-f")
                    .arg(&configuration);
            })]
        }
        Server::Nginx => {
            let installed = Installed::find("nginx", &["nginx"]);
            let configuration = nginx_configuration(address, folder);
            fs::write(folder.join("nginx.conf"), configuration).unwrap();
            let app = start(&python_program("python"), &|command| {
                command.arg("scgi_app.py").arg(scgi_socket(folder));
            });
            let nginx = start(&installed.program, &|command| {
                command
                    .env("LD_LIBRARY_PATH", &installed.libraries)
                    .args(["-e", "stderr", "-c", "nginx.conf", "-p"])
                    .arg(folder);
            });
            vec![app, nginx]
        }
        Server::Node => {
            let Some(node) = on_path("node") else {
                panic!("there is no node: install Node.js 20 or newer ({SKIP}=1 skips these tests)")
            };
            vec![start(&node, &|command| {
                command.args(["node_app.js", &port]);
            })]
        }
        Server::Gunicorn => vec![start(&python_program("gunicorn"), &|command| {
            command.args([
                "--bind",
                &format!("{host}:{port}"),
                "--worker-class",
                "gthread",
                // Else it may close a connection just as Envoy sends a request on it.
                "--keep-alive",
                "60",
                "--no-control-socket",
                "--permit-unconventional-http-method",
                "--header-map",
                "dangerous",
                "wsgi_app:app",
            ]);
        })],
        Server::Uvicorn => vec![start(&python_program("uvicorn"), &|command| {
            command.args([
                "--host",
                &host,
                "--port",
                &port,
                "--lifespan",
                "off",
                "asgi_app:app",
            ]);
        })],
        Server::Hypercorn => vec![start(&python_program("hypercorn"), &|command| {
            command.args([
                "--bind",
                &format!("{host}:{port}"),
                // In one process.
                "--workers",
                "0",
                "asgi_app:app",
            ]);
        })],
    }
}

/// Every path goes to the script, and is its `PATH_INFO`.
fn lighttpd_configuration(address: SocketAddr, folder: &Path) -> String {
    let (folder, python) = (folder.display(), python_program("python"));
    format!(
        r#"server.modules = ( "mod_alias", "mod_cgi" )
server.bind = "{}"
server.port = {}
server.document-root = "{folder}"
alias.url = ( "" => "{folder}/cgi_app.py" )
cgi.assign = ( ".py" => "{}" )
"#,
        address.ip(),
        address.port(),
        python.display(),
    )
}

/// Names with other characters than letters, digits and `-` are passed on.
fn nginx_configuration(address: SocketAddr, folder: &Path) -> String {
    format!(
        "daemon off;
master_process off;
pid nginx.pid;
events {{}}
http {{
    access_log off;
    client_body_temp_path client_body;
    fastcgi_temp_path fastcgi;
    proxy_temp_path proxy;
    scgi_temp_path scgi;
    uwsgi_temp_path uwsgi;
    ignore_invalid_headers off;
    underscores_in_headers on;
    server {{
        listen {address};
        location / {{
            scgi_pass unix:{};
            scgi_param REQUEST_METHOD $request_method;
            scgi_param PATH_INFO $document_uri;
            scgi_param CONTENT_LENGTH $content_length;
        }}
    }}
}}
",
        scgi_socket(folder).display(),
    )
}

fn scgi_socket(folder: &Path) -> PathBuf {
    folder.join("app.socket")
}

/// A Debian package.
struct Installed {
    program: PathBuf,
    /// The folder that takes the role of `/`.
    root: PathBuf,
    libraries: OsString,
}

impl Installed {
    /// The one of the system, or one that is unpacked under `target/`.
    fn find(name: &str, packages: &[&str]) -> Self {
        // Not everybody's PATH has it.
        let beside = Path::new("/usr/sbin").join(name);
        let system = on_path(name).or_else(|| beside.is_file().then_some(beside));
        if let Some(program) = system {
            return Self {
                program,
                root: PathBuf::from("/"),
                libraries: OsString::new(),
            };
        }
        let unpacked = debian(name, packages, SKIP).unwrap();
        Self {
            program: unpacked.root.join("usr/sbin").join(name),
            root: unpacked.root,
            libraries: unpacked.libraries,
        }
    }
}

/// A program of the virtual environment with the Python servers.
fn python_program(name: &str) -> PathBuf {
    const PACKAGES: &str = "host-test/tests/upstreams/apps/requirements.txt";
    let environment = python("python-servers", PACKAGES, SKIP);
    environment.unwrap().join("bin").join(name)
}
