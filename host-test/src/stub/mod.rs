//! A stub of IBM Verify.
