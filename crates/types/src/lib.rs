//! Requests, events, job states and error codes.
