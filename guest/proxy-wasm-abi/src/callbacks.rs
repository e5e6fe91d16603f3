//! What Envoy asks of a filter.

/// What a callback about a stream tells Envoy to do with it.
#[must_use]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Action {
    /// Pass it to the next filter.
    Continue = 0,
    /// Hold it here.
    Pause = 1,
}

/// The callbacks of a filter. Each is one export of the module; Envoy never makes one while another
/// runs in the same VM. Those that are not exported do what Envoy does without them.
pub trait Callbacks {
    /// The VM starts.
    fn on_start() {}

    /// A context begins. `root`: the root context of its plugin configuration; 0 if it is one.
    fn on_context_create(_context: u32, _root: u32) {}

    /// A plugin configuration of `size` bytes is there to be read. `false`: it is rejected.
    fn on_configure(_root: u32, _size: usize) -> bool {
        true
    }

    /// The timer of the root context has fired.
    fn on_tick(_root: u32) {}

    /// A queue that the root context has registered has an item.
    fn on_queue_ready(_root: u32, _queue: u32) {}

    /// An HTTP call of this context has ended. `headers`: how many header lines its response has, 0
    /// if there is none.
    fn on_http_call_response(_context: u32, _call: u32, _headers: usize, _body_size: usize) {}

    /// The headers of a request have arrived.
    fn on_request_headers(context: u32) -> Action;

    /// A part of its body has arrived.
    fn on_request_body(_context: u32) -> Action {
        Action::Continue
    }

    /// Its trailers have arrived.
    fn on_request_trailers(_context: u32) -> Action {
        Action::Continue
    }

    /// The headers of its response have arrived.
    fn on_response_headers(_context: u32) {}

    /// The context ends.
    fn on_done(_context: u32) {}
}

/// Exports these callbacks of a type that implements [`Callbacks`]: `export!(Filter: on_tick)`. The
/// start of the VM is always exported.
#[macro_export]
macro_rules! export {
    ($filter:ty: $($callback:ident),+ $(,)?) => {
        /// The functions that Envoy looks up by name.
        mod exports {
            use $crate::Callbacks as _;

            use super::*;

            #[unsafe(no_mangle)]
            extern "C" fn proxy_abi_version_0_2_1() {}

            #[unsafe(no_mangle)]
            extern "C" fn _initialize() {
                $crate::hostcalls::initialize();
                <$filter>::on_start();
            }

            #[unsafe(no_mangle)]
            extern "C" fn proxy_on_memory_allocate(size: usize) -> *mut u8 {
                $crate::memory::allocate(size)
            }

            $($crate::export_callback!($callback of $filter);)+
        }
    };
}

/// One of the functions that [`export!`] defines.
#[doc(hidden)]
#[macro_export]
macro_rules! export_callback {
    (on_context_create of $filter:ty) => {
        #[unsafe(no_mangle)]
        extern "C" fn proxy_on_context_create(context: u32, root: u32) {
            <$filter>::on_context_create(context, root);
        }
    };
    (on_configure of $filter:ty) => {
        #[unsafe(no_mangle)]
        extern "C" fn proxy_on_configure(root: u32, size: usize) -> u32 {
            <$filter>::on_configure(root, size).into()
        }
    };
    (on_tick of $filter:ty) => {
        #[unsafe(no_mangle)]
        extern "C" fn proxy_on_tick(root: u32) {
            <$filter>::on_tick(root);
        }
    };
    (on_queue_ready of $filter:ty) => {
        #[unsafe(no_mangle)]
        extern "C" fn proxy_on_queue_ready(root: u32, queue: u32) {
            <$filter>::on_queue_ready(root, queue);
        }
    };
    (on_http_call_response of $filter:ty) => {
        #[unsafe(no_mangle)]
        extern "C" fn proxy_on_http_call_response(
            context: u32,
            call: u32,
            headers: usize,
            body_size: usize,
            _trailers: usize,
        ) {
            <$filter>::on_http_call_response(context, call, headers, body_size);
        }
    };
    (on_request_headers of $filter:ty) => {
        #[unsafe(no_mangle)]
        extern "C" fn proxy_on_request_headers(context: u32, _lines: usize, _end: u32) -> u32 {
            <$filter>::on_request_headers(context) as u32
        }
    };
    (on_request_body of $filter:ty) => {
        #[unsafe(no_mangle)]
        extern "C" fn proxy_on_request_body(context: u32, _size: usize, _end: u32) -> u32 {
            <$filter>::on_request_body(context) as u32
        }
    };
    (on_request_trailers of $filter:ty) => {
        #[unsafe(no_mangle)]
        extern "C" fn proxy_on_request_trailers(context: u32, _lines: usize) -> u32 {
            <$filter>::on_request_trailers(context) as u32
        }
    };
    (on_response_headers of $filter:ty) => {
        #[unsafe(no_mangle)]
        extern "C" fn proxy_on_response_headers(context: u32, _lines: usize, _end: u32) -> u32 {
            <$filter>::on_response_headers(context);
            $crate::Action::Continue as u32
        }
    };
    (on_done of $filter:ty) => {
        #[unsafe(no_mangle)]
        extern "C" fn proxy_on_done(context: u32) -> u32 {
            <$filter>::on_done(context);
            // The context may go.
            1
        }
    };
}
