//! The decision core of the auth check.
